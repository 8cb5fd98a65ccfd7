"""Jobs without a verdict: each runs again after a pause, which doubles each time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k6d.core.job import Job
    from k6d.jobs.queue import JobQueue

logger = logging.getLogger(__name__)

FIRST_S, LONGEST_S = 5.0, 3600.0


@frozen
class Retry:
    """A job that waits for its next try, `at`; None: until what it lacks is back.

    `tries` counts the tries without a verdict, `reason` says why the last one had none.
    """

    job: Job
    reason: str
    tries: int
    at: datetime | None

    def entry(self) -> dict[str, Any]:
        """Return the retry for the queue's view."""
        return {
            "script": self.job.name,
            "trigger": self.job.trigger.value,
            "reason": self.reason,
            "tries": self.tries,
            "at": self.at.isoformat(timespec="seconds") if self.at else None,
        }


class Retries:
    """The jobs of one queue that wait for their next try; `on_change` is called when they change.

    They belong to one event loop and end with it: what must survive is in `StoredJobs`. `first_s`
    is the first pause.
    """

    def __init__(
        self, queue: JobQueue, *, on_change: Callable[[], None], first_s: float = FIRST_S
    ) -> None:
        self._queue, self._on_change, self._first_s = queue, on_change, first_s
        self._tries: dict[str, int] = {}
        self._waiting: dict[str, Retry] = {}

    def later(self, job: Job, reason: str) -> None:
        """Queue the job again after a pause."""
        tries = self._tries.get(job.key, 0)
        pause_s = min(self._first_s * 2 ** min(tries, 10), LONGEST_S)
        logger.info("%s runs again in %g s", job.name, pause_s)
        self._wait(job, reason, at=datetime.now(UTC) + timedelta(seconds=pause_s))

        def again() -> None:
            retry = self._waiting.get(job.key)
            if retry and retry.job.id == job.id:
                del self._waiting[job.key]
                if not self._queue.waiting(job.key):
                    self._queue.put(job)
                self._on_change()

        asyncio.get_running_loop().call_later(pause_s, again)

    @contextlib.contextmanager
    def held(self, job: Job, reason: str) -> Iterator[None]:
        """Show the job as waiting for an unknown time."""
        self._wait(job, reason, at=None)
        self._on_change()
        try:
            yield
        finally:
            self._waiting.pop(job.key, None)

    def has(self, job: Job) -> bool:
        """Return whether the last try of the job had no verdict."""
        return job.key in self._tries

    def over(self, job: Job) -> None:
        """Note that the job has a verdict; if it waits, it does not run again."""
        self._tries.pop(job.key, None)
        self._waiting.pop(job.key, None)

    def entries(self) -> list[dict[str, Any]]:
        """Return the waiting jobs, the next one first."""
        last = datetime.max.replace(tzinfo=UTC)
        waiting = sorted(self._waiting.values(), key=lambda retry: retry.at or last)
        return [retry.entry() for retry in waiting]

    def _wait(self, job: Job, reason: str, *, at: datetime | None) -> None:
        tries = self._tries[job.key] = self._tries.get(job.key, 0) + 1
        self._waiting[job.key] = Retry(job=job, reason=reason, tries=tries, at=at)
