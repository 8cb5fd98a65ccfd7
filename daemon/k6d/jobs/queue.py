"""Which job is next: at most one pending for each script, and never two of one script at once.

Scripts of one group never run together. A group that is not known yet is locked by the pipeline.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from k6d.core.model import Trigger

if TYPE_CHECKING:
    from collections.abc import Collection

    from k6d.core.job import Job

# A person waits for a manual run; an edit is news; a schedule can wait a little.
PRIORITY = {
    Trigger.MANUAL: 0,
    Trigger.CONFIRMATION: 0,
    Trigger.ADDED: 1,
    Trigger.CHANGED: 1,
    Trigger.RECOVERY: 1,
    Trigger.SCHEDULED: 2,
}


class JobStore(Protocol):
    """Stores the jobs that nothing else would bring back after a crash."""

    def put(self, job: Job) -> None:
        """Store a job that is to run."""

    def done(self, job: Job) -> None:
        """Remove a job that has ended or was cancelled."""


class JobQueue:
    """Jobs by priority, then first come first served; for one event loop."""

    def __init__(self, stored: JobStore | None = None) -> None:
        self._stored = stored
        self._allowed: Collection[Trigger] = frozenset(Trigger)
        self._pending: dict[str, Job] = {}
        self._running: set[str] = set()
        self._groups: dict[str, str] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def idle(self) -> bool:
        """Nothing pending, nothing under way."""
        return not self._pending and not self._running

    @property
    def running(self) -> frozenset[str]:
        """Names of the scripts under way."""
        return frozenset(self._running)

    def put(self, job: Job) -> bool:
        """Add a job; False when it was merged into one of its script that was pending already.

        The newest wins, with the place in line, the id and the more urgent trigger of the two. It
        stays due if either was.
        """
        merged = self._pending.get(job.key)
        if merged:
            urgent = PRIORITY[merged.trigger] < PRIORITY[job.trigger]
            trigger = merged.trigger if urgent else job.trigger
            job = replace(job, id=merged.id, trigger=trigger, due=job.due or merged.due)
        if self._stored:
            self._stored.put(job)
        self._pending[job.key] = job
        self._changed.set()
        return merged is None

    def pending(self) -> list[Job]:
        """The jobs that wait, in the order in which they will run."""
        return sorted(self._pending.values(), key=lambda job: PRIORITY[job.trigger])

    def waiting(self, name: str) -> Job | None:
        """The pending job of a script as it is, without options of its own."""
        return self._pending.get(name)

    def allow(self, triggers: Collection[Trigger]) -> None:
        """From now on only jobs of these triggers start; the others wait."""
        self._allowed = triggers
        self._changed.set()

    def group(self, name: str, group: str | None) -> None:
        """From now on the script takes turns with the others of its group."""
        if group is None:
            self._groups.pop(name, None)
        else:
            self._groups[name] = group

    def drop(self, key: str) -> bool:
        """Forget the pending job of this key (its script is gone, say); False: there was none."""
        job = self._pending.pop(key, None)
        if job and self._stored:
            self._stored.done(job)
        return job is not None

    async def get(self) -> Job:
        """The next job, whose script counts as under way until `done`."""
        while True:
            busy = {self._groups.get(name) for name in self._running} - {None}
            ready = [job for job in self._pending.values() if self._may_start(job, busy)]
            if ready:
                job = min(ready, key=lambda job: PRIORITY[job.trigger])
                del self._pending[job.key]
                self._running.add(job.name)
                return job
            self._changed.clear()
            await self._changed.wait()

    def done(self, job: Job, *, left: bool = False) -> None:
        """The job is over; a pending one of the same script may start. `left`: for another day."""
        self._running.discard(job.name)
        if self._stored and not left and job.key not in self._pending:
            self._stored.done(job)
        self._changed.set()

    def _may_start(self, job: Job, busy: Collection[str | None]) -> bool:
        waits = job.name in self._running or self._groups.get(job.name) in busy
        return job.trigger in self._allowed and not waits
