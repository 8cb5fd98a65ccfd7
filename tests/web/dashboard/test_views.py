"""All pages over a rich history in a real Chromium: nothing overlaps, nothing is cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.browser import (
    CONTRAST,
    DESKTOP,
    OVERLAPS,
    TABLET,
    TEXTS,
    UNNAMED,
    chromium,
    log_in,
    view,
)  # fmt: skip
from support.daemon import until
from support.screenshots import paths
from support.showcase import SHOP, Show

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


@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (TABLET, True)], ids=str)
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
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText.trim())",
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
    for words in ("error rate of POST /checkout", "was 0 %", "for 8 h", "8 failing runs"):
        assert words in line
    for button, said in (("Acknowledge", "acknowledged just now"), ("Mute 2 h", "muted until")):
        item = f"//ul[@class='incidents']/li[contains(., '{SHOP}')]"
        browser.find_element("xpath", f"{item}//button[contains(., '{button}')]").click()
        until(lambda: said in " ".join(texts(browser, ".incidents li")), said)  # noqa: B023
        assert browser.current_url == f"{shown.url}/"


def test_failing_scripts_come_first(browser: webdriver.Chrome, shown: Show) -> None:
    """Their state is "failing", and since when; the next run of a schedule is shown."""
    browser.get(shown.url)
    rows = texts(browser, ".scripts tbody tr")
    assert [("failing" in row) for row in rows] == [True, True, *([False] * (len(rows) - 2))]
    assert "in 2" in next(row for row in rows if row.startswith(SHOP))
    assert any("learning" in row and "1 of 5 runs" in row for row in rows)
