"""Load tests take turns: a slot is a lock on a file, so that turns hold between processes.

`k6d run` beside a daemon on the same data waits for the daemon's test to end, because two load
tests at once would measure each other; and two daemons don't share a data folder. The kernel frees
the lock of a process that dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING, TextIO, TypeVar

from k6d.model import K6dError, reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

POLL_S = 0.1
DAEMON_LOCK = "daemon.lock"  # in the data folder, as long as a daemon has it

T = TypeVar("T")


class StoppedError(K6dError):
    """We were asked to stop before the load test began."""

    def __init__(self) -> None:
        super().__init__("stopped before the load test began; start it again")


async def unless(stop: asyncio.Event, step: Coroutine[None, None, T]) -> T:
    """What the step gives; it is cancelled, and StoppedError raised, as soon as `stop` is set.

    Either way it has ended then, and what it started with it.
    """
    stopping, working = asyncio.create_task(stop.wait()), asyncio.create_task(step)
    try:
        await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise StoppedError
        return working.result()
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.gather(stopping, working, return_exceptions=True)


@contextlib.asynccontextmanager
async def slot(
    folder: Path,
    count: int,
    *,
    stop: asyncio.Event | None = None,
    on_wait: Callable[[], None] | None = None,
) -> AsyncIterator[None]:
    """Hold one of `count` slots, waiting for a free one; `on_wait` is called once if it must.

    StoppedError when `stop` is set while it waits.
    """
    waited = False
    while (held := _try_any(folder, count)) is None:
        if stop and stop.is_set():
            raise StoppedError
        if on_wait and not waited:
            on_wait()
        waited = True
        await asyncio.sleep(POLL_S)
    try:
        yield
    finally:
        held.close()


def _try_any(folder: Path, count: int) -> TextIO | None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        if file := try_lock(folder / f"{number}.lock"):
            return file
    return None


def try_lock(path: Path) -> TextIO | None:
    """An open file with an exclusive lock that lasts until it is closed; None if it is taken."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def daemon_of(data: Path) -> str | None:
    """The pid of the daemon that has the data folder; None when there is none."""
    try:
        with (data / DAEMON_LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return (data / DAEMON_LOCK).read_text().strip() or "unknown"
    except OSError:
        return None
    return None


@contextlib.contextmanager
def only_daemon(data: Path) -> Iterator[None]:
    """Hold the data folder for one daemon; the lock is the kernel's and dies with the process."""
    path = data / DAEMON_LOCK
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = try_lock(path)
        if lock is None:
            time.sleep(POLL_S)  # it may be `daemon_of`, which only looks
            lock = try_lock(path)
    except OSError as error:
        why = reason(error)
        raise K6dError(f"cannot use {data}: {why}; choose another --data") from error
    if lock is None:
        pid = path.read_text().strip() or "unknown"
        raise K6dError(f"another k6d (pid {pid}) serves {data}: stop it or choose another --data")
    with lock:
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
