"""Command init: a commented settings file and a first script, in the current folder."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from k6d.cli.common import say
from k6d.core.errors import K6dError, reason

commands = typer.Typer()

SETTINGS = """\
# Settings of k6d. Uncomment a line to change it; no line is needed. `k6d help settings` lists all.

# Folder of the k6 scripts.
#scripts = "scripts"
# Folder where results are stored.
#data = "k6d-data"

[notify]
# Who gets alerts: Apprise URLs for Slack, e-mail and others (`k6d help alerts`). They hold secrets,
# so they are better in the file .env: K6D_NOTIFY__URLS=slack://…
#urls = ["json://127.0.0.1:8090/alerts"]

[schedule]
# When scripts run by the clock: patterns of scripts with cron expressions.
#scripts = { "*" = "@hourly" }

[limits]
# Severities of failed requests, in percent, and of the average response time, in ms.
#error_rate = { medium = 5, high = 10 }
#response_time_avg = { medium = 2000, high = 3000 }

[k6.env]
# Variables that the scripts see in __ENV.
#STAGE = "test"
"""

SCRIPT = """\
import http from 'k6/http';
import {{ check, sleep }} from 'k6';

// k6d compares each run with the earlier ones. It also judges these thresholds.
export const options = {{
  vus: 2,
  duration: '10s',
  thresholds: {{ http_req_failed: ['rate<0.01'] }},
}};

export default function () {{
  const answer = http.get({address});
  check(answer, {{ 'status is below 400': (r) => r.status > 0 && r.status < 400 }});
  sleep(1);
}}
"""


@commands.command()
def init(
    address: Annotated[
        str | None, typer.Argument(help="The address to test: https://shop.example.org/.")
    ] = None,
) -> None:
    """Write a commented settings file and a first script for an address; overwrite nothing."""
    if address is None:
        if not sys.stdin.isatty():
            raise K6dError("name the address to test: k6d init https://shop.example.org/")
        address = str(typer.prompt("address to test, such as https://shop.example.org/"))
    given = address.strip()
    script = SCRIPT.format(address=json.dumps(_checked(given)))
    files = {Path("k6d.toml"): SETTINGS, Path("scripts/first.js"): script}
    written = [path for path, text in files.items() if _write(path, text)]
    for path in files:
        say(f"{path} {'is written' if path in written else 'exists and stays as it is'}")
    say("Try the script once: k6d run scripts/first.js --once")
    say("Run it, and whenever it changes: k6d serve")


def _checked(address: str) -> str:
    """The address; K6dError unless it is one that k6 can request."""
    try:
        parts = urlsplit(address)
        valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not address.isprintable() or " " in address:
        raise K6dError(f"{address[:200]!r} is no address: it should begin with http:// or https://")
    return address


def _write(path: Path, text: str) -> bool:
    """Write a new file; False if there is one already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The settings will hold secrets.
        mode = 0o600 if path.suffix == ".toml" else 0o666
        with open(path, "x", encoding="utf-8", opener=partial(os.open, mode=mode)) as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        raise K6dError(f"cannot write {path}: {reason(error)}") from error
    return True
