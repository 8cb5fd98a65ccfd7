"""Shows the progress of a run as one line on standard error, from k6's pushes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from k6d.core.numbers import count, ms, rate, seconds
from k6d.core.text import printable
from k6d.jobs.stages import Watching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rich.console import Console

    from k6d.execution.executor import Live
    from k6d.execution.workdir import UnderWay

REFRESH_S = 0.2
MAX_NAME = 20  # leaves room for the numbers on a line of 80


class LiveLine:
    """Shows the progress of a run; shows nothing if the console is not a terminal."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[numbers]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar = self._progress.add_task("looking at the script", total=None, numbers="")
        self._live: Callable[[], Live] | None = None
        self._began = 0.0
        self.watching = Watching(
            waiting=self._waiting, started=self._started, planned=self._planned
        )

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Update the line until the context is left."""
        refreshing = asyncio.create_task(self._refresh())
        with self._progress:
            try:
                yield
            finally:
                refreshing.cancel()

    def _waiting(self) -> None:
        self._progress.update(self._bar, description="waiting for another load test to end")

    def _started(self, under_way: UnderWay, progress: Callable[[], Live]) -> None:
        self._live, self._began = progress, time.monotonic()
        self._progress.update(self._bar, description=_short(under_way.script))

    def _planned(self, total_s: float) -> None:
        self._progress.update(self._bar, total=total_s)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            if self._live is None:
                continue
            live, elapsed_s = self._live(), time.monotonic() - self._began
            numbers = seconds(int(elapsed_s))
            if live.requests:
                numbers += (
                    f"  {count(live.requests)} requests  {rate(live.requests_per_second)}  "
                    f"p95 {ms(live.p95_ms)}  {count(live.failed)} failed  {count(live.vus)} VUs"
                )
            self._progress.update(self._bar, completed=elapsed_s, numbers=numbers)


def _short(name: str) -> str:
    """Keep the end of a long name, since the folder says less; replace control characters."""
    shown = printable(name, "\ufffd")
    return shown if len(shown) <= MAX_NAME else "…" + shown[1 - MAX_NAME :]
