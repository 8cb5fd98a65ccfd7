"""Which job is next: at most one pending for each script, and never two of one script at once.

Scripts of one group never run together. A group that is not known yet is locked by the pipeline.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from k6d.core.model import Trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from k6d.core.job import Job

# A person waits for a manual run, the author waits for a changed script; a schedule can wait.
PRIORITY = {
    Trigger.MANUAL: 0,
    Trigger.CONFIRMATION: 0,
    Trigger.ADDED: 1,
    Trigger.CHANGED: 1,
    Trigger.RECOVERY: 1,
    Trigger.EVENT: 1,
    Trigger.SCHEDULED: 2,
}


class JobStore(Protocol):
    """Stores the jobs that nothing else would bring back after a crash."""

    def put(self, job: Job) -> None:
        """Store a job that is to run."""

    def done(self, job: Job) -> None:
        """Remove a job that has ended or was cancelled."""


class JobQueue:
    """Pending jobs by priority, then by age; for one event loop."""

    def __init__(
        self,
        stored: JobStore | None = None,
        *,
        scripts_of: Callable[[str], Collection[str]] = lambda name: (name,),
    ) -> None:
        """`scripts_of` returns the scripts that a job of this name runs: several for a suite."""
        self._stored, self._scripts_of = stored, scripts_of
        self._allowed: Collection[Trigger] = frozenset(Trigger)
        self._pending: dict[str, Job] = {}
        self._running: set[str] = set()
        self._groups: dict[str, str] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def idle(self) -> bool:
        """Return whether nothing is pending or running."""
        return not self._pending and not self._running

    @property
    def running(self) -> frozenset[str]:
        """Return the names of the running scripts."""
        return frozenset(self._running)

    def put(self, job: Job) -> bool:
        """Add a job; return False if it was merged with a pending job of its script.

        The merged job is the new one with the place and the id of the old one, and the more urgent
        trigger of both. It stays due if either was due.
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
        """Return the pending jobs in the order in which they will run."""
        return sorted(self._pending.values(), key=lambda job: PRIORITY[job.trigger])

    def waiting(self, name: str) -> Job | None:
        """Return the pending job of a script without its own options."""
        return self._pending.get(name)

    def allow(self, triggers: Collection[Trigger]) -> None:
        """Start only jobs of these triggers from now on; the others wait."""
        self._allowed = triggers
        self._changed.set()

    def group(self, name: str, group: str | None) -> None:
        """Set the group of a script; only one script of a group runs at a time."""
        if group is None:
            self._groups.pop(name, None)
        else:
            self._groups[name] = group

    def drop(self, key: str) -> bool:
        """Remove the pending job of this key, for example if its script is gone; False if none."""
        job = self._pending.pop(key, None)
        if job and self._stored:
            self._stored.done(job)
        return job is not None

    async def get(self) -> Job:
        """Wait for the next job and return it; its script counts as running until `done`."""
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
        """End a job; the next one of its script may start. `left` keeps it in the journal."""
        self._running.discard(job.name)
        if self._stored and not left and job.key not in self._pending:
            self._stored.done(job)
        self._changed.set()

    def _may_start(self, job: Job, busy: Collection[str | None]) -> bool:
        taken = {script for name in self._running for script in self._scripts_of(name)}
        waits = job.name in self._running or not taken.isdisjoint(self._scripts_of(job.name))
        waits = waits or self._groups.get(job.name) in busy
        return job.trigger in self._allowed and not waits
