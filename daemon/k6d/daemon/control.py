"""What the API may ask of the daemon: its queue, its jobs, its events. At both ends of the link."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k6d.core.job import Job
from k6d.core.model import Trigger
from k6d.storage.data_folder import remove_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from k6d.jobs.activity import Board
    from k6d.jobs.queue import JobQueue

MOST_PENDING = 200  # jobs that somebody asked for; a folder may have more scripts than that
REFRESH_S = 1.0
LOOK_S = 15.0


class Control:
    """The daemon's end, in its event loop."""

    def __init__(self, queue: JobQueue, board: Board) -> None:
        self._queue, self._board = queue, board
        self._tidying: set[asyncio.Task[None]] = set()

    def calls(self) -> dict[str, Callable[..., Any]]:
        """What can be called, by name; arguments and results are JSON."""
        calls = (self.queue, self.counts, self.entry, self.cancel, self.put, self.end_of)
        return {call.__name__: call for call in calls} | {"events": self.events}

    async def queue(self) -> dict[str, Any]:
        """What is under way, pending and just over."""
        return self._board.queue()

    async def counts(self) -> dict[str, Any]:
        """Jobs pending and running; the runs since the start, by verdict and in seconds."""
        return {
            "pending": len(self._queue),
            "running": len(self._queue.running),
            "runs": dict(self._board.runs),
            "run_seconds": self._board.run_seconds,
        }

    async def entry(self, job: str) -> dict[str, Any] | None:
        """A job; None when it is unknown."""
        return self._board.entry(job)

    async def cancel(self, job: str) -> dict[str, Any] | None:
        """The job that ends now; None when it is over or unknown."""
        return self._board.entry(job) if await self._board.cancel(job) else None

    async def put(self, given: dict[str, Any]) -> dict[str, Any]:
        """Queue a job that somebody asks for; {id, trigger} of it or of one it was merged with.

        {pending}, how many there are, when there are too many. The folder of a one-off is removed
        when its job is over, whether somebody waits for it or not.
        """
        given |= {"path": Path(given["path"]), "notes": tuple(given["notes"])}
        job = Job(**given, trigger=Trigger.MANUAL)
        asked_for = [one for one in self._queue.pending() if one.trigger is Trigger.MANUAL]
        if len(asked_for) >= MOST_PENDING:
            _tidy(job)
            return {"pending": len(asked_for)}
        self._queue.put(job)
        queued = next(one for one in self._queue.pending() if one.key == job.key)
        if queued.one_off:
            task = asyncio.create_task(self._tidy_at_end(queued))
            self._tidying.add(task)
            task.add_done_callback(self._tidying.discard)
        self._board.changed()
        return {"id": queued.id, "trigger": queued.trigger.value}

    async def end_of(self, job: str) -> dict[str, Any]:
        """{test_id, why} of a job, as soon as it is over."""
        finished = await self._board.end_of(job)
        return {"test_id": finished.test_id, "why": finished.why}

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """{kind, data}: the queue now, whenever it changes and every second of a run; ended runs.

        {kind: full} alone when there are listeners enough.
        """
        with self._board.reader() as reader:
            if reader is None:
                yield {"kind": "full", "data": {"detail": "too many listen already"}}
                return
            yield {"kind": "queue", "data": self._board.queue()}
            while not reader.closed:
                busy = self._board.busy
                events = await reader.take(REFRESH_S if busy else LOOK_S)
                for event in events:
                    yield {"kind": event.kind, "data": event.data}
                if not events and busy:
                    yield {"kind": "queue", "data": self._board.queue()}

    async def _tidy_at_end(self, job: Job) -> None:
        await self._board.end_of(job.id)
        _tidy(job)


def _tidy(job: Job) -> None:
    if job.one_off:
        remove_folder(job.path.parent, root=job.path.parents[2])
