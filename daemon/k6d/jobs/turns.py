"""Load tests take turns: a slot is a lock on a file, so that turns hold between processes.

`k6d run` beside a daemon on the same data waits for the daemon's test to end, because two load
tests at once would measure each other.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

from k6d.core.model import K6dError
from k6d.storage.data_folder import make_folder
from k6d.storage.locks import try_lock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path
    from typing import TextIO

POLL_S = 0.1

T = TypeVar("T")


class StoppedError(K6dError):
    """We were asked to stop before the load test began."""

    def __init__(self) -> None:
        super().__init__("stopped before the load test began; start it again")


async def cancel_when(stop: asyncio.Event, step: Coroutine[None, None, T]) -> T:
    """Give the result of `step`; cancel it and raise StoppedError as soon as `stop` is set.

    The step has ended when this returns or raises.
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
    root: Path,
    stop: asyncio.Event | None = None,
    on_wait: Callable[[], None] | None = None,
) -> AsyncIterator[None]:
    """Hold one of `count` slots, waiting for a free one; `on_wait` is called once if it must.

    `root` is the data folder that `folder` is in. StoppedError when `stop` is set while it waits.
    """
    waited = False
    while (held := _try_any(folder, count, root=root)) is None:
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


def _try_any(folder: Path, count: int, *, root: Path) -> TextIO | None:
    make_folder(folder, root=root)
    for number in range(count):
        if file := try_lock(folder / f"{number}.lock", root=root):
            return file
    return None
