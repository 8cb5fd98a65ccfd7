"""`k6d demo` as a newcomer starts it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from k6d.cli.demo import PATIENCE_S
from k6d.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = 6  # each waits for one thing to happen, with the demo's own patience


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """Where the demo makes its folder."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def _start(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    # A shell that runs us in the background has SIGINT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = {"PATH": os.environ["PATH"], "HOME": str(temporary), "LANG": "C.UTF-8"}
    return subprocess.Popen(
        [sys.executable, "-m", "k6d", "demo", *arguments],
        cwd=temporary,
        env=environment | {"TMPDIR": str(temporary), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


@pytest.mark.long
def test_the_demo_shows_a_run_a_rerun_and_an_alert_and_says_where_all_is(temporary: Path) -> None:
    """It ends with exit code 0, and what it says is kept is really there; but not twice in one."""
    with _start(temporary, "--data", "kept") as demo:
        said, errors = demo.communicate(timeout=STEPS * PATIENCE_S)
    assert (demo.returncode, errors) == (0, ""), said + errors
    assert "\x1b" not in said
    first, second, third = re.findall(r"^ (\w+)  shop\.js", said, re.MULTILINE)
    assert (first, second) == ("healthy", "healthy")
    assert third in ("HIGH", "MEDIUM")
    assert "GET /products" in said
    assert re.search(r"│ \[(HIGH|MEDIUM)\] shop: ", said)
    store = Store(temporary / "kept")
    assert len(store.history()) == 3
    (run_file,) = re.findall(r"this run, whole +(\S+)", said)
    (snapshots,) = re.findall(r"the script as it ran +(\S+)", said)
    (log,) = re.findall(r"the daemon's log +(\S+)", said)
    assert Path(run_file).is_file()
    assert len(list(Path(snapshots).glob("*.tar*"))) == 3
    assert "delivered 1 message to json://" in Path(log).read_text()
    (shown,) = set(re.findall(r"k6d show (\S+) --log", said))
    assert store.find("latest") == shown
    with _start(temporary, "--data", "kept") as demo:
        said, errors = demo.communicate(timeout=PATIENCE_S)
    assert (demo.returncode, said) == (2, "")
    assert errors.endswith("kept has runs already: name a new folder for the demo's\n")


def test_ctrl_c_ends_the_demo_and_its_daemon(temporary: Path) -> None:
    """In the middle of the first step: no stack trace, and the daemon has stopped in peace."""
    with _start(temporary, "--keep") as demo:
        patience = threading.Timer(STEPS * PATIENCE_S, demo.kill)
        patience.start()
        assert demo.stdout is not None
        begun = any("Dropping" in line for line in demo.stdout)
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=PATIENCE_S)
        patience.cancel()
    assert begun, errors
    assert "Traceback" not in errors
    assert demo.returncode in (0, 1, 130), errors
    (home,) = temporary.glob("k6d-demo-*")
    assert (home / "k6d.log").read_text().rstrip().endswith("stopped")
