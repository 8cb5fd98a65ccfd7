"""A daemon whose loop is held up hears signals all the same."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.daemon import until

CODE = """
import asyncio, signal, sys, time
from k6d.daemon import signals

async def main():
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    handlers = {
        signal.SIGTERM: lambda number: heard.set(),
        signal.SIGHUP: lambda number: print(number.name, flush=True),
    }
    with signals.listening(loop, handlers, limit_s=lambda: float(sys.argv[2])):
        print("ready", flush=True)
        if sys.argv[1] == "busy":
            while True:
                time.sleep(0.01)
        await heard.wait()
    print("stopped", flush=True)
    await asyncio.sleep(0.2)

asyncio.run(main())
"""


def _process(state: str, limit_s: float = 60) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CODE, state, str(limit_s)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def _end(process: subprocess.Popen[str]) -> tuple[int, str]:
    assert process.stdout
    with process.stdout:
        said = process.stdout.read()
    return process.wait(120), said


def _pending(process: subprocess.Popen[str]) -> int:
    """The signals that wait for the process, as bits; none once it has ended."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except FileNotFoundError:
        return 0
    waiting = re.search(r"ShdPnd:\s*(\S+)", status)
    return int(waiting[1], 16) if waiting else 0


def test_the_loop_hears_signals() -> None:
    """Each signal's handler is called in the loop; whoever ended in time is not ended."""
    process = _process("idle", limit_s=60)
    process.send_signal(signal.SIGHUP)
    assert process.stdout
    assert process.stdout.readline() == "SIGHUP\n"
    process.send_signal(signal.SIGTERM)
    assert _end(process) == (0, "stopped\n")


@pytest.mark.parametrize("signals", [1, 2])
def test_a_loop_that_is_held_up_does_not_keep_the_process(signals: int) -> None:
    """It ends after the limit, or with the second signal at once."""
    process = _process("busy", limit_s=0.2 if signals == 1 else 3600)
    for _ in range(signals):
        process.send_signal(signal.SIGTERM)
        until(lambda: not _pending(process), "the signal to arrive")  # two at once would be one
    assert _end(process) == (1, "")
