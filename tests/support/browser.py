"""A real headless Chromium, and what tests and pictures look for on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from support.daemon import PATIENCE_S, until
from support.programs import program

if TYPE_CHECKING:
    from pathlib import Path

PHONE, TABLET, DESKTOP = (390, 800), (768, 900), (1280, 900)
TEXTS = "h1, h2, h3, p, a, td, th, dt, dd, li, label, button, summary, pre, .badge, .chip, .mark"
# WCAG 2.2, 1.4.3: relative luminance, the ratio of text to the first opaque background behind it.
CONTRAST = """
const rgb = (c) => { const m = c.match(/[\\d.]+/g).map(Number);
  return m.length < 4 ? [...m, 1] : m; };
const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => { v /= 255;
  return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const bad = [];
for (const e of document.querySelectorAll(arguments[0])) {
  if (!e.innerText?.trim() || !e.checkVisibility()) continue;
  let back = null, at = e;
  while (at && (!back || back[3] === 0)) {
    back = rgb(getComputedStyle(at).backgroundColor); at = at.parentElement; }
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(back)];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) bad.push(`${e.tagName} ${e.className} "${e.innerText.slice(0, 30)}" ${ratio}`);
}
return bad;
"""


UNNAMED = """
return [...document.querySelectorAll('a, button, input:not([type=hidden]):not([hidden]), select')]
  .filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length))
  .map((e) => e.outerHTML.slice(0, 80));
"""


def chromium(profile: Path) -> webdriver.Chrome:
    """Start the browser; call `quit` at its end."""
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium")
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--disable-background-networking", "--no-first-run", f"--user-data-dir={profile}"),
        "--hide-scrollbars",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(program("chromedriver")), options=options)
    driver.set_page_load_timeout(PATIENCE_S)
    return driver


def view(browser: webdriver.Chrome, *, size: tuple[int, int], dark: bool) -> None:
    """Be a screen of that size, light or dark."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


# Texts of charts and of lines whose boxes overlap by more than a pixel, or that leave the screen.
OVERLAPS = """
const seen = [...document.querySelectorAll('svg text, .legend li')]
  .filter((e) => e.checkVisibility() && e.textContent.trim())
  .map((e) => [e, e.getBoundingClientRect()]).filter(([, r]) => r.width);
const bad = [];
for (const [e, r] of seen)
  if (r.left < -1 || r.right > innerWidth + 1) bad.push(`${e.textContent} leaves the screen`);
for (let i = 0; i < seen.length; i++) for (let j = i + 1; j < seen.length; j++) {
  const [a, b] = [seen[i][1], seen[j][1]];
  if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1)
    bad.push(`${seen[i][0].textContent} over ${seen[j][0].textContent}`);
}
return bad;
"""


def log_in(browser: webdriver.Chrome, url: str, token: str) -> None:
    """Give the token on the page for it."""
    browser.get(f"{url}/login")
    browser.find_element(By.NAME, "token").send_keys(token, Keys.ENTER)
    until(lambda: not browser.current_url.endswith("/login"), "the front page")
