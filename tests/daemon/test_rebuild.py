"""State that was damaged or lost is rebuilt from the runs; what cannot be is said."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from k6d.alerts.alerting import Alerts
from k6d.alerts.mutes import Mutes
from k6d.alerts.outages import Outages
from k6d.alerts.outbox import Outbox
from k6d.core.job import Job
from k6d.core.model import Execution, Outcome, Severity, Trigger
from k6d.daemon.rebuild import rebuild
from k6d.explain.quota import Allowance
from k6d.jobs.persistence import StoredJobs
from k6d.jobs.queue import JobQueue
from k6d.jobs.scheduler import Scheduler, entries, missed_by
from k6d.jobs.set_aside import SetAside, set_aside
from k6d.scripts.disabled import Disabled
from k6d.scripts.registry import Registry
from k6d.settings import load
from k6d.storage.accepted import accept, accepted_levels, run_ids
from k6d.storage.damage import damages
from k6d.storage.marks import marks
from k6d.storage.marks import put as put_mark
from k6d.storage.pinned import pin, pins
from k6d.storage.prune import prune
from k6d.storage.record import new_test_id
from k6d.storage.state import STATES
from k6d.storage.store import Store
from k6d.web.hook_tokens import HookTokens
from support.daemon import hitting
from support.receivers import closed_port
from support.records import make_anomaly, make_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from k6d.core.job import Missed
    from k6d.core.model import Run
    from k6d.settings import Settings
    from support.daemon import Daemon
    from support.target import Target

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").touch()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a list": lambda path: path.write_bytes(b"[1, 2]"),
    "a table that is a list": lambda path: path.write_bytes(b'{"_default": [1]}'),
    "not UTF-8": lambda path: path.write_bytes(b'{"_default": {"1": "\xff\xfe"}}'),
    "a folder": _folder,
    "a pipe": _fifo,
    "gone": lambda path: path.unlink(),
}


def _settings(home: Path, **given: object) -> Settings:
    (home / "scripts").mkdir(parents=True, exist_ok=True)
    (home / "k6d.toml").touch()
    return load(
        home / "k6d.toml",
        scripts=home / "scripts",
        data=home / "data",
        notify__urls=[f"json://127.0.0.1:{closed_port()}/"],
        schedule__timezone="UTC",
        **given,
    )


def _run(hours: int, **changes: Any) -> Run:
    at = NOW - hours * HOUR
    return make_run(test_id=new_test_id(at), timestamp=at, **changes)


def _alerts(settings: Settings) -> Alerts:
    return Alerts(settings, Store(settings.data))


def _lived(settings: Settings) -> Alerts:
    """One script whose incident was opened five hours ago, became worse, and one that is well."""
    alerts, store = _alerts(settings), Store(settings.data)
    worse = replace(make_anomaly("more"), severity=Severity.CRITICAL)
    runs = [
        *(_run(hours, script="bad.js") for hours in (9, 8, 7, 6)),
        *(_run(h, script="bad.js", anomaly_analysis=make_anomaly()) for h in (5, 4)),
        _run(3, script="bad.js", anomaly_analysis=worse),
        *(_run(hours, script="good.js") for hours in (5, 4)),
        _run(2, script="bad.js", trigger=Trigger.CONFIRMATION),
        _run(1, script="one-off/x.js", anomaly_analysis=worse),
    ]
    for name in ("bad.js", "good.js"):
        (settings.scripts / name).touch()
        store.state("scripts").put(name, {"kind": "test", "settings": {"notify": ["shop"]}})
    for run in runs:
        store.save(run)
        if run.trigger is not Trigger.CONFIRMATION and not run.script.startswith("one-off"):
            alerts.record(run, ["shop"])
    return alerts


def _restart(settings: Settings) -> Alerts:
    """What the start of a daemon does."""
    store = Store(settings.data)
    found = store.repair()
    alerts = Alerts(settings, store)
    rebuild(settings, store, alerts, lost=found.states)
    alerts.recover()
    return alerts


@pytest.mark.parametrize("damage", DAMAGES)
def test_open_incidents_come_back(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With their beginning and severity; nothing is told again, and it is said once."""
    settings = _settings(tmp_path)
    before = _lived(settings).incident_states()
    told = {kept.message.id for kept in Outbox(settings.data).waiting()}
    assert len(told) == 2
    path = settings.data / "state" / "incidents.json"
    DAMAGES[damage](path)
    after = _restart(settings).incident_states()
    assert after["bad.js"] == before["bad.js"]
    assert after["good.js"].incident is None
    assert set(after) == {"bad.js", "good.js"}
    assert {kept.message.id for kept in Outbox(settings.data).waiting()} == told
    assert "incidents are rebuilt from the runs: 1 open" in caplog.text
    assert caplog.text.count(str(path)) == 1
    if damage == "gone":
        assert damages(settings.data) == []
    else:
        (one,) = damages(settings.data)
        assert one.path.name == "incidents.json.unreadable"
        assert "rebuilt from the runs" in one.meaning
    caplog.clear()
    _restart(settings)
    assert caplog.text == ""


def test_what_was_not_told_yet_is_told_after_all(tmp_path: Path) -> None:
    """The state went with its outbox entry: the incident is announced, once."""
    settings = _settings(tmp_path)
    _lived(settings)
    shutil.rmtree(settings.data / "outbox")
    (settings.data / "state" / "incidents.json").write_bytes(b"{")
    _restart(settings)
    _restart(settings)
    waiting = Outbox(settings.data).waiting()
    assert [kept.message.change for kept in waiting] == ["opened", "worsened"]
    assert {tuple(kept.message.tags or ()) for kept in waiting} == {("shop",)}


def test_runs_that_were_imported_open_nothing(tmp_path: Path) -> None:
    """They leave no state, and nothing was lost."""
    settings = _settings(tmp_path)
    (settings.scripts / "bad.js").touch()
    store = Store(settings.data)
    store.save(_run(1, script="bad.js", snapshot=None, anomaly_analysis=make_anomaly()))
    assert store.repair().states == []
    assert _restart(settings).incident_states() == {}


@pytest.mark.parametrize("entry", [b"5", b"null", b'"text"', b"[]", b'{"key":1,"value":{}}', b"{}"])
def test_an_entry_that_is_no_object_costs_itself_alone(tmp_path: Path, entry: bytes) -> None:
    """The other entries are kept; the file as it was is kept beside."""
    store = Store(tmp_path)
    state = store.state("mutes")
    state.put("a*", {"until": "2030-01-01T00:00:00+00:00"})
    state.put("b*", {"until": "2030-01-01T00:00:00+00:00"})
    raw = orjson.loads(state.path.read_bytes())
    del raw["check"]
    raw["_default"]["1"] = orjson.loads(entry)
    state.path.write_bytes(orjson.dumps(raw))
    assert list(Store(tmp_path).state("mutes").all()) == ["b*"]  # also before it is mended
    found = Store(tmp_path).repair()
    assert found.set_aside == [f"{state.path}.unreadable"]
    assert orjson.loads((tmp_path / "state" / "mutes.json.unreadable").read_bytes()) == raw
    assert list(Store(tmp_path).state("mutes").all()) == ["b*"]
    assert "k6d mute sets them again" in damages(tmp_path)[0].meaning
    assert Store(tmp_path).repair().messages == []


def test_a_schedule_that_was_lost_misses_what_came_meanwhile(tmp_path: Path) -> None:
    """It goes on from its newest scheduled run, not from now."""
    settings = _settings(tmp_path, schedule__scripts={"*": "@hourly"})
    _lived(settings)
    store = Store(settings.data)
    store.save(_run(3, script="good.js", trigger=Trigger.SCHEDULED))
    store.state("schedule").put("x.js", {})
    store.state("schedule").path.write_bytes(b"")
    _restart(settings)
    missed: list[Missed] = []
    store = Store(settings.data)
    queue = JobQueue(StoredJobs(store, settings.scripts))
    Scheduler(settings, store, queue, on_missed=missed.append).tick(NOW)
    assert [(one.script, one.count >= 2) for one in missed] == [("good.js", True)]
    assert queue.waiting("good.js")


def test_a_scheduled_job_that_was_lost_is_due_again(tmp_path: Path) -> None:
    """The queue that held it was damaged: the schedule knows that it has no run."""
    settings = _settings(tmp_path, schedule__scripts={"*": "@hourly"})
    _lived(settings)
    store = Store(settings.data)
    queue = JobQueue(StoredJobs(store, settings.scripts))
    scheduler = Scheduler(settings, store, queue)
    scheduler.tick(NOW - 2 * HOUR)
    scheduler.tick(NOW - HOUR)
    assert store.state("queue").all()
    store.state("queue").path.write_bytes(b"{")
    _restart(settings)
    store = Store(settings.data)
    queue = JobQueue(StoredJobs(store, settings.scripts))
    Scheduler(settings, store, queue).tick(NOW - HOUR + timedelta(minutes=1))
    assert queue.waiting("good.js")


def test_own_schedules_outlive_what_was_known_of_scripts(tmp_path: Path) -> None:
    """Until k6 has looked at a script again, nobody knows whether it has a schedule of its own."""
    settings = _settings(tmp_path)
    _lived(settings)
    store = Store(settings.data)
    for name in ("bad.js", "good.js"):
        store.state("scripts").put(name, {"kind": "test", "settings": {"schedule": "@hourly"}})
    Scheduler(settings, store, JobQueue(StoredJobs(store, settings.scripts))).tick(NOW)
    before = entries(store)
    assert set(before) == {"bad.js", "good.js"}
    store.state("scripts").path.unlink()
    _restart(settings)
    store = Store(settings.data)
    assert set(store.state("scripts").all()) == {"bad.js", "good.js"}
    Scheduler(settings, store, JobQueue(StoredJobs(store, settings.scripts))).tick(NOW)
    assert entries(store) == before


def test_all_of_it_in_a_daemon(daemon: Daemon, target: Target) -> None:
    """Half of each state: what ran does not run again, the incident is open, doctor says it."""
    target.status["/broken"] = 500
    for name in ("shop", "broken"):
        daemon.write(f"{name}.js", hitting(f"{target.url}/{name}"))
    url = {"K6D_NOTIFY__URLS": f"json://127.0.0.1:{closed_port()}/"}
    daemon.start(**url)
    daemon.run("shop.js")
    daemon.run("broken.js")
    daemon.until(lambda: list(daemon.data.glob("outbox/waiting/*.json")), "a message to wait")
    daemon.barrier()
    daemon.end()
    runs = len(daemon.store.history(limit=None))
    for path in daemon.data.glob("state/*.json"):
        DAMAGES["half"](path)
    daemon.start(**url)
    daemon.barrier()
    assert len(daemon.store.history(limit=None)) <= runs + 1  # of the barrier itself
    assert len(daemon.runs("shop.js")) == len(daemon.runs("broken.js")) == 1
    assert len(list(daemon.data.glob("outbox/waiting/*.json"))) == 1
    daemon.end()
    assert "broken.js" in daemon.call("incidents", **url).stdout
    doctor = daemon.call("doctor", **url)
    assert doctor.returncode != 0
    assert "incidents.json.unreadable is damaged: open incidents are rebuilt" in " ".join(
        doctor.stdout.split()
    )


ODD: list[Any] = [None, -1.5, "2026-11-22", [1], {"a": []}]


def _odd(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The document with each field gone, or of another shape."""
    gone = [{k: v for k, v in document.items() if k != key} for key in document]
    return [{}, *gone, *(document | {key: value} for key in document for value in ODD)]


def _examples(settings: Settings) -> dict[str, dict[str, Any]]:
    """A true entry of each state."""
    store = Store(settings.data)
    _lived(settings)
    queue = JobQueue(StoredJobs(store, settings.scripts))
    path = settings.scripts / "good.js"
    queue.put(Job(name="good.js", path=path, trigger=Trigger.MANUAL, options={"vus": "1"}))
    Scheduler(settings, store, queue).tick(NOW - HOUR)
    Scheduler(settings, store, queue).tick(NOW + HOUR)
    Mutes(Store(settings.data)).put("bad*", "1h")
    Disabled(store).put("off/*", "x")
    pin(store.load(store.find("latest")), store, reason="x")
    put_mark("x", store, at=NOW)
    HookTokens(store).create("deploy", ["good*"], expires=NOW)
    accept(store.load(store.find("latest")), store, reason="x")
    allowance = Allowance(store.state("explanations"), per_day=5, identity="i")
    allowance.take(NOW)
    allowance.failed("x", NOW, retry_after_s=60)
    prune(settings, store, now=NOW)
    store.state("deaths").put("good.js", {"deaths": 3, "run": "x", "contents": "y"})
    store.state("cluster").put("x", {"namespace": "k6", "server": "https://x"})
    store.state("life").put("daemon", {"orderly": False})
    outage = {"since": "x", "scripts": {"good.js": 2, "bad.js": 1}, "told": True}
    store.state("outages").put("no network", outage)
    times = {"since": NOW.isoformat(), "ended": NOW.isoformat()}
    runs = {"script": "bad.js", "first_run": "x", "last_run": "y"}
    store.state("recoveries").put("x", times | runs)
    found = {name: store.state(name).all() for name in STATES}
    assert {name for name, kept in found.items() if kept} >= set(STATES) - {"retention"}
    return found


@pytest.mark.parametrize("name", STATES)
def test_entries_of_any_shape_do_no_harm(tmp_path: Path, name: str) -> None:
    """Each reader of each state, with each field of an entry gone or of another shape."""
    settings = _settings(tmp_path, schedule__scripts={"*": "@hourly"})
    for key, document in list(_examples(settings)[name].items())[:2]:
        for odd in _odd(document):
            store = Store(settings.data)
            store.state(name).put(key, odd)
            alerts = Alerts(settings, store)
            alerts.incident_states()
            alerts.mutes.active(NOW)
            alerts.recoveries.all()
            alerts.remind(NOW)
            for outcome in (Outcome.NO_NETWORK, Outcome.COMPLETED):
                run = make_run(script="good.js", execution=Execution(outcome=outcome))
                Outages(store, alerts.announce, alerts.is_gone).record(run)
            StoredJobs(store, settings.scripts).left(repeat=True)
            entries(store)
            missed_by(store)
            queue = JobQueue(StoredJobs(store, settings.scripts))
            Scheduler(settings, store, queue).tick(NOW)
            set_aside(store)
            registry = Registry(store, settings.scripts)
            SetAside(store, registry, alerts).begin([("good.js", "z")], settings.scripts)
            run_ids(store)
            accepted_levels(store, "bad.js")
            Disabled(store).of("bad.js")
            pins(store)
            marks(store)
            HookTokens(store).all()
            prune(settings, store, now=NOW, dry_run=True)
            allowance = Allowance(store.state("explanations"), per_day=5, identity="i")
            allowance.open_until(NOW)
            allowance.take(NOW)
            allowance.failed("x", NOW)
        _restart(settings)


@pytest.mark.parametrize("kind", ["too long", "not ours to see"])
def test_a_script_that_cannot_be_looked_for_is_passed_over(tmp_path: Path, kind: str) -> None:
    """Imported runs have any name, and `k6d run` may have run a file that is hidden from us."""
    settings = _settings(tmp_path)
    before = _lived(settings).incident_states()
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0)
    name = "x" * 200 + "/" + "y" * 300 if kind == "too long" else str(hidden / "a.js")
    Store(settings.data).save(_run(1, script=name))
    for state in ("scripts", "incidents", "schedule"):
        (settings.data / "state" / f"{state}.json").write_bytes(b"{")
    assert _restart(settings).incident_states()["bad.js"].incident == before["bad.js"].incident
