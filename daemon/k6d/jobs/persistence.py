"""Stores the jobs of people and schedules until they are over.

Jobs for changed files are not stored: after a restart, the watcher finds the changes again.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k6d.core.job import SUITE, Job
from k6d.core.model import INCONCLUSIVE, K6dError, Outcome, Trigger
from k6d.jobs.regression_check import is_unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

STATE = "queue"
STORED = (Trigger.MANUAL, Trigger.EVENT, Trigger.SCHEDULED)
RECENT_RUNS = 20  # of a script; the run of a job is searched among them
MOST_REPEATS = 1  # a run that kills k6d must not be repeated for ever


class StoredJobs:
    """Stores jobs in the state `queue`; values of --env may be secrets and are not stored."""

    def __init__(
        self,
        store: Store,
        scripts: Path,
        *,
        scripts_of: Callable[[str], Iterable[str]] = lambda name: (name,),
    ) -> None:
        """`scripts_of` returns the scripts that a job of this name runs: several for a suite."""
        self._store, self._scripts, self._scripts_of = store, scripts, scripts_of
        self._state = store.state(STATE)

    def put(self, job: Job) -> None:
        """Store the job; it is on the disk when this returns. A write error is logged."""
        if job.one_off or not (job.trigger in STORED or job.due):
            return
        document = {
            "name": job.name,
            "id": job.id,
            "trigger": job.trigger.value,
            "options": job.options,
            "env": sorted(job.env),
            "tags": job.tags,
            "due": job.due.isoformat() if job.due else None,
            "repeats": job.repeats,
            "at": datetime.now(UTC).isoformat(),
        }
        try:
            self._state.put(job.key, document)
        except K6dError as error:
            logger.error("%s would be forgotten by a crash: %s", job.name, error)

    def done(self, job: Job) -> None:
        """Remove the job, and the job of another trigger that it was merged with."""
        try:
            self._state.delete(job.key)
        except K6dError as error:
            logger.error("%s may run again after a restart: %s", job.name, error)

    def left(self, *, repeat: bool) -> list[Job]:
        """Return the stored jobs that did not end; `repeat` also gives those that had begun.

        Call this after interrupted runs have been recorded.
        """
        jobs = []
        for key, stored in self._state.all().items():
            try:
                job = self._job(stored, repeat=repeat)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                logger.error("%s: the job %r is none (%r); forgotten", self._state.path, key, error)
                job = None
            if job:
                jobs.append(job)
            else:
                self._state.delete(key)
        return jobs

    def _job(self, stored: dict[str, Any], *, repeat: bool) -> Job | None:
        name, at = stored["name"], datetime.fromisoformat(stored["at"])
        if not Path(os.path.normpath(self._scripts / name)).is_relative_to(self._scripts):
            raise ValueError(f"{name} is not in {self._scripts}")
        begun, is_over = self._progress(name, stored, at)
        if begun and (is_over or not repeat or stored["repeats"] >= MOST_REPEATS):
            return None
        if stored["env"]:
            names = ", ".join(stored["env"])
            logger.warning("%s does not come back: its values of %s are not kept", name, names)
            return None
        due = stored["due"]
        return Job(
            name=name,
            id=stored["id"],
            path=self._scripts / name,
            trigger=Trigger(stored["trigger"]),
            options=stored["options"],
            tags=stored.get("tags") or {},
            due=datetime.fromisoformat(due) if due else None,
            repeats=stored["repeats"] + begun,
        )

    def _progress(self, name: str, stored: dict[str, Any], at: datetime) -> tuple[bool, bool]:
        """Return whether the job has begun, and whether it is over as far as its runs tell.

        No run tells that a suite is over: which one is its last depends on the others.
        """
        history = partial(self._store.history, limit=RECENT_RUNS)
        if name.startswith(SUITE):
            rows = [row for script in self._scripts_of(name) for row in history(script)]
            own = (row for row in rows if row["trigger"] == stored["trigger"])
            return any(_is_of(row, stored, at) for row in own), False
        runs = [row for row in history(name) if _is_of(row, stored, at)]
        return bool(runs), bool(runs) and not self._is_unfinished(runs[0]["test_id"])

    def _is_unfinished(self, test_id: str) -> bool:
        try:
            return is_unfinished(self._store.load(test_id))
        except K6dError as error:
            logger.warning("%s", error)
            return False


def _is_of(run: dict[str, Any], stored: dict[str, Any], at: datetime) -> bool:
    """Return whether a run belongs to the job: it is newer than the request, with its options.

    An interrupted run has no options, so its trigger is compared. A run without k6 does not count.
    """
    if datetime.fromisoformat(run["timestamp"]) < at or run["trigger"] == Trigger.CONFIRMATION:
        return False
    if run["outcome"] in INCONCLUSIVE:
        return False
    if run["outcome"] == Outcome.ABORTED:
        return bool(run["trigger"] == stored["trigger"])
    return bool(run["overrides"]) == bool(stored["options"])
