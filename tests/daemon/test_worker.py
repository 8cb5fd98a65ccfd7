"""A suite without a result is told and tried again, like a script; its other runs are told once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from k6d.alerts.delivery.heartbeat import Heartbeat
from k6d.alerts.outbox import Outbox
from k6d.core.job import Job
from k6d.core.model import Trigger
from k6d.daemon.worker import Worker
from k6d.jobs.activity import Activity
from k6d.jobs.pipeline import Pipeline
from k6d.jobs.queue import JobQueue
from k6d.jobs.retries import Retries
from k6d.settings import load
from k6d.storage.store import Store
from support.daemon import hitting
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 60.0
DUE = datetime(2026, 11, 27, 2, 30, tzinfo=UTC)
SETTINGS = """
[[suites]]
name = "shop"
scripts = ["first.js", "second.js"]
stop = false

[notify]
urls = ["json://127.0.0.1:9/"]
"""


class Place:
    """A worker with its queue, a suite `shop` of two scripts that fail, and a receiver."""

    def __init__(self, root: Path, target: Target) -> None:
        self.scripts = root / "scripts"
        self.scripts.mkdir()
        for name in ("first", "second"):
            target.status[f"/{name}"] = 500
            script = hitting(f"{target.url}/{name}", iterations=30)
            (self.scripts / f"{name}.js").write_text(script)
        (root / "k6d.toml").write_text(SETTINGS)
        self.settings = load(root / "k6d.toml", scripts=self.scripts, data=root / "data")
        self.store = Store(self.settings.data)
        self.queue = JobQueue()
        self.retries = Retries(self.queue, on_change=lambda: None)
        self.activity = Activity(self.queue, self.retries, held=lambda: None)
        self.stop = asyncio.Event()
        self.pipeline = Pipeline(self.settings, self.store, stop=self.stop, background=True)
        self.ended = asyncio.Event()

    async def run_suite(self, name: str = "shop") -> None:
        """Let a worker run the suite as a scheduled job, and wait for its end."""
        worker = Worker(
            settings=lambda: self.settings,
            queue=self.queue,
            activity=self.activity,
            retries=self.retries,
            pipeline=self.pipeline,
            heartbeat=Heartbeat(None),
            stop=self.stop,
            on_end=lambda _job, _since: self.ended.set(),
        )
        path = self.scripts / f"suite:{name}"
        job = Job(name=f"suite:{name}", path=path, trigger=Trigger.SCHEDULED, due=DUE)
        self.queue.put(job)
        working = asyncio.create_task(worker.work())
        async with asyncio.timeout(DEADLINE_S):
            await self.ended.wait()
        self.stop.set()
        await working

    def messages(self) -> list[tuple[str, str | None]]:
        """The script and the cause of each message that waits in the outbox."""
        waiting = [entry.message for entry in Outbox(self.settings.data).waiting()]
        return sorted((message.script, message.cause) for message in waiting)

    def break_slots(self) -> None:
        """Put a file in the place of a folder of k6d's, so that no run can start."""
        slots = self.settings.data / "slots"
        if slots.is_dir():
            slots.rename(slots.with_name("was-slots"))
        slots.parent.mkdir(parents=True, exist_ok=True)
        slots.touch()


@pytest.fixture
def target() -> Iterator[Target]:
    """What the scripts call."""
    with Target() as target:
        yield target


@pytest.fixture
def place(tmp_path: Path, target: Target) -> Place:
    """A fresh one."""
    return Place(tmp_path, target)


async def test_a_suite_without_any_result_is_told_and_tried_again(place: Place) -> None:
    """As a single script is: one message about the missed run, and the job waits for its retry."""
    place.break_slots()
    await place.run_suite()
    assert place.messages() == [("suite:shop", None)]
    (retry,) = place.retries.entries()
    assert (retry["script"], retry["trigger"]) == ("suite:shop", "scheduled")
    assert "first.js: " in retry["reason"]
    assert "slots" in retry["reason"]


async def test_a_suite_that_the_settings_have_no_more_is_not_tried_again(place: Place) -> None:
    """Like a script that is gone before it ran."""
    await place.run_suite("gone")
    assert (place.messages(), place.retries.entries()) == ([], [])


async def test_a_disk_error_inside_a_suite_keeps_back_no_message(
    place: Place, target: Target
) -> None:
    """The run before it is told with the suite; so is that a script has no result. No retry."""

    def breaking() -> float:
        place.break_slots()
        target.latency.pop("/first", None)
        return 0.0

    target.latency["/first"] = breaking
    await place.run_suite()
    assert place.messages() == [
        ("first.js", "suite shop, 1 script not run"),
        ("suite:shop", None),
    ]
    assert place.retries.entries() == []


async def test_a_suite_that_is_killed_loses_no_message(place: Place) -> None:
    """The next start notifies of the runs that were saved, once, however often k6d starts."""
    path = place.scripts / "first.js"
    job = Job(name="first.js", path=path, trigger=Trigger.SCHEDULED, suite="shop")
    run = await place.pipeline.run(job)  # and no end of the suite
    assert run is not None
    assert place.messages() == []
    for _ in range(2):
        Pipeline(place.settings, Store(place.settings.data), stop=place.stop).recover()
        assert [script for script, _ in place.messages()] == ["first.js"]
