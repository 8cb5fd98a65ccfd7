"""`k6d serve` and files that never end: pipes, devices, mounts without an answer."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from k6d.core.model import Outcome
from support.daemon import PATIENCE_S, hitting
from support.dead_mount import dead_mount

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import Daemon
    from support.target import Target

BOOM = "import 'k6';\nthrow new Error('open {}: boom');\nexport default function () {{}}\n"


def test_what_never_ends_costs_its_script_only(
    daemon: Daemon, target: Target, tmp_path: Path
) -> None:
    """An error text, a dependency and a script that are pipes or devices; others run, it stops.

    1. Scripts throw errors that name a device and a pipe: script errors.
    2. A file that a script opens becomes a pipe: that is told, as a script error that says so.
    3. It is a file again: the script runs again. SIGTERM ends the daemon.
    """
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(daemon.scripts / "pipe.js")
    daemon.write("device.js", BOOM.format("/dev/zero"))
    daemon.write("named.js", BOOM.format(tmp_path / "pipe"))
    data = daemon.write("dep.txt", "1")
    daemon.write("opens.js", hitting(target.url, top="const data = open('./dep.txt');"))
    daemon.start()
    for name in ("device.js", "named.js"):
        run = daemon.run(name)
        assert run.execution.outcome is Outcome.SCRIPT_ERROR
        assert "boom" in (run.execution.error or "")
    assert daemon.run("opens.js").execution.outcome is Outcome.COMPLETED
    daemon.barrier()
    data.unlink()
    os.mkfifo(data)
    refused = daemon.run("opens.js", 2).execution
    assert refused.outcome is Outcome.SCRIPT_ERROR
    assert "dep.txt is a named pipe, not a regular file" in (refused.error or "")
    daemon.write("other.js", hitting(target.url))
    assert daemon.run("other.js").execution.outcome is Outcome.COMPLETED
    data.unlink()
    data.write_text("2")
    assert daemon.run("opens.js", 3).execution.outcome is Outcome.COMPLETED
    os.mkfifo(daemon.scripts / "late.txt")
    assert daemon.end() == 0


@pytest.mark.long
def test_a_mount_that_is_gone_holds_neither_the_daemon_nor_its_end(
    daemon: Daemon, target: Target, tmp_path: Path
) -> None:
    """A script whose data lies on it waits; others run; SIGTERM ends the daemon."""
    folder = tmp_path / "share"
    folder.mkdir()
    (folder / "users.csv").write_text("1")
    daemon.write("share.js", hitting(target.url, top=f"open('{folder}/users.csv');"))
    daemon.start()
    assert daemon.run("share.js").execution.outcome is Outcome.COMPLETED
    daemon.barrier()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(dead_mount(folder))
        except OSError as error:
            pytest.skip(f"no mount without an answer can be made here: {error}")
        daemon.until_logged("users.csv does not answer")
        daemon.write("other.js", hitting(target.url))
        assert daemon.run("other.js").execution.outcome is Outcome.COMPLETED
        assert daemon.end() == 0


def test_a_scripts_folder_that_does_not_answer_is_said_and_the_daemon_ends(
    daemon: Daemon,
) -> None:
    """From the start on; also `k6d scripts` and `k6d doctor` come back."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(dead_mount(daemon.scripts))
        except OSError as error:
            pytest.skip(f"no mount without an answer can be made here: {error}")
        daemon.start()
        daemon.until_logged("does not answer; does its mount hang?")
        assert daemon.end() == 0


def test_ctrl_c_ends_a_run_whose_script_never_ends(daemon: Daemon, tmp_path: Path) -> None:
    """`k6d run` of a script that opens a pipe: k6 waits for it, Ctrl-C ends both."""
    os.mkfifo(tmp_path / "pipe")
    daemon.write("waits.js", f"import 'k6';\nopen('{tmp_path}/pipe');\nexport default () => 1;\n")
    process = subprocess.Popen(
        daemon.command("run", str(daemon.scripts / "waits.js")),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=daemon.home,
        env=daemon.environment(),
        process_group=0,
    )
    daemon.until(lambda: any("archive" in one for one in daemon.processes()), "k6 to look at it")
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert process.wait(PATIENCE_S) == 2
    assert time.monotonic() - began < 25, "it waited for the limit of the look"
