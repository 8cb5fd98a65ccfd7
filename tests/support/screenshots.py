"""Takes screenshots of all pages into .cache/screenshots: `make screenshots [ONLY=home,run]`.

Six of them are kept for the manual: `make screenshots KEEP=1` writes their upper parts anew.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from support.browser import DESKTOP, PHONE, chromium, log_in, view
from support.paths import ROOT
from support.showcase import BROKEN, BUSY, LONG, NEVER, ONCE, SHOP, Show

if TYPE_CHECKING:
    from selenium import webdriver

FOLDER = ROOT / ".cache" / "screenshots"
HIGHEST = 4000
# Pictures of the manual: the page, its mode, and how much of it from the top.
KEPT = {
    "home": ("home", "light-desktop", 900),
    "script": ("script-30-runs", "light-desktop", 1000),
    "run": ("run", "light-desktop", 1500),
    "comparison": ("compare", "light-desktop", 1080),
    "run-dark": ("run", "dark-desktop", 1500),
    "home-phone": ("home", "light-phone", 900),
}
MANUAL = ROOT / "daemon/docs/pictures"
MODES = {
    "light-desktop": (DESKTOP, False),
    "dark-desktop": (DESKTOP, True),
    "light-phone": (PHONE, False),
    "dark-phone": (PHONE, True),
}


def script_page(name: str, **more: str) -> str:
    """The path of a script's page."""
    return f"/script?{urlencode({'name': name, **more})}"


def paths(show: Show) -> dict[str, str]:
    """A page of each kind."""

    def runs(name: str) -> list[str]:
        return [row["test_id"] for row in show.store.history(name, 30)]

    shop = runs(SHOP)
    return {
        "home": "/",
        "script-30-runs": script_page(SHOP),
        "script-1000-runs": script_page(BUSY),
        "script-1-run": script_page(ONCE),
        "script-no-run": script_page(NEVER),
        "script-long-name": script_page(LONG),
        "run": f"/runs/{shop[0]}",
        "run-healthy": f"/runs/{runs(BUSY)[0]}",
        "run-first": f"/runs/{runs(ONCE)[0]}",
        "run-broken": f"/runs/{runs(BROKEN)[0]}",
        "compare": f"/compare?to={shop[-1]}&run={shop[0]}",
        "runs": "/runs",
        "statistics": "/statistics?days=30",
        "queue": "/queue",
        "settings": "/settings",
        "login": "/login",
        "docs": "/docs",
        "missing": "/nowhere",
    }


def take(browser: webdriver.Chrome, file: Path, *, highest: int = HIGHEST) -> None:
    """A picture of the page, from its top."""
    metrics = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    high = min(metrics["height"], highest)
    clip = {"x": 0, "y": 0, "width": metrics["width"], "height": high, "scale": 1}
    shot = browser.execute_cdp_cmd(
        "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
    )
    file.write_bytes(base64.b64decode(shot["data"]))


def keep(browser: webdriver.Chrome, pages: dict[str, str]) -> None:
    """Write the manual's pictures."""
    for file, (name, mode, high) in KEPT.items():
        size, dark = MODES[mode]
        view(browser, size=size, dark=dark)
        browser.get(pages[name])
        take(browser, MANUAL / f"{file}.png", highest=high)


def main() -> None:
    """Fill a data folder, serve it, take the pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    only = [word for word in os.environ.get("ONLY", "").split(",") if word]
    with tempfile.TemporaryDirectory(prefix="k6d-screenshots-") as work:
        folder = Path(work)
        empty, full = Show(folder / "empty"), Show(folder / "full").fill()
        with closing(empty.serve()), closing(full.serve()):
            browser = chromium(folder / "profile")
            try:
                log_in(browser, full.url, full.token)
                pages = {"empty": f"{empty.url}/"}
                pages |= {name: full.url + path for name, path in paths(full).items()}
                for name, url in pages.items():
                    for mode, (size, dark) in MODES.items():
                        if only and not any(f"{mode}-{name}".find(word) >= 0 for word in only):
                            continue
                        view(browser, size=size, dark=dark)
                        browser.get(url)
                        take(browser, FOLDER / f"{name}-{mode}.png")
                if os.environ.get("KEEP"):
                    keep(browser, pages)
            finally:
                browser.quit()


if __name__ == "__main__":
    sys.exit(main())
