"""Ends a run that only burns a broken target, as the script's `ext.k6d.abort` asks for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k6d.core.model import EARLY
from k6d.core.numbers import ms, percent, seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from k6d.execution.executor import Live
    from k6d.settings.abort import Abort, AbortRule

LOOK_S = 0.5  # k6 pushes its numbers each second


@dataclass(slots=True)
class EarlyEnd:
    """Watches the numbers of each second; `reason` is set when the run is to end.

    `live` returns the progress, once k6 runs. A second without a finished request neither begins
    nor ends a bad time: its requests may hang.
    """

    rules: Abort
    live: Callable[[], Live] | None = None
    reason: str | None = None
    _since: dict[str, float] = field(default_factory=dict)
    _seen_s: float = 0.0

    def look(self, live: Live, now: float) -> str | None:
        """Take in the last second, at the monotonic time `now`; return the reason to end."""
        new = live.elapsed_s != self._seen_s
        self._seen_s = live.elapsed_s
        requests, errors = live.requests_per_second, live.errors_per_second
        rate = 100 * errors / requests if requests and errors is not None else None
        for name, rule, value, shown in (
            ("error_rate", self.rules.error_rate, rate, percent),
            ("response_time_p95", self.rules.response_time_p95, live.p95_ms, ms),
        ):
            if rule and self._lasts(name, rule, value if new and requests else None, now):
                last = f", {shown(value)} at last" if value is not None else ""
                title = "error rate" if name == "error_rate" else "p95 response time"
                bound = shown(rule.limit)
                self.reason = (
                    f"{EARLY}: {title} above {bound} for {seconds(rule.for_s)}{last} "
                    f"(ext.k6d.abort.{name}: {rule.text})"
                )
        return self.reason

    def _lasts(self, name: str, rule: AbortRule, value: float | None, now: float) -> bool:
        """Whether the value has been above the limit for the rule's time; None: not measured."""
        if value is not None and value <= rule.limit:
            self._since.pop(name, None)
        elif value is not None:
            self._since.setdefault(name, now - 1)  # the number is of the second before
        return name in self._since and now - self._since[name] >= rule.for_s

    @contextlib.asynccontextmanager
    async def watching(self, stop: asyncio.Event) -> AsyncIterator[asyncio.Event]:
        """Yield the event that ends the run: set with `stop`, or when a rule asks for it."""
        if not (self.rules.error_rate or self.rules.response_time_p95):
            yield stop
            return
        ending = asyncio.Event()

        async def follow() -> None:
            await stop.wait()
            ending.set()

        async def look() -> None:
            while not ending.is_set():
                if self.live and self.look(self.live(), time.monotonic()):
                    ending.set()
                await asyncio.sleep(LOOK_S)

        tasks = [asyncio.create_task(one()) for one in (follow, look)]
        try:
            yield ending
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
