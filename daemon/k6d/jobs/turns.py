"""Limits how many load tests run at once; a slot is a file lock, so it holds between processes.

`k6d run` waits for the test of a daemon on the same data folder, because two load tests at once
would disturb each other's measurements.
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
    """The job was stopped before its load test began."""

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


class Turn:
    """The slot that a job holds; it gives up one slot before it waits for another.

    `slot_of` makes the slot of an executor.
    """

    def __init__(
        self, slot_of: Callable[[str], contextlib.AbstractAsyncContextManager[None]]
    ) -> None:
        self._slot_of = slot_of
        self._held: str | None = None
        self._stack = contextlib.AsyncExitStack()

    async def take(self, executor: str) -> None:
        """Hold a slot of this executor, and no other."""
        if executor != self._held:
            await self.release()
            await self._stack.enter_async_context(self._slot_of(executor))
            self._held = executor

    async def release(self) -> None:
        """Give up the slot."""
        self._held = None
        await self._stack.aclose()


@contextlib.asynccontextmanager
async def slot(
    folder: Path,
    count: int,
    *,
    root: Path,
    stop: asyncio.Event | None = None,
    on_wait: Callable[[], None] | None = None,
) -> AsyncIterator[None]:
    """Wait for one of `count` slots and hold it; `on_wait` is called once if it has to wait.

    `root` is the data folder that contains `folder`. Raises StoppedError if `stop` is set while
    waiting.
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
