"""Tracks the daemon's pending, running and finished jobs, for the API and the dashboard.

It runs in the daemon's event loop. Nothing waits for a reader; a slow reader misses events.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, OrderedDict, deque
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.jobs.stages import Watching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k6d.core.job import Job
    from k6d.core.model import Run
    from k6d.execution.executor import Live
    from k6d.execution.workdir import UnderWay
    from k6d.jobs.queue import JobQueue
    from k6d.jobs.retries import Retries

logger = logging.getLogger(__name__)

KEPT_FINISHED = 200  # ended jobs that can still be found by their id
SHOWN_ENDED = 10
MOST_READERS = 32
KEPT_EVENTS = 100


@dataclass(slots=True)
class Running:
    """A running job; `under_way` and `progress` are set when k6 starts."""

    job: Job
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    began: float = field(default_factory=time.monotonic)
    waiting: bool = False
    under_way: UnderWay | None = None
    progress: Callable[[], Live] | None = None
    planned_s: float | None = None

    def entry(self) -> dict[str, Any]:
        """Return the job with its measurements so far."""
        phase = (
            "running" if self.progress else "waiting for its turn" if self.waiting else "starting"
        )
        return {
            **_entry(self.job, phase),
            "test_id": self.under_way.test_id if self.under_way else None,
            "planned_s": self.planned_s,
            "elapsed_s": round(time.monotonic() - self.began, 1),
            "live": asdict(self.progress()) if self.progress else None,
        }


@frozen
class Finished:
    """The end of a job: with a run, without one because of `error`, or with nothing to do."""

    job: Job
    test_id: str | None = None
    verdict: str | None = None
    error: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def why(self) -> str:
        """Return why there is no run."""
        return self.error or "there was nothing to run"

    def entry(self) -> dict[str, Any]:
        """Return the job with the id and the verdict of its run."""
        return {
            **_entry(self.job, "finished" if self.test_id else "not run"),
            "test_id": self.test_id,
            "verdict": self.verdict,
            "error": None if self.test_id else self.why,
            "ended": self.at.isoformat(timespec="seconds"),
        }


@dataclass(frozen=True, slots=True)
class Event:
    """An event for readers; `kind` is "queue" or "run"."""

    kind: str
    data: dict[str, Any]


class Activity:
    """The running and the finished jobs of one queue; `on_change` is called after each change.

    `retries` are the jobs that wait for their next try. `held` returns why no job starts at
    present, if none does.
    """

    def __init__(
        self,
        queue: JobQueue,
        retries: Retries | None = None,
        *,
        held: Callable[[], str | None] = lambda: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue, self._retries, self._held = queue, retries, held
        self._on_change = on_change
        self._running: dict[str, Running] = {}
        self._finished: OrderedDict[str, Finished] = OrderedDict()
        self._readers: set[Reader] = set()
        self._ended = asyncio.Condition()
        self._stopping = False
        self.runs: Counter[str] = Counter()
        self.run_seconds = 0.0

    async def take(self) -> Job:
        """Wait for the queue's next job and return it; from now on it counts as running."""
        job = await self._queue.get()
        running = self._running[job.id] = Running(job)
        if self._stopping:
            running.stop.set()
        self.changed()
        return job

    def watching(self, job: Job) -> Watching:
        """Return the callbacks by which the pipeline reports on a taken job."""
        running = self._running[job.id]

        def waiting() -> None:
            running.waiting = True
            logger.info("%s waits: a load test of its group, or outside this daemon", job.name)
            self.changed()

        def started(under_way: UnderWay, progress: Callable[[], Live]) -> None:
            running.under_way, running.progress = under_way, progress
            running.began = time.monotonic()
            self.changed()

        def planned(total_s: float) -> None:
            running.planned_s = total_s
            self.changed()

        return Watching(waiting=waiting, started=started, planned=planned, stop=running.stop)

    async def finished(self, job: Job, run: Run | None, *, error: str | None = None) -> None:
        """Record the end of a job; without run and error, there was nothing to do."""
        self._running.pop(job.id, None)
        if run is None:
            self._end(Finished(job=job, error=error))
        else:
            self.runs[run.verdict] += 1
            self.run_seconds += run.execution_time
            self._end(Finished(job=job, test_id=run.test_id, verdict=run.verdict))
            ended = {"test_id": run.test_id, "script": run.script, "verdict": run.verdict}
            self._publish(Event("run", ended))
        self.changed()
        await self._wake()

    def _end(self, finished: Finished) -> None:
        """Store it as the newest ended job; a job that waited for a missing k6 ends twice."""
        self._finished.pop(finished.job.id, None)
        self._finished[finished.job.id] = finished
        while len(self._finished) > KEPT_FINISHED:
            self._finished.popitem(last=False)

    async def _wake(self) -> None:
        async with self._ended:
            self._ended.notify_all()

    async def stop(self) -> None:
        """Stop all running jobs, and mark the pending ones as not run."""
        self._stopping = True
        for running in self._running.values():
            running.stop.set()
        for job in self._queue.pending():  # without the limit, since somebody may wait for each
            self._finished[job.id] = Finished(job=job, error="k6d was stopped before it ran")
        for reader in self._readers:
            reader.close()
        await self._wake()

    async def cancel(self, job_id: str) -> bool:
        """Cancel a pending or running job; False if it is over or unknown."""
        running = self._running.get(job_id)
        if running:
            running.stop.set()
            return True
        for job in self._queue.pending():
            if job.id == job_id:
                self._queue.drop(job.key)
                self._end(Finished(job=job, error="was cancelled before it ran"))
                self.changed()
                await self._wake()
                return True
        return False

    def entry(self, job_id: str) -> dict[str, Any] | None:
        """Return the job as JSON; None if it is unknown."""
        if running := self._running.get(job_id):
            return running.entry()
        if finished := self._finished.get(job_id):
            return finished.entry()
        waiting = (job for job in self._queue.pending() if job.id == job_id)
        return next((_entry(job, "pending") for job in waiting), None)

    async def end_of(self, job_id: str) -> Finished:
        """Wait for the end of the job and return it."""
        async with self._ended:
            await self._ended.wait_for(lambda: job_id in self._finished)
        return self._finished[job_id]

    def queue(self) -> dict[str, Any]:
        """Return running jobs, pending jobs in the order of their start, and ended jobs.

        The ended jobs are newest first; they let a client see the end of a job that it followed.
        `retries` are jobs without a verdict that wait for their next try, `held` is the reason why
        no job starts by itself; None if jobs start.
        """
        ended = (one for one in reversed(self._finished.values()) if one.test_id or one.error)
        return {
            "running": [running.entry() for running in self._running.values()],
            "pending": [_entry(job, "pending") for job in self._queue.pending()],
            "ended": [one.entry() for one in islice(ended, SHOWN_ENDED)],
            "retries": self._retries.entries() if self._retries else [],
            "held": self._held(),
        }

    @property
    def busy(self) -> bool:
        """Return whether a job is running."""
        return bool(self._running)

    def changed(self) -> None:
        """Tell the readers that the queue has changed."""
        self._on_change()
        if self._readers:
            self._publish(Event("queue", self.queue()))

    @contextlib.contextmanager
    def reader(self) -> Iterator[Reader | None]:
        """Yield a reader of the events from now on; None above the limit of readers."""
        if len(self._readers) >= MOST_READERS or self._stopping:
            yield None
            return
        reader = Reader()
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    def _publish(self, event: Event) -> None:
        for reader in self._readers:
            reader.put(event)


class Reader:
    """A reader of events; if it is slow, the oldest events are dropped."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._some = asyncio.Event()
        self.closed = False

    def put(self, event: Event) -> None:
        """Add an event."""
        self._events.append(event)
        self._some.set()

    def close(self) -> None:
        """End the events."""
        self.closed = True
        self._some.set()

    async def take(self, timeout_s: float) -> list[Event]:
        """Return the events since the last call; an empty list after `timeout_s` without any."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._some.wait()
        events = list(self._events)
        self._events.clear()
        if not self.closed:
            self._some.clear()
        return events


def _entry(job: Job, state: str) -> dict[str, Any]:
    return {
        "job": job.id,
        "script": job.name,
        "trigger": job.trigger.value,
        "state": state,
        "overrides": job.overrides,
    }
