"""The web process's client for the daemon: its queue, jobs and events."""

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
    """The end of a job: its run, or the reason why there is none."""

    test_id: str | None
    why: str


class DaemonClient:
    """Calls the daemon; every method may raise MistakeError."""

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
        """Return the queued job; if too many jobs are pending, return their number."""
        given = {"name": job.name, "path": str(job.path), "id": job.id, "options": job.options}
        given |= {"tags": job.tags, "trigger": job.trigger}
        queued = await self._caller.call(
            "put", given | {"one_off": job.one_off, "notes": job.notes}
        )
        if "pending" in queued:
            return int(queued["pending"])
        return replace(job, id=queued["id"], trigger=Trigger(queued["trigger"]))

    async def end_of(self, job: str) -> End:
        """Wait for the end of the job and return it."""
        return End(**await self._caller.call("end_of", job))

    async def leave(self) -> None:
        """Tell the daemon that this process accepts no new connections; it starts another one."""
        await self._caller.call("leave")

    def events(self) -> Events:
        """Return the events from now on."""
        return Events(self._caller.stream("events"))


class Events:
    """A stream of the daemon's events."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.over = False

    async def __aenter__(self) -> Self:
        """Start listening."""
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *given: object) -> None:
        """Stop listening."""
        await self._stream.__aexit__(*given)

    async def take(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the next event, {kind, data}; None after the timeout or at the end (`over`)."""
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
