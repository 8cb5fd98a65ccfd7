"""The dashboard in a real headless Chromium: every page, hostile texts, keyboard, phone, dark."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from support.browser import CONTRAST, DESKTOP, PHONE, TEXTS, UNNAMED, chromium, view
from support.daemon import Gate, hitting, until
from support.serving import Served, small_script
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium import webdriver


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A real HTTP target, for all tests here."""
    with Target() as running:
        yield running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, target: Target) -> Iterator[Served]:
    """A daemon with a script whose every word is hostile, run twice, and one that is broken."""
    made = Served(tmp_path_factory.mktemp("dashboard"))
    try:
        made.start()
        made.write(
            "<b>shop & more.js",
            small_script(f"{target.url}/shop").replace(
                "thresholds:", "duration: '2s', thresholds:"
            ),
        )
        made.write("broken.js", "import 'k6'; export default function ( {")
        made.run("<b>shop & more.js")
        made.post("/api/v1/scripts/run?wait=true", {"script": "<b>shop & more.js"})
        made.run("broken.js")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """The system's Chromium, without a window."""
    driver = chromium(tmp_path_factory.mktemp("profile"))
    try:
        yield driver
    finally:
        driver.quit()


def pages(served: Served) -> dict[str, str]:
    """A page of each kind."""
    newest, older = (d["test_id"] for d in served.store.history("<b>shop & more.js", 2))
    broken = served.store.history("broken.js", 1)[0]["test_id"]
    return {
        "scripts": "/",
        "script": "/script?name=%3Cb%3Eshop%20%26%20more.js",
        "run": f"/runs/{newest}",
        "broken": f"/runs/{broken}",
        "compare": f"/compare?to={older}&run={newest}",
        "runs": "/runs",
        "statistics": "/statistics",
        "queue": "/queue",
        "login": "/login",
        "docs": "/docs",
        "missing": "/runs/nothing",
        "nowhere": "/nowhere",
    }


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages(
    browser: webdriver.Chrome, served: Served, size: tuple[int, int], dark: bool
) -> None:
    """Each page: no script error, nothing refused by its policy, nothing hostile alive, readable
    in either mode (WCAG AA), no wider than the screen, one heading, a name for each control.
    """
    view(browser, size=size, dark=dark)
    for name, path in pages(served).items():
        browser.get(served.url + path)
        assert browser.execute_script("return window.hacked") is None, name
        assert browser.execute_script(CONTRAST, TEXTS) == [], name
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= size[0], name
        assert len(browser.find_elements(By.TAG_NAME, "h1")) == 1, name
        assert browser.execute_script(UNNAMED) == [], name
        noise = [
            entry["message"]
            for entry in browser.get_log("browser")
            if "404" not in entry["message"] or name not in {"missing", "nowhere"}
        ]
        assert noise == [], name


def test_a_runs_page_has_all_of_it(browser: webdriver.Chrome, served: Served) -> None:
    """Numbers, endpoints, thresholds, checks, time line, log; what a script wrote is text."""
    view(browser, size=DESKTOP, dark=False)
    browser.get(served.url + pages(served)["run"])
    headings = [h.text for h in browser.find_elements(By.TAG_NAME, "h2")]
    for expected in ("Numbers", "Findings", "Endpoints", "Thresholds", "Checks", "Time line"):
        assert expected in headings
    body = browser.find_element(By.TAG_NAME, "main").text
    assert "<script>window.hacked=1</script>" in body
    assert len(browser.find_elements(By.CSS_SELECTOR, "figure.chart")) == 4
    assert not browser.find_elements(By.CSS_SELECTOR, "main script, main img")


def test_a_point_of_the_trend_leads_to_its_run(browser: webdriver.Chrome, served: Served) -> None:
    """By mouse or keyboard; its title says value, time and verdict."""
    browser.get(served.url + pages(served)["script"])
    points = browser.find_elements(By.CSS_SELECTOR, ".trend a")
    assert len(points) == 2
    assert re.match(r"[\d.]+ ms \(2\d{3}-", points[-1].get_attribute("aria-label"))
    browser.execute_script("arguments[0].focus()", points[-1])
    points[-1].send_keys(Keys.ENTER)
    until(lambda: "/runs/" in browser.current_url, "the run's page")
    assert browser.current_url.endswith(pages(served)["run"])


def test_by_keyboard_log_in_run_follow_and_cancel(
    browser: webdriver.Chrome, served: Served, target: Target
) -> None:
    """Without the token the button asks for it, then does what was asked; the run shows, and is
    cancelled after a question.
    """
    gate = Gate()
    target.latency["/gate"] = gate
    served.write("gated.js", hitting(f"{target.url}/gate", iterations=1))
    until(gate.reached.is_set, "the first run")
    gate.opened.set()
    served.run("gated.js")
    target.latency["/gate"] = again = Gate()
    browser.delete_all_cookies()
    browser.get(f"{served.url}/script?name=gated.js")
    _button(browser, "Run now").send_keys(Keys.ENTER)
    until(lambda: browser.find_elements(By.NAME, "token"), "the login page")
    assert browser.switch_to.active_element == browser.find_element(By.NAME, "token")
    browser.switch_to.active_element.send_keys("wrong", Keys.ENTER)
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "[role=alert]"), "the refusal")
    browser.find_element(By.NAME, "token").send_keys(served.token, Keys.ENTER)
    until(lambda: "/queue" in browser.current_url, "the queue")
    until(again.reached.is_set, "the second run")
    until(lambda: "Requests/s" in _text(browser), "live numbers")
    until(lambda: _pressed(browser, "Cancel gated.js"), "the button")
    until(lambda: _alert(browser), "the question")
    assert _alert(browser).text == "Cancel gated.js?"
    _alert(browser).accept()
    until(lambda: _ended(browser)[0].startswith("gated.js aborted"), "the end of the run")
    again.opened.set()
    assert len(served.runs("gated.js")) == 2
    seen = _ended(browser)
    browser.get(f"{served.url}/queue")
    assert _ended(browser) == seen
    refused = [entry["message"] for entry in browser.get_log("browser")]
    assert all("401" in one or "403" in one for one in refused), refused


def test_the_list_of_scripts_is_not_older_than_its_runs(
    browser: webdriver.Chrome, served: Served, target: Target
) -> None:
    """A page that shows a run under way shows its verdict when it is over, with no hand on it."""
    target.latency["/slow"] = gate = Gate()
    served.write("slow.js", hitting(f"{target.url}/slow", iterations=1))
    until(gate.reached.is_set, "the run")
    browser.get(served.url)
    until(lambda: "Requests/s" in _text(browser), "live numbers")
    row = "//tr[th='slow.js']"
    assert "not run yet" in browser.find_element(By.XPATH, row).text
    gate.opened.set()
    until(lambda: browser.find_elements(By.XPATH, f"{row}//*[text()='learning']"), "the verdict")


def test_what_is_being_typed_is_not_lost_when_a_run_ends(
    browser: webdriver.Chrome, served: Served, target: Target
) -> None:
    """The page then says that a run has ended, and waits to be asked for it.

    It was not connected when the run ended, and another script's run has ended since.
    """
    target.latency["/held"] = gate = Gate()
    served.write("held.js", hitting(f"{target.url}/held", iterations=1))
    until(gate.reached.is_set, "the run")
    browser.get(f"{served.url}/script?name=held.js")
    until(lambda: "Requests/s" in _text(browser), "live numbers")
    browser.find_element(By.XPATH, "//summary[contains(., 'Disable')]").click()
    reason = browser.find_element(By.NAME, "reason")
    reason.send_keys("the target moves")
    served.write("next.js", hitting(f"{target.url}/next", iterations=1))
    until(lambda: served.get("/api/v1/queue").json["pending"], "a run that waits")
    for process in served.answering():
        os.kill(process, signal.SIGKILL)
    gate.opened.set()
    until(lambda: served.store.history("next.js"), "the other run")
    until(lambda: "A run has ended." in _text(browser), "the note")
    assert reason.get_attribute("value") == "the target moves"
    browser.find_element(By.LINK_TEXT, "Show its result").click()
    until(lambda: "learning" in _text(browser), "the result")
    browser.get_log("browser")  # the lost connection is no news for other tests


def _button(browser: webdriver.Chrome, name: str) -> Any:
    return browser.find_element(By.XPATH, f"//button[normalize-space()='{name}']")


def _text(browser: webdriver.Chrome) -> str:
    return str(browser.execute_script("return document.querySelector('main').innerText"))


def _ended(browser: webdriver.Chrome) -> list[str]:
    """The lines of what ended last."""
    return list(
        browser.execute_script(
            "return [...document.querySelectorAll('#ended li')].map((e) => e.innerText)"
        )
    )


def _alert(browser: webdriver.Chrome) -> Any:
    try:
        return browser.switch_to.alert
    except NoAlertPresentException:
        return None


def _pressed(browser: webdriver.Chrome, name: str) -> bool:
    """Press a button that is drawn anew every second."""
    return bool(
        browser.execute_script(
            "const b = [...document.querySelectorAll('#live button')].find("
            "(b) => b.textContent === arguments[0]); b?.focus(); setTimeout(() => b?.click());"
            "return !!b",
            name,
        )
    )


def test_search_form(browser: webdriver.Chrome, served: Served) -> None:
    """The form finds by text and verdict, says what it doesn't understand, and works by Enter."""
    browser.get(f"{served.url}/runs")
    browser.find_element(By.NAME, "text").send_keys("broken", Keys.ENTER)
    until(lambda: "text=broken" in browser.current_url, "the search")
    assert len(browser.find_elements(By.CSS_SELECTOR, "tbody tr")) == 1
    browser.get_log("browser")  # of earlier tests
    browser.get(f"{served.url}/runs?min_error_rate=lots")
    assert "'lots' is not allowed" in browser.find_element(By.CSS_SELECTOR, "[role=alert]").text
    (noise,) = browser.get_log("browser")
    assert "422" in noise["message"]


def test_the_html_report_stands_for_itself(
    browser: webdriver.Chrome, served: Served, tmp_path: Path
) -> None:
    """Opened from the disk it has charts and style, loads nothing, and runs nothing."""
    file = tmp_path / "report.html"
    test_id = served.store.history("<b>shop & more.js", 1)[0]["test_id"]
    assert served.call("report", test_id, "--html", "-o", str(file)).returncode == 0
    browser.get(file.as_uri())
    assert browser.execute_script("return window.hacked") is None
    assert len(browser.find_elements(By.CSS_SELECTOR, "figure.chart")) == 4
    loaded = browser.execute_script("return performance.getEntriesByType('resource').length")
    assert loaded == 0
    colour = browser.execute_script(
        "return getComputedStyle(document.querySelector('.badge')).color"
    )
    assert colour != "rgb(0, 0, 0)"
    assert browser.get_log("browser") == []
