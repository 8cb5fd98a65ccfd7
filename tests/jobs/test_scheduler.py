"""Schedules with a real store and queue, and in the daemon: restarts neither lose nor repeat."""

from __future__ import annotations

import signal
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k6d.core.job import Job, Missed
from k6d.core.model import Outcome, Trigger
from k6d.jobs import scheduler
from k6d.jobs.persistence import StoredJobs
from k6d.jobs.queue import JobQueue
from k6d.jobs.schedule import Entry, plan_for
from k6d.jobs.scheduler import Scheduler, held, missed_by, plans
from k6d.scripts.disabled import Disabled
from k6d.scripts.registry import Registry
from k6d.scripts.starts import STATE
from k6d.settings import Schedule, load
from k6d.storage.store import Store
from support.daemon import Gate, hitting, until
from support.receivers import HttpReceiver

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.settings import Settings
    from support.daemon import Daemon
    from support.target import Target

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Life:
    """One life of a daemon over a data folder, without k6: scheduler, queue, stored jobs."""

    def __init__(self, home: Path, **given: object) -> None:
        self.settings = _settings(home, **given)
        self.store = Store(self.settings.data)
        stored = StoredJobs(self.store, self.settings.scripts)
        self.queue = JobQueue(stored)
        for job in stored.left(repeat=True):
            self.queue.put(job)
        self.missed: list[Missed] = []
        self.scheduler = Scheduler(
            self.settings, self.store, self.queue, on_missed=self.missed.append
        )

    async def next(self) -> Job:
        """Take a job and be done with it."""
        job = await self.queue.get()
        self.queue.done(job)
        return job


def _settings(home: Path, **given: object) -> Settings:
    (home / "scripts").mkdir(parents=True, exist_ok=True)
    (home / "k6d.toml").touch()
    return load(
        home / "k6d.toml",
        scripts=home / "scripts",
        data=home / "data",
        schedule__timezone="UTC",
        **given,
    )


def _script(home: Path, name: str, own: object) -> None:
    (home / "scripts" / name).parent.mkdir(parents=True, exist_ok=True)
    (home / "scripts" / name).touch()
    known = {"kind": "test", "fingerprint": "1", "dependencies": {}, "settings": own}
    Store(home / "data").state("scripts").put(name, known)


async def test_what_is_due_is_queued_and_the_next_start_given(tmp_path: Path) -> None:
    """A script's own schedule and one by pattern; libraries and scripts without one don't run."""
    _script(tmp_path, "own.js", {"schedule": "@hourly"})
    _script(tmp_path, "smoke/pattern.js", None)
    _script(tmp_path, "off.js", {"schedule": "@hourly", "enabled": False})
    _script(tmp_path, "none.js", {})
    life = Life(tmp_path, schedule__scripts={"smoke/*": "*/30 * * * *"})
    assert life.scheduler.tick(NOON + MINUTE) == NOON + 30 * MINUTE
    assert life.scheduler.tick(NOON + 30 * MINUTE) == NOON + HOUR
    assert life.scheduler.tick(NOON + HOUR) == NOON + 90 * MINUTE
    jobs = [await life.next()]
    assert (jobs[0].name, jobs[0].due) == ("smoke/pattern.js", NOON + 30 * MINUTE)
    jobs.append(await life.next())
    assert (jobs[1].name, jobs[1].trigger) == ("own.js", Trigger.SCHEDULED)
    assert life.queue.idle
    assert [(one.script, one.count) for one in life.missed] == [("smoke/pattern.js", 1)]
    assert "waiting for its turn" in life.missed[0].reason
    assert life.missed[0].caught_up


async def test_a_disabled_script_is_not_due_until_it_is_enabled(tmp_path: Path) -> None:
    """Another process disables it; the next tick knows, and it misses no start meanwhile."""
    _script(tmp_path, "shop/cart.js", {"schedule": "@hourly"})
    life = Life(tmp_path)
    assert life.scheduler.tick(NOON + MINUTE) == NOON + HOUR
    disabled = Disabled(Store(tmp_path / "data"))
    disabled.put("shop/*", "the shop moves")
    assert life.scheduler.tick(NOON + HOUR) is None
    disabled.remove("shop/*")
    assert life.scheduler.tick(NOON + HOUR + MINUTE) == NOON + 2 * HOUR
    life.scheduler.tick(NOON + 2 * HOUR)
    assert (await life.next()).due == NOON + 2 * HOUR
    assert life.missed == []


async def test_a_suite_is_due_and_survives_a_kill(tmp_path: Path) -> None:
    """By its own cron expression, as one job; it waits again after each kill until it has begun."""
    _script(tmp_path, "cart.js", {})
    suite = {"name": "shop", "scripts": ["cart.js"], "cron": "@hourly"}
    life = Life(tmp_path, suites=[suite])
    assert life.scheduler.tick(NOON + MINUTE) == NOON + HOUR
    life.scheduler.tick(NOON + HOUR)
    job = await life.queue.get()
    assert (job.name, job.is_suite, job.due) == ("suite:shop", True, NOON + HOUR)
    for _ in range(2):
        again = Life(tmp_path, suites=[suite])
        assert [(one.name, one.repeats) for one in again.queue.pending()] == [("suite:shop", 0)]


async def test_a_change_that_waits_stands_in_and_runs_even_when_put_back(tmp_path: Path) -> None:
    """It is due now, and a crash leaves it so."""
    _script(tmp_path, "cart.js", {"schedule": "@hourly"})
    life = Life(tmp_path)
    life.scheduler.tick(NOON + MINUTE)
    path = tmp_path / "scripts" / "cart.js"
    life.queue.put(Job(name="cart.js", path=path, trigger=Trigger.CHANGED))
    life.scheduler.tick(NOON + HOUR)
    assert life.missed[0].caught_up
    for queue in (life.queue, Life(tmp_path).queue):
        job = await queue.get()
        assert (job.trigger, job.due) == (Trigger.CHANGED, NOON + HOUR)


async def test_a_stop_makes_one_run_and_says_why(tmp_path: Path) -> None:
    """The next life runs once for all that was due, and keeps what was missed for people."""
    _script(tmp_path, "cart.js", {"schedule": "@hourly"})
    Life(tmp_path).scheduler.tick(NOON + MINUTE)
    later = Life(tmp_path)
    later.scheduler.tick(NOON + 4 * HOUR + 5 * MINUTE)
    later.scheduler.tick(NOON + 4 * HOUR + 6 * MINUTE)
    assert (await later.next()).due == NOON + 4 * HOUR
    assert later.queue.idle
    assert later.missed == missed_by(later.store)["cart.js"]
    assert (later.missed[0].count, later.missed[0].reason) == (4, "k6d was not running")


async def test_maintenance_holds_back_and_is_caught_up(tmp_path: Path) -> None:
    """Nothing starts in the window; afterwards one run, with the window as the reason."""
    _script(tmp_path, "cart.js", {"schedule": "@hourly"})
    life = Life(tmp_path, schedule__maintenance=["30 12 * * * for 2h"])
    moments = [NOON + minutes * MINUTE for minutes in (1, 31, 60, 120, 149, 150)]
    for now in moments:
        life.scheduler.tick(now, held=held(life.settings, now))
    assert (await life.next()).due == NOON + 2 * HOUR
    assert life.queue.idle
    assert life.missed[0].count == 2
    assert life.missed[0].reason.startswith("maintenance (30 12 * * * for 2h) until ")


async def test_a_clock_that_is_not_set_misses_nothing(tmp_path: Path) -> None:
    """Booted in 1970 and corrected: missed is what was due since the last life, and no more."""
    _script(tmp_path, "cart.js", {"schedule": {"cron": "@hourly", "catch_up": "skip"}})
    Life(tmp_path).scheduler.tick(NOON + MINUTE)
    life = Life(tmp_path)
    for now in (datetime.fromtimestamp(20, UTC), NOON + 2 * HOUR + 5 * MINUTE):
        following = life.scheduler.tick(now, held=held(life.settings, now))
    assert following == NOON + 3 * HOUR
    assert life.queue.idle
    assert [(one.count, one.first) for one in life.missed] == [(2, NOON + HOUR)]
    assert life.missed[0].reason == "the clock is not set yet"


async def test_killed_between_queue_and_entry(tmp_path: Path) -> None:
    """The job is in the queue, the entry is the old one: the next life runs it once, not twice."""
    _script(tmp_path, "cart.js", {"schedule": "@hourly"})
    life = Life(tmp_path)
    life.scheduler.tick(NOON + MINUTE)
    before = life.store.state(STATE).get("cart.js")
    life.scheduler.tick(NOON + HOUR)
    assert before is not None
    life.store.state(STATE).put("cart.js", before)
    for _ in range(2):
        again = Life(tmp_path)
        again.scheduler.tick(NOON + HOUR + MINUTE)
        assert again.missed == []
    assert (await again.next()).due == NOON + HOUR
    assert Life(tmp_path).queue.idle


@given(lives=st.lists(st.lists(st.integers(1, 5 * 3600), min_size=1, max_size=5), max_size=8))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_restarts_at_any_time_neither_lose_nor_repeat(
    tmp_path_factory: pytest.TempPathFactory, lives: list[list[int]]
) -> None:
    """Whatever the lives and pauses, each hour is run or said to be missed, and none twice."""
    home = tmp_path_factory.mktemp("home")
    _script(home, "cart.js", {"schedule": {"cron": "@hourly", "catch_up": "skip"}})
    now, ran, missed = NOON, [], 0
    Life(home).scheduler.tick(now)
    for pauses in lives:
        life = Life(home)
        for pause in pauses:
            now += timedelta(seconds=pause)
            life.scheduler.tick(now)
            ran += [] if life.queue.idle else [(await life.next()).due]
        missed += sum(one.count for one in life.missed)
    assert len(ran) == len(set(ran))
    assert len(ran) + missed == (now - NOON) // HOUR


async def test_a_script_that_is_gone_is_not_run(tmp_path: Path) -> None:
    """Deleted since it was planned: nothing starts, and nothing is said of it."""
    _script(tmp_path, "cart.js", {"schedule": "@hourly"})
    life = Life(tmp_path)
    life.scheduler.tick(NOON + MINUTE)
    (tmp_path / "scripts" / "cart.js").unlink()
    life.scheduler.tick(NOON + HOUR)
    assert life.queue.idle
    assert life.missed == []


@pytest.mark.parametrize("how", ["script", "settings", "removed"])
async def test_what_was_switched_off_or_gone_has_missed_nothing(tmp_path: Path, how: str) -> None:
    """Back after a week, by whatever way, a script goes on with its next time."""
    hourly = {"schedule": "@hourly"}
    _script(tmp_path, "cart.js", hourly)
    _script(tmp_path, "other.js", {})
    life = Life(tmp_path)
    given = life.settings
    life.scheduler.tick(NOON + MINUTE)
    if how == "script":
        _script(tmp_path, "cart.js", hourly | {"enabled": False})
    elif how == "settings":
        life.scheduler.settings = _settings(tmp_path, schedule__enabled=False)
    else:
        (tmp_path / "scripts" / "cart.js").unlink()
    life.scheduler.changed()
    assert life.scheduler.tick(NOON + 2 * MINUTE) is None
    later = NOON + 168 * HOUR + MINUTE
    life.scheduler.tick(later)
    _script(tmp_path, "cart.js", hourly)
    life.scheduler.settings = given
    life.scheduler.changed()
    assert life.scheduler.tick(later + MINUTE) == NOON + 169 * HOUR
    assert life.queue.idle
    assert life.missed == []


@pytest.mark.parametrize("when", ["unnoticed", "looked at", "at boot"])
async def test_a_scripts_folder_that_was_away_is_caught_up(tmp_path: Path, when: str) -> None:
    """Unmounted for hours, whether it is looked at meanwhile or not, or not there yet at boot."""
    _script(tmp_path, "cart.js", {"schedule": "@hourly"})
    life = Life(tmp_path)
    life.scheduler.tick(NOON + MINUTE)
    (tmp_path / "scripts").rename(tmp_path / "away")
    if when == "looked at":
        life.scheduler.changed()
    elif when == "at boot":
        life = Life(tmp_path)
    for hours in (1, 2):
        life.scheduler.tick(NOON + hours * HOUR)
    (tmp_path / "away").rename(tmp_path / "scripts")
    life.scheduler.tick(NOON + 3 * HOUR + 2 * MINUTE)
    assert [job.due for job in life.queue.pending()] == [NOON + 3 * HOUR]
    assert [(one.count, one.caught_up) for one in life.missed] == [(3, True)]
    assert life.missed[0].reason == "the scripts folder was away"


@pytest.mark.long
def test_a_script_that_is_back_as_it_was_is_planned_at_once(daemon: Daemon, target: Target) -> None:
    """It makes no job, which would have the schedules looked at; nor does another script."""
    text = hitting(f"{target.url}/cart")
    daemon.write("cart.js", text)
    daemon.start(**DAILY)
    daemon.run("cart.js")
    daemon.barrier()
    kept = daemon.store.state(STATE)
    daemon.until(lambda: kept.get("cart.js"), "it to be planned")
    (daemon.scripts / "cart.js").unlink()
    daemon.until(lambda: not kept.get("cart.js"), "it to be forgotten")
    daemon.write("cart.js", text)
    daemon.until(lambda: kept.get("cart.js"), "it to be planned again")
    assert daemon.counts() == {"cart.js": 1}


def _due(daemon: Daemon, script: str, moment: datetime, *, cron: str = "@daily") -> None:
    """Let the script's next start be at `moment`, as a daemon that was stopped then kept it."""
    given = {"schedule__scripts": {script: cron}, "schedule__timezone": "UTC"}
    loaded = load(daemon.home / "k6d.toml", scripts=daemon.scripts, data=daemon.data, **given)
    plan = plans(loaded, Registry(daemon.store, daemon.scripts).all(), daemon.store)[script]
    entry = Entry(rule=plan.rule, next=moment, at=moment - HOUR)
    document = orjson.loads(orjson.dumps(asdict(entry)))
    daemon.store.state(STATE).put(script, document | {"missed": []})


def _midnight(days_ago: int) -> datetime:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days_ago)


DAILY = {
    "K6D_SCHEDULE__SCRIPTS": orjson.dumps({"cart.js": "@daily"}).decode(),
    "K6D_SCHEDULE__TIMEZONE": "UTC",
}


@pytest.mark.long
def test_the_daemon_runs_a_script_when_it_is_due(daemon: Daemon, target: Target) -> None:
    """At its time and not before, and `k6d schedule` shows it; the change itself ran before."""
    daemon.write("cart.js", hitting(f"{target.url}/cart"))
    daemon.start(**DAILY)
    assert daemon.run("cart.js").trigger is Trigger.ADDED
    daemon.barrier()
    daemon.end()
    daemon.start(K6D_SCHEDULE__SCRIPTS='{"cart.js": "* * * * *"}', **_soon(8.0))
    second = daemon.run("cart.js", 2)
    daemon.end()
    assert second.trigger is Trigger.SCHEDULED
    shown = daemon.call("schedule", "--json", **DAILY)
    row = orjson.loads(shown.stdout)["schedules"][0]
    assert row["last"]["test_id"] == second.test_id
    assert row["next"][0].endswith("00:00:00+00:00")
    shown = daemon.call("schedule", TZ="Asia/Kolkata", **DAILY)
    assert "cart.js" in shown.stdout
    assert "05:30:00 IST" in shown.stdout


def _soon(seconds: float) -> dict[str, str]:
    """A jitter that puts the place of cart.js in every minute that many seconds from now."""
    plan = plan_for("cart.js", Schedule(scripts={"*": "@daily"}, jitter=1_000_000))
    assert plan is not None
    share = plan.offset.total_seconds() / 1_000_000
    return {"K6D_SCHEDULE__JITTER": f"{(time.time() + seconds) % 60 / share:.3f}"}


def test_a_missed_run_is_caught_up_at_the_start(daemon: Daemon, target: Target) -> None:
    """Days of silence make one run; the log and `k6d schedule` say what was missed."""
    daemon.write("cart.js", hitting(f"{target.url}/cart"))
    daemon.start(**DAILY)
    daemon.run("cart.js")
    daemon.barrier()
    daemon.end()
    _due(daemon, "cart.js", _midnight(days_ago=3))
    daemon.start(**DAILY)
    assert daemon.run("cart.js", 2).trigger is Trigger.SCHEDULED
    daemon.barrier()
    assert daemon.counts() == {"cart.js": 2}
    daemon.until_logged("scheduled runs did not start in time")
    assert "k6d was not running" in daemon.call("schedule", **DAILY).stdout


def test_a_scheduled_run_that_did_not_happen_is_told_once(daemon: Daemon, target: Target) -> None:
    """Missed with nothing to stand in for it, or run and not kept: one message each, with why."""
    daemon.write("cart.js", hitting(f"{target.url}/cart"))
    with HttpReceiver() as receiver:
        url = f"json://127.0.0.1:{receiver.port}/"
        told = DAILY | {"K6D_SCHEDULE__CATCH_UP": "skip", "K6D_NOTIFY__URLS": url}
        daemon.start(**told)
        daemon.run("cart.js")
        daemon.barrier()
        daemon.end()
        _due(daemon, "cart.js", _midnight(days_ago=2))
        for _ in range(2):
            daemon.start(**told)
            daemon.barrier()
            daemon.until(lambda: receiver.taken, "the message")
            daemon.end()
        _due(daemon, "cart.js", _midnight(days_ago=0))
        gate = Gate()
        target.latency["/cart"] = gate
        daemon.start(**told | {"K6D_SCHEDULE__CATCH_UP": "once"})
        daemon.until(gate.reached.is_set, "the run to be under way")
        (daemon.data / "snapshots").rename(daemon.data / "away")
        (daemon.data / "snapshots").write_text("in the way")
        gate.opened.set()
        daemon.until(lambda: len(receiver.taken) == 2, "the other message")
    missed, lost = (got.json for got in receiver.taken)
    assert missed["title"] == "[MEDIUM] cart: 3 scheduled runs did not happen: k6d was not running"
    assert f"Due: {_midnight(2):%Y-%m-%d} 00:00 UTC to " in missed["message"]
    assert lost["title"].startswith("[MEDIUM] cart: 1 scheduled run did not happen: cannot ")


def test_a_scheduled_run_that_was_killed_is_repeated_once(daemon: Daemon, target: Target) -> None:
    """kill -9 in mid-run: recorded as interrupted, run again; killed again, left alone."""
    daemon.write("cart.js", hitting(f"{target.url}/cart"))
    daemon.start(**DAILY)
    daemon.run("cart.js")
    daemon.barrier()
    daemon.end()
    _due(daemon, "cart.js", _midnight(days_ago=0))
    for _ in range(2):
        gate = Gate()
        target.latency["/cart"] = gate
        daemon.start(**DAILY)
        daemon.until(gate.reached.is_set, "the run to be under way")
        daemon.end(signal.SIGKILL)
        # Its k6 ends, too: else it could be what reaches the next gate.
        until(lambda: not daemon.processes(), "the end of its k6")
        gate.opened.set()
    target.latency.pop("/cart")
    daemon.start(**DAILY)
    daemon.barrier()
    found = [(run.trigger, run.execution.outcome) for run in daemon.runs("cart.js")]
    assert found == [
        (Trigger.ADDED, Outcome.COMPLETED),
        (Trigger.SCHEDULED, Outcome.ABORTED),
        (Trigger.SCHEDULED, Outcome.ABORTED),
    ]


def test_a_run_that_lasts_beyond_the_next_start_is_told_once_a_day(
    daemon: Daemon, target: Target
) -> None:
    """Each start that it misses is kept, the first of a day is a message."""
    daemon.write("cart.js", hitting(f"{target.url}/cart"))
    with HttpReceiver() as receiver:
        told = {"K6D_NOTIFY__URLS": f"json://127.0.0.1:{receiver.port}/"}
        cron = "0,1 0 * * *"
        daily = DAILY | {"K6D_SCHEDULE__SCRIPTS": orjson.dumps({"cart.js": cron}).decode()}
        daemon.start(**daily, **told)
        daemon.run("cart.js")
        daemon.barrier()
        daemon.end()
        daemon.start(**daily, **told)
        daemon.barrier()  # or the scan of the start queues the change a second time
        gate = target.latency["/cart"] = Gate()
        daemon.write("cart.js", hitting(f"{target.url}/cart?again"))
        daemon.until(gate.reached.is_set, "the run to be under way")
        assert daemon.process is not None
        for number in (0, 1):
            _due(daemon, "cart.js", _midnight(days_ago=1) + number * MINUTE, cron=cron)
            daemon.process.send_signal(signal.SIGHUP)  # reads what is due again
            # Stored after it is logged; the next entry must not come between the two.
            daemon.until(lambda: missed_by(daemon.store).get("cart.js"), "a start to be missed")
        daemon.until(lambda: receiver.taken, "the message")
        gate.opened.set()
        daemon.run("cart.js", 2)
        daemon.end()
    (late,) = (got.json for got in receiver.taken)
    assert late["title"].endswith("did not happen: its previous run is still under way")
    assert daemon.log.count("its previous run is still under way") == 2
    shown = daemon.call("schedule", **daily).stdout
    assert "its previous run is still under way" in shown


def test_pauses_are_bounded() -> None:
    """Never longer than is asked for, never no pause at all."""
    assert scheduler.pause_s(NOON, None, longest_s=15) == 15
    assert scheduler.pause_s(NOON, NOON + HOUR, longest_s=15) == 15
    assert scheduler.pause_s(NOON, NOON + timedelta(seconds=3), longest_s=15) == 3
    assert 0 < scheduler.pause_s(NOON, NOON - HOUR, longest_s=15) < 1
