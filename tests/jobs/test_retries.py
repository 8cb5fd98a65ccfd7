"""Jobs without a verdict run again, and everybody can see when and why."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from k6d.core.job import Job
from k6d.core.model import Trigger
from k6d.jobs.activity import Activity
from k6d.jobs.queue import JobQueue
from k6d.jobs.retries import Retries

JOB = Job(name="a.js", path=Path("/a.js"), trigger=Trigger.SCHEDULED)
DEADLINE_S = 20.0


class _Home:
    def __init__(self, *, first_s: float = 3600.0) -> None:
        self.queue = JobQueue()
        self.changes = 0
        self.retries = Retries(self.queue, on_change=self._changed, first_s=first_s)
        self.activity = Activity(self.queue, self.retries, held=lambda: "the disk is full")

    def _changed(self) -> None:
        self.changes += 1


async def test_a_job_that_waits_for_its_next_try_is_seen() -> None:
    """With its reason, its tries and the time, in the view of the queue; so is what holds all."""
    home = _Home()
    home.retries.later(JOB, "no network: dial")
    home.retries.later(replace(JOB, name="b.js"), "no network")
    home.retries.later(JOB, "no network: lookup")
    shown = home.activity.queue()
    assert shown["held"] == "the disk is full"
    assert [(one["script"], one["tries"]) for one in shown["retries"]] == [("b.js", 1), ("a.js", 2)]
    assert shown["retries"][1]["reason"] == "no network: lookup"
    assert datetime.fromisoformat(shown["retries"][0]["at"]) > datetime.now(UTC)


async def test_it_runs_again_after_its_pause() -> None:
    """And is no longer shown as waiting; its tries are counted until there is a verdict."""
    home = _Home(first_s=0.0)
    home.retries.later(JOB, "no network")
    async with asyncio.timeout(DEADLINE_S):
        assert await home.queue.get() == JOB
    assert home.retries.entries() == []
    assert home.changes == 1
    assert home.retries.has(JOB)
    home.retries.over(JOB)
    assert not home.retries.has(JOB)


async def test_what_has_a_verdict_meanwhile_does_not_run_again() -> None:
    """A changed script that ran while its retry waited; one that waits again waits once."""
    home = _Home(first_s=0.0)
    home.retries.later(JOB, "no network")
    home.retries.over(JOB)
    home.retries.later(replace(JOB, name="b.js", id="1"), "no network")
    home.retries.later(replace(JOB, name="b.js", id="2"), "no network")
    async with asyncio.timeout(DEADLINE_S):
        assert (await home.queue.get()).id == "2"
    assert home.queue.idle is False
    assert home.queue.pending() == []


async def test_what_waits_for_k6_has_no_time() -> None:
    """Nobody knows when it is back."""
    home = _Home()
    home.retries.later(replace(JOB, name="b.js"), "no network")
    with home.retries.held(JOB, "k6 unavailable"):
        assert [one["script"] for one in home.retries.entries()] == ["b.js", "a.js"]
        assert home.retries.entries()[1]["at"] is None
    assert [one["script"] for one in home.retries.entries()] == ["b.js"]
