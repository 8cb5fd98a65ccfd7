"""What the web process asks of the daemon: its queue, its jobs, its events."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from k6d.core.model import Trigger
from k6d.web.rpc import result_of

if TYPE_CHECKING:
    from k6d.core.job import Job
    from k6d.web.rpc import Caller, Stream


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended: with a run, or without one and why."""

    test_id: str | None
    why: str


class DaemonClient:
    """The end in the process that answers; everything may raise MistakeError."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def queue(self) -> dict[str, Any]:
        """See `Control.queue`."""
        queue: dict[str, Any] = await self._caller.call("queue")
        return queue

    async def counts(self) -> dict[str, Any]:
        """See `Control.counts`."""
        counts: dict[str, Any] = await self._caller.call("counts")
        return counts

    async def entry(self, job: str) -> dict[str, Any] | None:
        """See `Control.entry`."""
        entry: dict[str, Any] | None = await self._caller.call("entry", job)
        return entry

    async def cancel(self, job: str) -> dict[str, Any] | None:
        """See `Control.cancel`."""
        entry: dict[str, Any] | None = await self._caller.call("cancel", job)
        return entry

    async def put(self, job: Job) -> Job | int:
        """The job as it was queued; how many are pending already when these are too many."""
        given = {"name": job.name, "path": str(job.path), "id": job.id, "options": job.options}
        queued = await self._caller.call(
            "put", given | {"one_off": job.one_off, "notes": job.notes}
        )
        if "pending" in queued:
            return int(queued["pending"])
        return replace(job, id=queued["id"], trigger=Trigger(queued["trigger"]))

    async def end_of(self, job: str) -> End:
        """How the job ended, as soon as it has."""
        return End(**await self._caller.call("end_of", job))

    async def leave(self) -> None:
        """No new connections will be taken here; the daemon sees to it that somebody does."""
        await self._caller.call("leave")

    def events(self) -> Events:
        """What happens from now on."""
        return Events(self._caller.stream("events"))


class Events:
    """Events to be taken as they come."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.over = False

    async def __aenter__(self) -> Self:
        """Listen."""
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *given: object) -> None:
        """Listen no more."""
        await self._stream.__aexit__(*given)

    async def take(self, timeout_s: float) -> dict[str, Any] | None:
        """The next event, {kind, data}; None when none came in that time, or they are `over`."""
        try:
            async with asyncio.timeout(timeout_s):
                frame = await self._stream.get()
        except TimeoutError:
            return None
        if "item" in frame:
            event: dict[str, Any] = frame["item"]
            return event
        result_of(frame)
        self.over = True
        return None
