"""Which job is next: at most one pending for each script, and never two of one script at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from k6d.model import Trigger

if TYPE_CHECKING:
    from pathlib import Path

# A person waits for a manual run; an edit is news; a schedule can wait a little.
PRIORITY = {
    Trigger.MANUAL: 0,
    Trigger.CONFIRMATION: 0,
    Trigger.ADDED: 1,
    Trigger.CHANGED: 1,
    Trigger.RECOVERY: 1,
    Trigger.SCHEDULED: 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One wish to run a script; `options` and `env` stand in for the script's own."""

    name: str
    path: Path
    trigger: Trigger
    options: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    @property
    def overrides(self) -> dict[str, str]:
        """What the run has of its own; values of variables may be secrets and are left out."""
        return dict(self.options) | {f"env {name}": "…" for name in self.env}


class JobQueue:
    """Jobs by priority, then first come first served; for one event loop."""

    def __init__(self) -> None:
        self._pending: dict[str, Job] = {}
        self._running: set[str] = set()
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

        The newest wins, at the place in line and with the more urgent trigger of the two.
        """
        merged = self._pending.get(job.name)
        if merged and PRIORITY[merged.trigger] < PRIORITY[job.trigger]:
            job = replace(job, trigger=merged.trigger)
        self._pending[job.name] = job
        self._changed.set()
        return merged is None

    def drop(self, name: str) -> bool:
        """Forget the pending job of a script that is gone; False when there was none."""
        return self._pending.pop(name, None) is not None

    async def get(self) -> Job:
        """The next job, whose script counts as under way until `done`."""
        while True:
            ready = [job for job in self._pending.values() if job.name not in self._running]
            if ready:
                job = min(ready, key=lambda job: PRIORITY[job.trigger])
                del self._pending[job.name]
                self._running.add(job.name)
                return job
            self._changed.clear()
            await self._changed.wait()

    def done(self, job: Job) -> None:
        """The job is over; a pending one of the same script may start."""
        self._running.discard(job.name)
        self._changed.set()
