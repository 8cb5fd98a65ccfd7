"""The calls that the web process can make to the daemon: its queue, jobs and events."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k6d.core.job import Job
from k6d.core.model import Trigger
from k6d.storage.data_folder import remove_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from k6d.jobs.activity import Activity
    from k6d.jobs.queue import JobQueue

# Jobs of people, and as many of hooks: a hook's token cannot keep people from running scripts.
# Changes of the folder may queue more.
MOST_PENDING = 200
REFRESH_S = 1.0
LOOK_S = 15.0


class Control:
    """The daemon's side; it runs in the daemon's event loop."""

    def __init__(self, queue: JobQueue, activity: Activity) -> None:
        self._queue, self._activity = queue, activity
        self._tidying: set[asyncio.Task[None]] = set()

    def calls(self) -> dict[str, Callable[..., Any]]:
        """Return the calls by name; their arguments and results are JSON."""
        calls = (self.queue, self.counts, self.entry, self.cancel, self.put, self.end_of)
        return {call.__name__: call for call in calls} | {"events": self.events}

    async def queue(self) -> dict[str, Any]:
        """Return the running, pending and recently ended jobs."""
        return self._activity.queue()

    async def counts(self) -> dict[str, Any]:
        """Return the numbers of pending and running jobs, and runs since the start by verdict."""
        return {
            "pending": len(self._queue),
            "running": len(self._queue.running),
            "runs": dict(self._activity.runs),
            "run_seconds": self._activity.run_seconds,
        }

    async def entry(self, job: str) -> dict[str, Any] | None:
        """Return a job; None if it is unknown."""
        return self._activity.entry(job)

    async def cancel(self, job: str) -> dict[str, Any] | None:
        """Cancel a job and return it; None if it is over or unknown."""
        return self._activity.entry(job) if await self._activity.cancel(job) else None

    async def put(self, given: dict[str, Any]) -> dict[str, Any]:
        """Queue a job for a person or a hook; return {id, trigger} of it.

        If it was merged with a pending job, these are that job's. If too many jobs are pending,
        return {pending} with their number. The folder of a one-off is removed when its job is over.
        """
        given |= {"path": Path(given["path"]), "notes": tuple(given["notes"])}
        job = Job(**given | {"trigger": Trigger(given["trigger"])})
        alike = sum(one.trigger is job.trigger for one in self._queue.pending())
        if alike >= MOST_PENDING:
            _tidy(job)
            return {"pending": alike}
        self._queue.put(job)
        queued = next(one for one in self._queue.pending() if one.key == job.key)
        if queued.one_off:
            task = asyncio.create_task(self._tidy_at_end(queued))
            self._tidying.add(task)
            task.add_done_callback(self._tidying.discard)
        self._activity.changed()
        return {"id": queued.id, "trigger": queued.trigger.value}

    async def end_of(self, job: str) -> dict[str, Any]:
        """Wait for the end of a job and return {test_id, why}."""
        finished = await self._activity.end_of(job)
        return {"test_id": finished.test_id, "why": finished.why}

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield {kind, data}: the queue (now, at each change, each second of a run) and ended runs.

        Above the limit of listeners, yield only {kind: full}.
        """
        with self._activity.reader() as reader:
            if reader is None:
                yield {"kind": "full", "data": {"detail": "too many listen already"}}
                return
            yield {"kind": "queue", "data": self._activity.queue()}
            while not reader.closed:
                busy = self._activity.busy
                events = await reader.take(REFRESH_S if busy else LOOK_S)
                for event in events:
                    yield {"kind": event.kind, "data": event.data}
                if not events and busy:
                    yield {"kind": "queue", "data": self._activity.queue()}

    async def _tidy_at_end(self, job: Job) -> None:
        await self._activity.end_of(job.id)
        _tidy(job)


def _tidy(job: Job) -> None:
    if job.one_off:
        remove_folder(job.path.parent, root=job.path.parents[2])
