"""Which job is next, in a real event loop."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from k6d.core.job import Job
from k6d.core.model import Trigger
from k6d.jobs.queue import JobQueue

PATIENCE_S = 120.0


def _job(name: str, trigger: Trigger = Trigger.CHANGED, **more: dict[str, str]) -> Job:
    return Job(name=name, path=Path("/scripts") / name, trigger=trigger, **more)


async def _next(queue: JobQueue) -> Job:
    async with asyncio.timeout(PATIENCE_S):
        return await queue.get()


async def test_manual_before_changed_before_scheduled_then_first_come() -> None:
    """Urgency decides, then the order of arrival."""
    queue = JobQueue()
    for name, trigger in [
        ("s1", Trigger.SCHEDULED),
        ("c1", Trigger.CHANGED),
        ("a1", Trigger.ADDED),
        ("s2", Trigger.SCHEDULED),
        ("m1", Trigger.MANUAL),
        ("r1", Trigger.RECOVERY),
    ]:
        assert queue.put(_job(name, trigger))
    assert len(queue) == 6
    assert [(await _next(queue)).name for _ in range(6)] == ["m1", "c1", "a1", "r1", "s1", "s2"]


async def test_one_pending_job_a_script_the_newest_wins_in_its_place() -> None:
    """A second wish is merged: its path, the more urgent trigger, the first one's place and id."""
    queue = JobQueue()
    assert queue.put(_job("a", Trigger.MANUAL))
    assert queue.put(_job("b", Trigger.MANUAL))
    waiting = queue.pending()[0]
    newest = replace(_job("a", Trigger.SCHEDULED), path=Path("/elsewhere/a"))
    assert not queue.put(newest)
    assert len(queue) == 2
    first = await _next(queue)
    assert (first.path, first.trigger) == (newest.path, Trigger.MANUAL)
    assert first.id == waiting.id


async def test_those_of_a_group_take_turns_first_come_first_served() -> None:
    """Others go ahead meanwhile; who leaves the group does not wait for it any more."""
    queue = JobQueue()
    for name, group in (("a", "db"), ("b", "db"), ("c", None), ("d", "db")):
        queue.group(name, group)
        queue.put(_job(name))
    first = await _next(queue)
    assert [first.name, (await _next(queue)).name] == ["a", "c"]
    queue.done(first)
    second = await _next(queue)
    assert second.name == "b"
    queue.group("d", None)
    assert (await _next(queue)).name == "d"


async def test_what_is_due_stays_due_whatever_it_is_merged_with() -> None:
    """A change that is put back before its turn must not take the schedule's run along."""
    due = datetime(2026, 11, 22, 12, tzinfo=UTC)
    for triggers in ((Trigger.SCHEDULED, Trigger.CHANGED), (Trigger.CHANGED, Trigger.SCHEDULED)):
        queue = JobQueue()
        for trigger in triggers:
            queue.put(replace(_job("a", trigger), due=due if trigger is triggers[0] else None))
        job = await _next(queue)
        assert (job.trigger, job.due) == (Trigger.CHANGED, due)


async def test_what_was_asked_for_in_detail_stays_by_itself() -> None:
    """A job with options, variables or its own text neither replaces nor is replaced."""
    queue = JobQueue()
    for more in ({}, {"options": {"vus": "9"}}, {"env": {"A": "b"}}, {"one_off": True}, {}):
        queue.put(_job("a", **more))
    assert len(queue) == 4
    dropped = queue.pending()[1]
    assert queue.drop(dropped.key)
    assert dropped not in queue.pending()


async def test_a_script_never_runs_twice_at_once() -> None:
    """An edit during a run waits for its end; another script goes ahead."""
    queue = JobQueue()
    queue.put(_job("a"))
    first = await _next(queue)
    queue.put(_job("a", Trigger.MANUAL))
    queue.put(_job("b", Trigger.SCHEDULED))
    assert (await _next(queue)).name == "b"
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert queue.running == {"a", "b"}
    queue.done(first)
    async with asyncio.timeout(PATIENCE_S):
        assert (await waiting).name == "a"


async def test_who_waits_is_woken_by_a_job() -> None:
    """Getting from an empty queue ends with the first put; two who wait get one each."""
    queue = JobQueue()
    waiting = [asyncio.create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    assert queue.idle
    queue.put(_job("a"))
    queue.put(_job("b"))
    async with asyncio.timeout(PATIENCE_S):
        assert {job.name for job in await asyncio.gather(*waiting)} == {"a", "b"}
    assert not queue.idle


async def test_who_stops_waiting_takes_no_job_along() -> None:
    """A cancelled get loses nothing."""
    queue = JobQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    queue.put(_job("a"))
    assert (await _next(queue)).name == "a"


async def test_a_job_of_a_script_that_is_gone_can_be_dropped() -> None:
    """Dropping forgets the pending job only."""
    queue = JobQueue()
    queue.put(_job("a"))
    assert queue.drop("a")
    assert not queue.drop("a")
    assert queue.idle


def test_overrides_name_variables_and_hide_their_values() -> None:
    """What a run has of its own is told without what may be a secret."""
    job = _job("a", options={"vus": "3"}, env={"TOKEN": "hunter2"})
    assert job.overrides == {"vus": "3", "env TOKEN": "…"}
