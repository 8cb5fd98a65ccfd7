"""Makes the pictures of the front page from the demo's shop and script: `make pictures`.

The real daemon runs scripts with the real k6 and sends the alert by mail to a real SMTP server;
Chromium shows the dashboard and the mail.
"""

from __future__ import annotations

import base64
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from k6d.cli.demo import SCRIPT
from k6d.cli.shop import Checkout, Shop
from support.daemon import until
from support.delivering import mail_url
from support.paths import ROOT
from support.programs import program
from support.receivers import MailReceiver, TestCa
from support.serving import Served

if TYPE_CHECKING:
    from email.message import EmailMessage

FOLDER = ROOT / "daemon/docs/pictures"
RUNS = 7
SIZES = {"dashboard": (1000, 560), "alert": (680, 624)}  # of the alert, the upper part
NAMES = ("shop.js", "shop-at-night.js", "smoke/catalog.js")


def main() -> None:
    """Run the scripts, break the checkout, wait for the alert, write both pictures."""
    shop = Shop()
    threading.Thread(target=shop.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="k6d-pictures-") as work:
        authority = TestCa(Path(work))
        with MailReceiver(authority) as mail, closing(Served(Path(work) / "home")) as daemon:
            trust = {"SSL_CERT_FILE": str(authority.path), "K6D_COMPARE__LEAST_PERCENT": "1000"}
            # Response times of so short runs move on a busy machine; errors are what is shown.
            trust["K6D_NOTIFY__URLS"] = mail_url(mail.port)
            for vus, name in enumerate(NAMES, 1):
                script = SCRIPT % {"shop": f"http://{shop.address}", "vus": vus}
                daemon.write(name, script.replace("duration: '4s'", "duration: '1s'"))
                for _ in range(RUNS):
                    daemon.call("run", name, **trust)
            shop.checkout = Checkout.FAIL
            daemon.start(**trust)
            daemon.call("run", NAMES[0], **trust)
            until(lambda: mail.got, "the alert")
            _take(f"{daemon.url}/", "dashboard", work)
            page = Path(work) / "alert.html"
            page.write_text(_html(mail.got[0]))
            _take(page.as_uri(), "alert", work)
    shop.shutdown()


def _html(message: EmailMessage) -> str:
    """The mail as one page, with the pictures in it."""
    body = message.get_body(("html",))
    assert body is not None
    text = str(body.get_content())
    for part in message.walk():
        if name := part["Content-ID"]:
            data = base64.b64encode(part.get_payload(decode=True)).decode()
            url = f"data:{part.get_content_type()};base64,{data}"
            text = text.replace(f"cid:{name.strip('<>')}", url)
    return f'<meta charset="utf-8">{text}'


def _take(url: str, name: str, work: str) -> None:
    """Write a picture of the page, as high as it is, or its upper part."""
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium")
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--hide-scrollbars", f"--user-data-dir={work}/profile-{name}"),
    ):
        options.add_argument(argument)
    driver = webdriver.Chrome(service=Service(program("chromedriver")), options=options)
    try:
        driver.get(url)
        width, height = SIZES[name]
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        FOLDER.mkdir(exist_ok=True)
        driver.save_screenshot(str(FOLDER / f"{name}.png"))
    finally:
        driver.quit()


if __name__ == "__main__":
    sys.exit(main())
