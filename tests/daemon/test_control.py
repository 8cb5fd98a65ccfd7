"""How many jobs may wait: hooks cannot keep people from running scripts."""

from __future__ import annotations

from dataclasses import asdict

from k6d.core.job import Job
from k6d.core.model import Trigger
from k6d.daemon.control import MOST_PENDING, Control
from k6d.jobs.activity import Activity
from k6d.jobs.queue import JobQueue
from k6d.jobs.retries import Retries


async def test_hooks_leave_room_for_people() -> None:
    """A token whose every call has other tags is refused at the limit; a person is not."""
    queue = JobQueue()
    activity = Activity(queue, Retries(queue, on_change=lambda: None), held=lambda: None)
    control = Control(queue, activity)

    async def put(trigger: Trigger, number: int) -> dict[str, object]:
        job = asdict(Job(name="a.js", path="/a.js", trigger=trigger, tags={"n": str(number)}))  # type: ignore[arg-type]  # as it comes over the wire
        return await control.put(job)

    for number in range(MOST_PENDING):
        assert "id" in await put(Trigger.EVENT, number)
    assert await put(Trigger.EVENT, MOST_PENDING) == {"pending": MOST_PENDING}
    assert "id" in await put(Trigger.MANUAL, MOST_PENDING)
