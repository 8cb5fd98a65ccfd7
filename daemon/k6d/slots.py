"""Load tests take turns: a slot is a lock on a file, so that turns hold between processes.

`k6d run` beside a daemon on the same data waits for the daemon's test to end, because two load
tests at once would measure each other. The kernel frees the lock of a process that dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

POLL_S = 0.1


@contextlib.asynccontextmanager
async def slot(
    folder: Path, count: int, *, on_wait: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """Hold one of `count` slots, waiting for a free one; `on_wait` is called once if it must."""
    waited = False
    while (held := _try_any(folder, count)) is None:
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
