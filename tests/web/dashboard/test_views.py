"""All pages over a rich history in a real Chromium: nothing overlaps, nothing is cut off."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from k6d.web.rendering import STATIC
from support.browser import (
    CONTRAST,
    DESKTOP,
    OVERLAPS,
    PHONE,
    TABLET,
    TEXTS,
    UNNAMED,
    chromium,
    log_in,
    view,
)  # fmt: skip
from support.daemon import until
from support.screenshots import paths, script_page
from support.showcase import BUSY, ONCE, QUIET, SHOP, Show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium import webdriver


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Show]:
    """The web process over the rich history."""
    made = Show(tmp_path_factory.mktemp("shown") / "home").fill().serve()
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(shown: Show, tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """One Chromium for all tests here; it ends before the web process."""
    assert shown
    driver = chromium(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.mark.parametrize(
    ("size", "dark"), [(DESKTOP, False), (TABLET, True), (PHONE, False)], ids=str
)
def test_every_page(
    browser: webdriver.Chrome, shown: Show, size: tuple[int, int], dark: bool
) -> None:
    """No texts overlap, the page is no wider than the screen, contrast and names are WCAG AA."""
    view(browser, size=size, dark=dark)
    for name, path in paths(shown).items():
        browser.get(shown.url + path)
        assert browser.execute_script(OVERLAPS) == [], name
        assert browser.execute_script(CONTRAST, TEXTS) == [], name
        assert browser.execute_script(UNNAMED) == [], name
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= size[0], name
        noise = [e["message"] for e in browser.get_log("browser") if "404" not in e["message"]]
        assert noise == [], name


def texts(browser: webdriver.Chrome, selector: str) -> list[Any]:
    """The texts of the elements, as they are shown."""
    return list(
        browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])]"
            ".map((e) => e.innerText.trim().replaceAll('\u00a0', ' '))",
            selector,
        )
    )


def test_the_front_page_says_what_is_broken(browser: webdriver.Chrome, shown: Show) -> None:
    """One line an incident: script, endpoint, before and after, how long, with both buttons; an
    acknowledgement and a mute are made there and stand in the line.
    """
    view(browser, size=DESKTOP, dark=False)
    log_in(browser, shown.url, shown.token)
    browser.get(shown.url)
    (line,) = [one for one in texts(browser, ".incidents li") if SHOP in one]
    for words in (
        "error rate of POST /checkout",
        "was 0 %",
        "for 8 h",
        "8 failing runs",
        "4 min after “checkout 2.14”, when shop.js changed",
    ):
        assert words in line
    browser.get(shown.url + script_page(SHOP))
    buttons = texts(browser, ".actions .button")
    assert {"Acknowledge", "Mute 2 h"} <= set(buttons)
    browser.get(shown.url)
    for button, said in (("Acknowledge", "acknowledged just now"), ("Mute 2 h", "muted until")):
        item = f"//ul[@class='incidents']/li[contains(., '{SHOP}')]"
        browser.find_element("xpath", f"{item}//button[contains(., '{button}')]").click()
        until(lambda: said in " ".join(texts(browser, ".incidents li")), said)  # noqa: B023
        assert browser.current_url == f"{shown.url}/"
    browser.find_element("xpath", f"{item}//button[contains(., 'Unmute')]").click()
    shop = lambda: next(one for one in texts(browser, ".incidents li") if SHOP in one)  # noqa: E731
    until(lambda: "Mute 2 h" in shop(), "the end of the mute")
    browser.find_element("xpath", f"{item}//button[contains(., 'Withdraw')]").click()
    until(lambda: "Acknowledge" in shop(), "the end of the acknowledgement")
    browser.get(shown.url + script_page(SHOP))
    for button, then in (("Mute 2 h", "Unmute"), ("Unmute", "Mute 2 h")):
        browser.find_element("xpath", f"//*[@class='actions']//button[.='{button}']").click()
        until(lambda: then in texts(browser, ".actions .button"), then)  # noqa: B023
    browser.find_element("xpath", "//button[.='Acknowledge']").click()
    until(
        lambda: "Withdraw the acknowledgement" in texts(browser, ".actions .button"), "the button"
    )
    browser.find_element("xpath", "//button[.='Withdraw the acknowledgement']").click()
    until(lambda: "Acknowledge" in texts(browser, ".actions .button"), "not acknowledged")


def test_failing_scripts_come_first(browser: webdriver.Chrome, shown: Show) -> None:
    """Their state is "failing", and since when; the next run of a schedule is shown."""
    browser.get(shown.url)
    rows = texts(browser, ".scripts tbody tr")
    assert [("failing" in row) for row in rows] == [True, True, *([False] * (len(rows) - 2))]
    assert "in 2" in next(row for row in rows if row.startswith(SHOP))
    assert any("learning" in row and "1 of 5 runs" in row for row in rows)


def test_the_crosshair(browser: webdriver.Chrome, shown: Show) -> None:
    """Arrow keys move one line through all charts of a run; each says the values of that second."""
    view(browser, size=DESKTOP, dark=False)
    browser.get(shown.url + paths(shown)["run"])
    plot = browser.find_elements("css selector", ".charts svg.plot")[1]
    browser.execute_script("arguments[0].focus()", plot)
    plot.send_keys(Keys.HOME, Keys.ARROW_RIGHT)
    said = texts(browser, ".charts output")
    assert len(said) == 4
    assert all(one.startswith("2 s: ") for one in said)
    assert "requests" in said[0]
    assert all(word in said[1] for word in ("p95", "p50", "p99"))
    places = browser.execute_script(
        "return [...document.querySelectorAll('.cursor')].map((e) => e.getAttribute('x1'))"
    )
    assert len(set(places)) == 1
    plot.send_keys(Keys.ESCAPE)
    assert set(texts(browser, ".charts output")) == {""}


def test_the_run_says_first_what_is_wrong(browser: webdriver.Chrome, shown: Show) -> None:
    """Findings, numbers with what they were, endpoints with the worst first, then charts."""
    browser.get(shown.url + paths(shown)["run"])
    headings = texts(browser, "h2")
    assert headings[:4] == ["Findings", "Numbers", "Endpoints", "Time line"]
    (p95, *_) = texts(browser, ".numbers div")
    assert "was " in p95
    first, *others = texts(browser, "#endpoints ~ table tbody tr")
    assert "POST /checkout" in first
    assert "worse" in first
    assert "points" in first
    assert not any("worse" in row for row in others)


def test_the_log_is_searched(browser: webdriver.Chrome, shown: Show) -> None:
    """By text and by level; the number of lines found is said."""
    browser.get(shown.url + paths(shown)["run"])
    find = browser.find_element("name", "find")
    find.send_keys("REFUSED")
    (log,) = texts(browser, ".log pre")
    assert set(log.splitlines()) == {
        'time="2026-11-22T12:00:02Z" level=error msg="checkout refused"'
    }
    assert "3 of 9 lines" in texts(browser, "#log-search output")
    find.clear()
    browser.find_element("css selector", "option[value='2']").click()
    assert "6 of 9 lines" in texts(browser, "#log-search output")


def test_times_are_those_of_the_viewer(browser: webdriver.Chrome, shown: Show) -> None:
    """A browser in Tokyo shows its own times and says so."""
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Tokyo"})
    try:
        browser.get(shown.url + paths(shown)["run"])
        (time, *_) = browser.execute_script(
            "return [...document.querySelectorAll('time')].map((e) => [e.dateTime, e.innerText])"
        )
        utc = datetime.fromisoformat(time[0])
        assert time[1] == f"{utc + timedelta(hours=9):%Y-%m-%d %H:%M:%S}"
        assert texts(browser, "#zone") == ["times are Asia/Tokyo"]
    finally:
        browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


def test_the_trend_is_of_what_is_wrong(browser: webdriver.Chrome, shown: Show) -> None:
    """Unasked it shows the incident's series; an arrow key shows a run's values, Enter opens it."""
    browser.get(shown.url + script_page(SHOP))
    assert texts(browser, ".trend strong") == ["error rate of POST http://127.0.0.1:8090/checkout"]
    plot = browser.find_element("css selector", ".trend svg.plot")
    browser.execute_script("arguments[0].focus()", plot)
    plot.send_keys(Keys.END)
    (said,) = texts(browser, ".trend output")
    assert said.endswith("8 %, high")
    plot.send_keys(Keys.ENTER)
    newest = shown.store.history(SHOP, 1)[0]["test_id"]
    until(lambda: browser.current_url.endswith(newest), "the run's page")


def test_dragging_across_the_trend_chooses_a_range(browser: webdriver.Chrome, shown: Show) -> None:
    """The page then shows the runs between, and leads back; a click still opens a run."""
    view(browser, size=DESKTOP, dark=False)
    browser.get(shown.url + script_page(SHOP, metric="response_time_p95", range="30"))
    assert "drag across the chart" in " ".join(texts(browser, ".key li"))
    plot = browser.find_element("css selector", ".trend svg.plot")
    wide = plot.size["width"]
    chain = ActionChains(browser).move_to_element_with_offset(plot, -wide // 4, -40)
    chain.click_and_hold().move_by_offset(wide // 4, 0).release().perform()
    until(lambda: "since=" in browser.current_url, "the range")
    assert len(chart_data(browser)["x"]) == 7
    (metric,) = texts(browser, ".trend strong")
    assert metric == "p95"
    assert "7 runs from" in " ".join(texts(browser, "#trend ~ p"))
    browser.find_element("link text", "last 30 runs").click()
    until(lambda: "since=" not in browser.current_url, "the whole")
    assert len(chart_data(browser)["x"]) == 30
    plot = browser.find_element("css selector", ".trend svg.plot")
    ActionChains(browser).move_to_element_with_offset(plot, 0, -90).click().perform()
    until(lambda: "/runs/" in browser.current_url, "a run")


def test_a_range_by_keyboard(browser: webdriver.Chrome, shown: Show) -> None:
    """Shift and arrow keys choose it, Enter opens it, Escape leaves it; fewer than two runs
    are no range.
    """
    browser.get(shown.url + script_page(SHOP, range="30"))
    plot = browser.find_element("css selector", ".trend svg.plot")
    browser.execute_script("arguments[0].focus()", plot)
    plot.send_keys(Keys.END, Keys.SHIFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.NULL)
    (said,) = texts(browser, ".trend output")
    assert said.endswith(": 3 runs")
    plot.send_keys(Keys.ESCAPE)
    assert texts(browser, ".trend output") == [""]
    plot.send_keys(Keys.END, Keys.SHIFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.NULL, Keys.ENTER)
    until(lambda: "since=" in browser.current_url, "the range")
    assert len(chart_data(browser)["x"]) == 3


def test_a_range_by_its_fields(browser: webdriver.Chrome, shown: Show) -> None:
    """Without JavaScript, too; a range without runs can be left, and no time is refused."""
    moments = [row["timestamp"] for row in shown.store.history(SHOP, 30)]
    ranged = script_page(SHOP, since=moments[9], until=moments[5], metric="error_rate")
    browser.get(shown.url + ranged)
    assert len(chart_data(browser)["x"]) == 5
    browser.get(shown.url + script_page(SHOP, since="2001-01-01", until="2001-01-02"))
    assert "Fewer than two" in " ".join(texts(browser, "#trend ~ p"))
    browser.find_element("link text", "last 100 runs").click()
    until(lambda: "since=" not in browser.current_url, "the whole")
    browser.get(shown.url + script_page(SHOP, since="soon"))
    assert "'soon' is no time" in " ".join(texts(browser, "main"))
    browser.get_log("browser")


@pytest.mark.parametrize(
    ("zone", "hours"), [("Asia/Tokyo", -9), ("America/New_York", 5), ("Etc/UTC", 0)]
)
def test_a_day_on_an_axis_begins_where_it_does_for_the_viewer(
    browser: webdriver.Chrome, shown: Show, zone: str, hours: int
) -> None:
    """The label of a day stands at the viewer's midnight, with its tick, inside the chart."""
    view(browser, size=DESKTOP, dark=False)
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": zone})
    try:
        browser.get(shown.url + script_page(BUSY, range="all"))
        data = chart_data(browser)
        labels = browser.execute_script(LABELS)
    finally:
        browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})
    assert len(labels) >= 3
    length = data["at"][-1] - data["at"][0]
    for text, x, tick in labels:
        midnight = datetime.fromisoformat(f"{text}T00:00:00+00:00") + timedelta(hours=hours)
        place = 100 * (midnight.timestamp() - data["at"][0]) / length
        assert abs(float(x.rstrip("%")) - place) < 0.2
        assert tick == x
        assert 0 <= place <= 100


LABELS = """
return [...document.querySelectorAll('.trend text.x')].filter((e) => e.checkVisibility())
  .map((e) => [e.textContent, e.getAttribute('x'), e.previousElementSibling.getAttribute('x1')]);
"""


def chart_data(browser: webdriver.Chrome) -> Any:
    """What the trend's script knows of its runs."""
    return browser.execute_script(
        "return JSON.parse(document.querySelector('.trend').dataset.chart)"
    )


def test_a_thousand_runs_in_a_trend(browser: webdriver.Chrome, shown: Show) -> None:
    """All of them are drawn, of an endpoint too, without a link for each."""
    about = {"range": "all", "metric": "response_time_p95 POST http://127.0.0.1:8090/checkout"}
    browser.get(shown.url + script_page(BUSY, **about))
    assert len(chart_data(browser)["x"]) == 1000
    assert len(browser.find_elements("css selector", ".trend a")) < 20


def test_any_two_runs_are_compared(browser: webdriver.Chrome, shown: Show) -> None:
    """Two boxes in the list of runs, in any order: the older run is before."""
    browser.get(shown.url + script_page(SHOP))
    boxes = browser.find_elements("css selector", "input[name=run]")
    boxes[0].click()
    boxes[20].click()
    browser.find_element("xpath", "//button[contains(., 'two chosen')]").click()
    until(lambda: "/compare" in browser.current_url, "the comparison")
    (title,) = texts(browser, "main h1 + p")
    assert title.index(" → ") > 0
    before, after = texts(browser, "main h1 + p a")[1:]
    assert before < after
    browser.get(f"{shown.url}/compare?run={shown.store.history(SHOP, 1)[0]['test_id']}")
    assert len(texts(browser, "main h1 + p a")) == 3
    browser.get(f"{shown.url}/compare")
    assert "Choose two runs" in " ".join(texts(browser, "main p"))
    browser.get_log("browser")


def test_a_script_is_disabled_and_enabled(browser: webdriver.Chrome, shown: Show) -> None:
    """With a reason; the state is "disabled" meanwhile."""
    log_in(browser, shown.url, shown.token)
    browser.get(shown.url + script_page(ONCE))
    browser.find_element("xpath", "//summary[contains(., 'Disable')]").click()
    browser.find_element("xpath", "//button[.='Disable']").click()
    until(lambda: "disabled" in " ".join(texts(browser, "h1")), "the state")
    browser.find_element("xpath", "//button[contains(., 'Enable')]").click()
    until(lambda: "learning" in " ".join(texts(browser, "h1")), "the state before")


def test_settings(browser: webdriver.Chrome, shown: Show) -> None:
    """What is set, and from where, without secrets; only with the token."""
    browser.delete_all_cookies()
    browser.get(f"{shown.url}/settings")
    assert "/login" in browser.current_url
    browser.find_element("name", "token").send_keys(shown.token, Keys.ENTER)
    until(lambda: browser.current_url.endswith("/settings"), "the settings")
    rows = texts(browser, "#changed ~ table tbody tr")
    assert any(row.startswith("api.port") and str(shown.port) in row for row in rows)
    receivers = texts(browser, "#receivers ~ table tbody tr")
    assert [row.split() for row in receivers] == [
        ["json://127.0.0.1:9/…", "no", "message", "yet", "0"]
    ]
    (urls,) = [row for row in rows if row.startswith("notify.urls")]
    assert "127.0.0.1:9" not in urls
    assert '["…"]' in urls


def test_the_keyboard_goes_through_a_page_in_its_order(
    browser: webdriver.Chrome, shown: Show
) -> None:
    """First the link past the menu; then downwards, each stop visible, with a ring around it."""
    view(browser, size=DESKTOP, dark=False)
    for path in ("/", script_page(SHOP), paths(shown)["run"]):
        browser.get(shown.url + path)
        stops: list[Any] = []
        for _ in range(25):
            ActionChains(browser).send_keys(Keys.TAB).perform()
            stops.append(browser.execute_script(STOP))
        assert stops[0]["text"] == "Skip to content", path
        assert all(one["ring"] for one in stops), path
        below = [one["top"] for one in stops[1:] if not one["menu"]]
        assert all(b >= a - 60 for a, b in pairwise(below)), path


STOP = """
const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
return {text: e.innerText ?? '', top: box.top + scrollY, menu: !!e.closest('header, .skip'),
        ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2};
"""


def test_without_javascript(browser: webdriver.Chrome, shown: Show) -> None:
    """All pages are there; times are UTC; a button works and asks nothing."""
    log_in(browser, shown.url, shown.token)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(shown.url + paths(shown)["run"])
        assert len(browser.find_elements("css selector", "figure.chart")) == 4
        assert "times are UTC" in browser.find_element("id", "zone").get_attribute("textContent")
        browser.get(shown.url + script_page(SHOP))
        assert "drag across" not in " ".join(texts(browser, ".key li"))
        browser.get(shown.url + script_page(ONCE))
        browser.find_element("xpath", "//summary[contains(., 'Mute')]").click()
        browser.find_element("xpath", "//button[.='Mute']").click()
        until(lambda: "Muted until" in browser.page_source, "the mute")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_nothing_moves_and_nothing_is_fetched_from_elsewhere(
    browser: webdriver.Chrome, shown: Show
) -> None:
    """No transition or animation, so reduced motion is what everybody has; our own files only,
    with less than 30 KB of JavaScript.
    """
    browser.get(shown.url)
    loaded = browser.execute_script(
        "return performance.getEntriesByType('resource').map((e) => e.name)"
    )
    assert all(name.startswith(shown.url) for name in loaded)
    moving = browser.execute_script(
        "return [...document.querySelectorAll('*')].filter((e) => {const s = getComputedStyle(e);"
        "return parseFloat(s.transitionDuration) || parseFloat(s.animationDuration)}).length"
    )
    assert moving == 0
    assert sum(file.stat().st_size for file in STATIC.glob("*.js")) < 30_000


def test_a_day_as_an_end_includes_that_day(browser: webdriver.Chrome, shown: Show) -> None:
    """Of the filter of runs, and of a range of the trend."""
    (newest,) = shown.store.history(SHOP, 1)
    day = newest["timestamp"][:10]
    browser.get(f"{shown.url}/runs?script={SHOP}&since={day}&until={day}")
    assert newest["timestamp"][:19].replace("T", " ") in texts(browser, "main tbody tr")[0]
    browser.get(shown.url + script_page(SHOP, since="2001-01-01", until=day))
    assert len(chart_data(browser)["x"]) == 30


def test_statistics_by_script(browser: webdriver.Chrome, shown: Show) -> None:
    """Anomalies, the noise of the p95, and how long the open incident has lasted."""
    browser.get(f"{shown.url}/statistics?days=30")
    (row,) = [one for one in texts(browser, "#by-script ~ table tbody tr") if one.startswith(SHOP)]
    for words in ("30", "8", "26.7 %", "± ", "open for 8 h"):
        assert words in row


def test_the_time_to_recovery_is_that_of_the_chosen_days(
    browser: webdriver.Chrome, shown: Show
) -> None:
    """Every incident that ended in them counts, not the last of each script alone."""

    def said(days: int) -> tuple[str, str]:
        browser.get(f"{shown.url}/statistics?days={days}")
        rows = texts(browser, "#by-script ~ table tbody tr")
        (row,) = [one for one in rows if one.startswith(QUIET)]
        return row, " ".join(texts(browser, ".numbers div"))

    row, numbers = said(30)
    assert "2 recovered in 60 h (median)" in row
    assert "Recovered incidents 2" in " ".join(numbers.split())
    assert "1 recovered in 72 h" in said(10)[0]
    assert "recovered" not in said(7)[0]
