"""Load tests take turns, between tasks and between processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from k6d.jobs.turns import StoppedError, cancel_when, slot
from k6d.storage.locks import try_lock

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 120.0
HOLDER = """
import asyncio, pathlib, sys
from k6d.jobs.turns import slot

async def main():
    folder = pathlib.Path(sys.argv[1])
    async with slot(folder, 1, root=folder):
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def _holder(folder: Path) -> subprocess.Popen[bytes]:
    """Another process that has the one slot until its standard input closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


async def _wait_for(folder: Path, waited: asyncio.Event, calls: list[str]) -> None:
    def waits() -> None:
        calls.append("waits")
        waited.set()

    async with asyncio.timeout(PATIENCE_S), slot(folder, 1, root=folder, on_wait=waits):
        calls.append("runs")


async def _after(holder: subprocess.Popen[bytes], folder: Path, *, kill: bool) -> list[str]:
    waited, calls = asyncio.Event(), list[str]()
    task = asyncio.create_task(_wait_for(folder, waited, calls))
    async with asyncio.timeout(PATIENCE_S):
        await waited.wait()
        assert calls == ["waits"]
        if kill:
            holder.kill()
        elif holder.stdin is not None:
            holder.stdin.close()
        await task
    return calls


def test_another_process_is_waited_for(tmp_path: Path) -> None:
    """The second waits, is told so once, and runs when the first is done."""
    with _holder(tmp_path) as holder:
        assert asyncio.run(_after(holder, tmp_path, kill=False)) == ["waits", "runs"]


def test_a_process_that_is_killed_frees_its_slot(tmp_path: Path) -> None:
    """The kernel lets the lock go, whatever happens to its holder."""
    with _holder(tmp_path) as holder:
        assert asyncio.run(_after(holder, tmp_path, kill=True)) == ["waits", "runs"]


async def test_no_more_at_once_than_there_are_slots(tmp_path: Path) -> None:
    """Eight tasks on two slots: never three inside, and all get their turn."""
    inside, most, done = 0, 0, 0

    async def work() -> None:
        nonlocal inside, most, done
        async with slot(tmp_path / "new", 2, root=tmp_path):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1
            done += 1

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(work() for _ in range(8)))
    assert (most, done, inside) == (2, 8, 0)


async def test_a_slot_is_free_again_after_an_error(tmp_path: Path) -> None:
    """An exception or a cancellation inside gives it back."""
    for error in (RuntimeError, asyncio.CancelledError):
        with pytest.raises(error):
            async with slot(tmp_path, 1, root=tmp_path):
                raise error
    lock = try_lock(tmp_path / "0.lock", root=tmp_path)
    assert lock is not None
    with lock:
        assert try_lock(tmp_path / "0.lock", root=tmp_path) is None


async def test_a_step_that_is_cut_off_has_ended_when_that_is_told() -> None:
    """What it cleans up, such as a process, would otherwise outlive the loop."""
    stop, ended = asyncio.Event(), []

    async def step() -> None:
        try:
            stop.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    with pytest.raises(StoppedError):
        await cancel_when(stop, step())
    assert ended
