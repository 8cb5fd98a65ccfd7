"""The daemon as a process: what it loads, and what it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from k6d.daemon.__main__ import NOT_SERVED
from support.daemon import PATIENCE_S, Daemon, Mailbox, hitting, until

if TYPE_CHECKING:
    from support.target import Target

HEAVY = ("apprise", "cramjam", "fastapi", "google.protobuf", "jinja2", "rich", "typer")


def test_the_idle_daemon_has_loaded_nothing_heavy() -> None:
    """Commands, API, deliveries and the stream of k6 bring their libraries when they are needed."""
    code = (
        "import sys, k6d.daemon.__main__, k6d.daemon.service\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert loaded.stdout.strip() == "[]"


def test_files_beside_us_are_no_modules(daemon: Daemon, target: Target) -> None:
    """Started in a folder with a requests.py and an orjson.py, it runs, judges and tells.

    Result: neither the daemon nor its helper processes took them for the libraries.
    """
    for name in ("apprise", "orjson", "requests", "k6d"):
        (daemon.home / f"{name}.py").write_text("raise SystemExit('not the library')")
    target.failing = True
    with Mailbox() as mailbox:
        daemon.write("a.js", hitting(target.url))
        daemon.start(
            k6d=(str(Path(sys.executable).with_name("k6d")),),
            K6D_NOTIFY__URLS=f"json://{mailbox.address}/told",
        )
        daemon.run("a.js")
        until(lambda: mailbox.letters, "the alert")


def test_mistakes_are_told_in_one_line(daemon: Daemon) -> None:
    """A wrong setting and an option that is none end it with exit code 2 and what is allowed."""
    wrong = daemon.call("serve", K6D_K6__CONCURRENCY="0")
    assert wrong.returncode == NOT_SERVED
    assert wrong.stdout == ""
    assert wrong.stderr.startswith("k6d: K6D_K6__CONCURRENCY: ")
    assert wrong.stderr.count("\n") == 1
    unknown = daemon.call("serve", "--nonsense")
    assert unknown.returncode == NOT_SERVED
    assert "--nonsense" in unknown.stderr
