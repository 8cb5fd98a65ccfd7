"""The queue's stored jobs: what a crash must not make forgotten, and what must not run twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from k6d.core.job import Job
from k6d.core.model import INCONCLUSIVE, Execution, Outcome, Trigger
from k6d.jobs.persistence import StoredJobs
from k6d.jobs.queue import JobQueue
from k6d.storage.record import new_test_id
from k6d.storage.store import Store
from support.records import make_run

SCRIPTS = Path("/srv")


def _job(name: str = "cart.js", trigger: Trigger = Trigger.MANUAL, **changes: object) -> Job:
    return Job(**{"name": name, "path": SCRIPTS / name, "trigger": trigger} | changes)


def _left(data: Path, *, repeat: bool = True) -> list[Job]:
    """What the next life of the daemon takes up."""
    return StoredJobs(Store(data), SCRIPTS, scripts_of=_scripts_of).left(repeat=repeat)


def _scripts_of(name: str) -> list[str]:
    return ["cart.js", "pay.js"] if name == "suite:shop" else [name]


def _ran(
    data: Path, *, outcome: Outcome, later: timedelta = timedelta(seconds=1), **changes: object
) -> None:
    run = make_run(
        test_id=new_test_id(datetime.now(UTC) + later),
        script="cart.js",
        timestamp=datetime.now(UTC) + later,
        execution=Execution(outcome=outcome),
        **{"trigger": Trigger.MANUAL, "comparable": outcome is Outcome.COMPLETED} | changes,
    )
    Store(data).save(run)


def test_pending_jobs_of_people_and_schedules_come_back(tmp_path: Path) -> None:
    """With their options and when they were due; changes are found in the folder instead."""
    queue = JobQueue(StoredJobs(Store(tmp_path), SCRIPTS))
    due = datetime(2026, 11, 22, 12, tzinfo=UTC)
    jobs = [
        _job("a.js", options={"vus": "3"}),
        _job("b.js", Trigger.SCHEDULED, due=due),
        _job("c.js", Trigger.CHANGED),
    ]
    for job in jobs:
        queue.put(job)
    assert sorted(_left(tmp_path), key=lambda job: job.name) == jobs[:2]


async def test_a_job_that_is_over_does_not_come_back(tmp_path: Path) -> None:
    """Nor one whose script is gone; one that was left for another day does."""
    queue = JobQueue(StoredJobs(Store(tmp_path), SCRIPTS))
    for name in ("over.js", "gone.js", "left.js"):
        queue.put(_job(name))
    queue.drop("gone.js")
    queue.done(await queue.get())
    queue.done(await queue.get(), left=True)
    assert [job.name for job in _left(tmp_path)] == ["left.js"]


async def test_the_next_job_of_a_script_outlives_the_one_under_way(tmp_path: Path) -> None:
    """The end of the first does not make the second forgotten."""
    queue = JobQueue(StoredJobs(Store(tmp_path), SCRIPTS))
    queue.put(_job())
    first = await queue.get()
    queue.put(_job(options={"vus": "2"}))
    queue.done(first)
    assert [job.options for job in _left(tmp_path)] == [{"vus": "2"}]


def test_a_job_whose_run_was_saved_is_over(tmp_path: Path) -> None:
    """Killed between saving the run and forgetting the job: it does not run twice."""
    JobQueue(StoredJobs(Store(tmp_path), SCRIPTS)).put(_job())
    _ran(tmp_path, outcome=Outcome.COMPLETED, later=-timedelta(hours=1))
    assert len(_left(tmp_path)) == 1
    _ran(tmp_path, outcome=Outcome.COMPLETED)
    assert _left(tmp_path) == []
    assert Store(tmp_path).state("queue").all() == {}


def test_an_interrupted_run_is_repeated_once_and_only_by_setting(tmp_path: Path) -> None:
    """A run that takes k6d down with it must not do so for ever."""
    queue = JobQueue(StoredJobs(Store(tmp_path), SCRIPTS))
    queue.put(_job())
    _ran(tmp_path, outcome=Outcome.ABORTED)
    again = _left(tmp_path)
    assert [job.repeats for job in again] == [1]
    queue.put(again[0])
    _ran(tmp_path, outcome=Outcome.ABORTED, later=timedelta(seconds=2))
    assert _left(tmp_path) == []
    queue.put(_job())
    _ran(tmp_path, outcome=Outcome.ABORTED, later=timedelta(seconds=3))
    assert _left(tmp_path, repeat=False) == []


def test_a_suite_is_repeated_once_and_only_by_setting(tmp_path: Path) -> None:
    """It began when one of its scripts ran for it; while it waits, no kill makes it forgotten."""
    queue = JobQueue(StoredJobs(Store(tmp_path), SCRIPTS))
    queue.put(_job("suite:shop", Trigger.SCHEDULED))
    _ran(tmp_path, outcome=Outcome.COMPLETED)  # of a person: it is none of the suite's
    for _ in range(3):
        (waiting,) = _left(tmp_path)
        assert (waiting.name, waiting.repeats) == ("suite:shop", 0)
        queue = JobQueue(StoredJobs(Store(tmp_path), SCRIPTS))
        queue.put(waiting)
    scheduled = {"trigger": Trigger.SCHEDULED, "later": timedelta(seconds=2)}
    _ran(tmp_path, outcome=Outcome.COMPLETED, **scheduled)
    (again,) = _left(tmp_path)
    assert again.repeats == 1
    queue.put(again)
    _ran(tmp_path, outcome=Outcome.ABORTED, **scheduled | {"later": timedelta(seconds=3)})
    assert _left(tmp_path) == []
    queue.put(_job("suite:shop", Trigger.SCHEDULED))
    _ran(tmp_path, outcome=Outcome.ABORTED, **scheduled | {"later": timedelta(seconds=4)})
    assert _left(tmp_path, repeat=False) == []


def test_a_run_whose_confirmation_was_cut_off_is_repeated(tmp_path: Path) -> None:
    """It has no verdict yet, though a re-run of it ended well; nor is an inconclusive run one."""
    queue = JobQueue(StoredJobs(Store(tmp_path), SCRIPTS))
    queue.put(_job())
    for outcome in INCONCLUSIVE:
        _ran(tmp_path, outcome=outcome)
        assert [job.repeats for job in _left(tmp_path)] == [0]
    _ran(tmp_path, outcome=Outcome.COMPLETED, comparable=False)
    confirming = {"trigger": Trigger.CONFIRMATION, "later": timedelta(seconds=2)}
    _ran(tmp_path, outcome=Outcome.COMPLETED, **confirming)
    assert [job.repeats for job in _left(tmp_path)] == [1]
    _ran(tmp_path, outcome=Outcome.COMPLETED, later=timedelta(seconds=3))
    assert _left(tmp_path) == []


def test_values_of_variables_are_not_written(tmp_path: Path) -> None:
    """They may be secrets; such a job does not come back."""
    JobQueue(StoredJobs(Store(tmp_path), SCRIPTS)).put(_job(env={"TOKEN": "hunter2"}))
    assert not any(b"hunter2" in path.read_bytes() for path in tmp_path.rglob("*.json"))
    assert _left(tmp_path) == []


async def test_a_queue_on_hold_gives_only_what_is_allowed(tmp_path: Path) -> None:
    """In maintenance a person's job starts and others wait; afterwards they come, in order."""
    queue = JobQueue(StoredJobs(Store(tmp_path), SCRIPTS))
    queue.allow((Trigger.MANUAL,))
    for name, trigger in (("due.js", Trigger.SCHEDULED), ("new.js", Trigger.ADDED)):
        queue.put(_job(name, trigger))
    queue.put(_job("wanted.js"))
    assert (await queue.get()).name == "wanted.js"
    queue.allow(tuple(Trigger))
    assert [(await queue.get()).name for _ in range(2)] == ["new.js", "due.js"]


async def test_a_job_merged_into_another_is_over_with_it(tmp_path: Path) -> None:
    """A script that is due and then changes runs once, for both."""
    queue = JobQueue(StoredJobs(Store(tmp_path), SCRIPTS))
    queue.put(_job(trigger=Trigger.SCHEDULED))
    queue.put(_job(trigger=Trigger.CHANGED))
    assert len(_left(tmp_path)) == 1
    queue.done(await queue.get())
    assert _left(tmp_path) == []
