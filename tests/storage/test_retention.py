"""What retention decides, and what it does to a store: never too much, and whole when cut off."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from k6d.cli.commands import application
from k6d.cli.legacy_import import take_over
from k6d.core.measurements import Runner
from k6d.core.model import K6dError
from k6d.daemon.housekeeping import Housekeeping
from k6d.jobs.queue import JobQueue
from k6d.settings import Retention, load
from k6d.storage import backup as archive
from k6d.storage import prune, removable
from k6d.storage.accepted import accept
from k6d.storage.files import locked
from k6d.storage.pinned import pin, unpin
from k6d.storage.retention import (
    HISTORY_RUNS,
    MIB,
    Archive,
    Stored,
    Tier,
    baselines,
    removals,
    slimmed,
    tier,
    too_many,
    too_old,
)
from k6d.storage.store import Store
from support.daemon import until
from support.many_runs import made, write
from support.records import make_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k6d.core.model import Run
    from k6d.settings import Settings
    from k6d.storage.retention import Contents
    from support.serving import Served

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def _stored(
    number: int, *, age_days: float = 0, script: str = "a.js", comparable: bool = False
) -> Stored:
    return Stored(
        test_id=f"run-{number:04}",
        script=script,
        timestamp=NOW - age_days * DAY,
        workload="w",
        fingerprint="f",
        comparable=comparable,
        bytes=MIB,
    )


def _gone(
    runs: list[Stored],
    policy: Retention,
    *,
    kept: set[str] | None = None,
    archives: dict[Contents, Archive] | None = None,
) -> dict[str, str]:
    archives = archives or {}
    used = sum(taken.bytes for taken in (*runs, *set(archives.values())))
    free = [run for run in reversed(runs) if run.test_id not in (kept or ())]
    old = {run.test_id: (run, reason) for run in free if (reason := _outdated(run, runs, policy))}
    others = [run for run in free if run.test_id not in old]
    left = Counter(archives.get(run.contents) for run in runs)
    found = removals(old, others, policy, used=used, archives=archives, left=left)
    return {removal.test_id: removal.reason for removal in found}


def _outdated(run: Stored, runs: list[Stored], policy: Retention) -> str | None:
    """The reason to remove the run by age or count; `runs` are newest first."""
    younger = [one for one in runs if one.script == run.script].index(run)
    if policy.days and NOW - run.timestamp > policy.days * DAY:
        return too_old(policy)
    return too_many(policy) if policy.runs and younger >= policy.runs else None


def test_nothing_goes_unless_it_is_asked_for() -> None:
    """By default runs are kept for ever."""
    assert _gone([_stored(n, age_days=n * 100) for n in range(50)], Retention()) == {}


def test_age_count_and_size_each_have_their_say() -> None:
    """The reason names the setting's value; by size the oldest go until it fits."""
    runs = [_stored(n, age_days=n) for n in range(6)]
    assert _gone(runs, Retention(days=4)) == {"run-0005": "older than 4 days"}
    by_count = _gone(runs, Retention(runs=5))
    assert by_count == {"run-0005": "more than 5 runs of its script"}
    by_size = _gone(runs, Retention(disk_mib=4))
    assert by_size == dict.fromkeys(("run-0005", "run-0004"), "more than 4 MiB in all")
    assert list(_gone(runs, Retention(days=4, disk_mib=4))) == ["run-0005", "run-0004"]


def test_a_snapshot_makes_room_when_its_last_run_goes() -> None:
    """Whether by age or by size, and once, whatever else its runs differ in."""
    archives = {("old", "w"): Archive("a", 8 * MIB), ("old", "v"): Archive("a", 8 * MIB)}
    old = [replace(_stored(n, age_days=n), fingerprint="old", workload="wv"[n % 2]) for n in (6, 7)]
    runs = [*(_stored(n, age_days=n) for n in range(6)), *old]
    room = {mib: _gone(runs, Retention(disk_mib=mib), archives=archives) for mib in (15, 14)}
    assert list(room[15]) == ["run-0007"]
    assert list(room[14]) == ["run-0007", "run-0006"]
    assert len(_gone(runs, Retention(days=5, disk_mib=6), archives=archives)) == 2


@given(
    scripts=st.lists(st.sampled_from("abc"), min_size=1, max_size=40),
    comparable=st.sets(st.integers(0, 40)),
    policy=st.builds(
        Retention, days=st.integers(0, 5), runs=st.integers(0, 5), disk_mib=st.integers(0, 10)
    ),
    history=st.integers(1, 5),
    failing=st.sampled_from([None, 0, 3, 20]),
)
@hypothesis_settings(max_examples=200, deadline=None)
def test_baselines_and_newest_runs_never_go(
    scripts: list[str],
    comparable: set[int],
    policy: Retention,
    history: int,
    failing: int | None,
) -> None:
    """Whatever the policy: each script keeps its newest run and what later runs compare with.

    Those before an open incident are among them.
    """
    runs = [
        _stored(99 - n, age_days=n, script=script, comparable=n in comparable)
        for n, script in enumerate(scripts)
    ]
    first = {} if failing is None else dict.fromkeys(scripts, _stored(99 - failing).test_id)
    kept = baselines(runs, history=history, failing=first)
    left = [run for run in runs if run.test_id not in _gone(runs, policy, kept=kept)]
    for script in set(scripts):
        own = [run for run in runs if run.script == script]
        wanted = [own[0], *[run for run in own if run.comparable][:history]]
        if failing is not None:
            before = [run for run in own if run.test_id < first[script]]
            wanted += [run for run in before if run.comparable][:history]
        assert all(run in left for run in wanted)

    some = runs[::3]
    asked = {run.test_id for run in some}
    fewer = baselines(iter(runs), history=history, failing=first, among=some)
    assert fewer & asked == kept & asked


def test_a_decided_run_needs_no_more_reading() -> None:
    """Baselines are looked for until those asked for are decided, not through the whole past."""
    read = []

    def runs() -> Iterator[Stored]:
        for n in range(10_000):
            read.append(n)
            yield _stored(9999 - n, age_days=n, comparable=True)

    old = _stored(3, age_days=9996, comparable=True)
    assert old.test_id not in baselines(runs(), history=120, among=[old])
    assert len(read) == 120


@pytest.mark.parametrize(
    "limits",
    [
        {"days": 20},
        {"runs": 90},
        {"days": 40, "runs": 100},
        {"disk_mib": 1},
        {"days": 60, "disk_mib": 1},
    ],
)
def test_what_goes_is_what_all_runs_together_say(tmp_path: Path, limits: dict[str, int]) -> None:
    """Read in parts, from a store of 900 runs, as by the same rules over all of them at once."""
    store = Store(tmp_path / "data")
    write(store, made(900, until=NOW, apart=timedelta(hours=2), scripts=7))
    store.reindex()
    rows = store.history(limit=None)
    store.state("incidents").put("script-002.js", {"incident": {"first_run": rows[800]["test_id"]}})
    pin(store.load(rows[890]["test_id"]), store, reason="a release")
    policy = Retention(**limits)
    runs = [removable.stored(row, size=store.run_bytes(row["test_id"])) for row in rows]
    failing = {"script-002.js": rows[800]["test_id"]}
    kept = baselines(runs, history=HISTORY_RUNS, failing=failing) | {rows[890]["test_id"]}
    kept |= {run.test_id for run in runs if run.test_id >= failing.get(run.script, "~")}
    expected = _gone(runs, policy, kept=kept)
    loaded = _settings(tmp_path, **{f"retention__{name}": value for name, value in limits.items()})
    planned = prune.prune(loaded, store, now=NOW, dry_run=True).removed
    assert {one.test_id: one.reason for one in planned} == expected
    assert prune.prune(loaded, store, now=NOW).removed == planned
    assert {row["test_id"] for row in store.history(limit=None)} == {r.test_id for r in runs} - set(
        expected
    )
    assert prune.prune(loaded, store, now=NOW).removed == []


def test_tiers_by_age() -> None:
    """Full for days, detail for months, the summary for ever; 0 means for ever."""
    policy = Retention(full_days=30, detail_days=180)
    ages = [29, 31, 179, 181, 5000]
    assert [tier(DAY * age, policy) for age in ages] == [
        *(Tier.FULL, Tier.DETAIL, Tier.DETAIL, Tier.SUMMARY, Tier.SUMMARY),
    ]
    assert tier(DAY * 9999, Retention(full_days=0, detail_days=0)) is Tier.FULL


def test_a_smaller_run_is_still_a_run_and_compares_the_same() -> None:
    """Log and time line go; metrics, series, verdict and fields we don't know stay."""
    run = make_run(series={"response_time_p95": 88.25}, runners=[Runner(number=1)])
    record = orjson.loads(orjson.dumps(run))
    smaller = slimmed(record | {"unknown": 1}, Tier.SUMMARY)
    assert smaller is not None
    assert not smaller.keys() & {"log", "breakdown", "runners"}
    assert smaller["unknown"] == 1
    assert smaller["series"] == record["series"]
    assert smaller["metrics"] == record["metrics"]
    assert slimmed(smaller, Tier.SUMMARY) is None


def _id(number: int, at: datetime) -> str:
    return f"{at:%Y%m%d-%H%M%S}-{number:06x}"


def _save(
    store: Store, number: int, *, age_days: float, script: str = "a.js", **changes: object
) -> Run:
    at = NOW - age_days * DAY
    snapshot = make_run().snapshot
    assert snapshot is not None
    snapshot = replace(snapshot, id=f"snap-{number}", fingerprint=f"print-{number}")
    run = make_run(
        **(
            {"test_id": _id(number, at), "timestamp": at, "script": script, "snapshot": snapshot}
            | changes
        )
    )
    store.save(run)
    assert run.snapshot is not None
    archive = store.snapshot_path(run.snapshot.id)
    archive.parent.mkdir(exist_ok=True)
    archive.write_bytes(b"x" * 1000)
    os.utime(archive, (time.time() - 9999, time.time() - 9999))
    return run


def _settings(home: Path, **given: object) -> Settings:
    (home / "k6d.toml").touch()
    return load(home / "k6d.toml", data=home / "data", scripts=home / "scripts", **given)


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_prune_removes_runs_with_entries_and_snapshots(tmp_path: Path) -> None:
    """What goes is gone from disk and index; a dry run says the same and touches nothing."""
    store = Store(tmp_path / "data")
    shared = _save(store, 1, age_days=100).snapshot
    _save(store, 2, age_days=90)
    newest = _save(store, 3, age_days=10, snapshot=shared)
    outside = tmp_path / "outside.json"
    outside.write_text("mine")
    loaded = _settings(tmp_path, retention__days=50, retention__full_days=0)
    before = _files(tmp_path / "data" / "runs")
    planned = prune.prune(loaded, store, now=NOW, dry_run=True)
    assert _files(tmp_path / "data" / "runs") == before
    assert [removal.reason for removal in planned.removed] == ["older than 50 days"] * 2
    done = prune.prune(loaded, store, now=NOW)
    assert done == planned
    assert done.snapshots == 1
    assert [document["test_id"] for document in store.history()] == [newest.test_id]
    assert store.load(newest.test_id) == newest
    assert shared is not None
    assert store.snapshot_path(shared.id).exists()
    assert not store.snapshot_path("snap-2").exists()
    assert outside.read_text() == "mine"
    assert store.repair().messages == []
    assert prune.prune(loaded, store, now=NOW) == prune.Pruned()


def test_accepted_levels_and_open_incidents_are_kept(tmp_path: Path) -> None:
    """Runs that they name stay, however old; a resolved incident holds nothing."""
    store = Store(tmp_path / "data")
    accepted = _save(store, 1, age_days=300)
    _save(store, 2, age_days=299)
    failing = _save(store, 3, age_days=298, script="b.js")
    later = _save(store, 4, age_days=297, script="b.js")
    _save(store, 5, age_days=296, script="c.js")
    tops = [
        _save(store, 6 + n, age_days=1, script=script)
        for n, script in enumerate(("a.js", "b.js", "c.js"))
    ]
    accept(accepted, store, reason="new normal")
    incidents = store.state("incidents")
    incidents.put("b.js", {"incident": {"first_run": failing.test_id}})
    incidents.put("c.js", {"incident": None})
    for number, odd in enumerate(({"id": "x"}, "odd", {"first_run": 1})):
        incidents.put(f"odd-{number}.js", {"incident": odd})
    prune.prune(_settings(tmp_path, retention__days=50), store, now=NOW)
    left = {document["test_id"] for document in store.history(limit=None)}
    assert left == {run.test_id for run in (accepted, failing, later, *tops)}


def test_pinned_runs_are_kept_whole(tmp_path: Path) -> None:
    """With log, endpoints and snapshot, whatever the settings say, until they are unpinned."""
    store = Store(tmp_path / "data")
    old = [_save(store, number, age_days=400 - number) for number in range(2)]
    _save(store, 9, age_days=1)
    settings = _settings(tmp_path, retention__days=30, retention__detail_days=10)
    pin(old[0], store, reason="release 2.0")
    before = store.load_raw(old[0].test_id)
    done = prune.prune(settings, store, now=NOW)
    assert [one.test_id for one in done.removed] == [old[1].test_id]
    assert store.load_raw(old[0].test_id) == before
    assert store.snapshot_path("snap-0").exists()
    unpin(old[0].test_id, store)
    done = prune.prune(settings, store, now=NOW)
    assert [one.test_id for one in done.removed] == [old[0].test_id]


def test_a_run_that_is_pinned_while_pruning_waits_stays(tmp_path: Path) -> None:
    """What to remove was decided before; a person was quicker than the removal."""
    store = Store(tmp_path / "data")
    old = [_save(store, number, age_days=400 - number) for number in range(2)]
    _save(store, 9, age_days=1)
    settings = _settings(tmp_path, retention__days=30)
    lock = tmp_path / "data" / "index" / ".lock"
    waiting = f":{lock.stat().st_ino} "

    def is_waiting() -> bool:
        lines = Path("/proc/locks").read_text().splitlines()
        return any("->" in line and waiting in line for line in lines)

    with ThreadPoolExecutor(1) as pool:
        with locked(lock, root=tmp_path / "data"):
            done = pool.submit(prune.prune, settings, Store(tmp_path / "data"), now=NOW)
            until(is_waiting, "pruning to wait for the lock")
            pin(old[0], store, reason="release 2.0")
        assert [one.test_id for one in done.result().removed] == [old[1].test_id]
    assert store.load(old[0].test_id) == old[0]


def test_what_was_normal_before_a_long_incident_is_kept(tmp_path: Path) -> None:
    """However many runs it lasts: they are all regressed, and say nothing of that."""
    store = Store(tmp_path / "data")
    _save(store, 1, age_days=300)
    normal = _save(store, 2, age_days=299, comparable=True)
    for number in range(HISTORY_RUNS + 1):
        run = _save(store, 3 + number, age_days=298 - number, comparable=True)
        if number == 0:
            store.state("incidents").put("a.js", {"incident": {"first_run": run.test_id}})
    prune.prune(_settings(tmp_path, retention__days=50), store, now=NOW)
    left = store.history(limit=None)
    assert (len(left), left[-1]["test_id"]) == (HISTORY_RUNS + 2, normal.test_id)


def test_old_runs_get_smaller_once(tmp_path: Path) -> None:
    """The file shrinks, the run loads, its entry in the index is the same."""
    store = Store(tmp_path / "data")
    runs = [_save(store, number, age_days=age) for number, age in enumerate((200, 60, 1))]
    entries = store.history()
    loaded = _settings(tmp_path)
    assert prune.prune(loaded, store, now=NOW, dry_run=True).slimmed == 2
    done = prune.prune(loaded, store, now=NOW)
    assert (done.slimmed, done.removed) == (2, [])
    assert done.bytes > 0
    oldest, old, new = (store.load(run.test_id) for run in runs)
    assert (oldest.breakdown.endpoints, oldest.metrics) == ([], runs[0].metrics)
    assert (old.breakdown, old.log.head) == (runs[1].breakdown, "")
    assert new == runs[2]
    assert store.history() == entries
    assert prune.prune(loaded, store, now=NOW) == prune.Pruned()
    assert prune.prune(loaded, store, now=NOW + 150 * DAY).slimmed == 2


@pytest.mark.parametrize(("age_days", "gone"), [(60, "raw metrics"), (200, "time line")])
def test_what_got_smaller_is_still_shown(served: Served, age_days: int, gone: str) -> None:
    """On every page, by every route and command of a run; what is gone is said where it stood."""
    run = _save(
        served.store,
        1,
        age_days=age_days,
        custom_metrics=["carts"],
        k6_metrics={"carts": {"count": 3}},
        series={"response_time_p95": 88.25},
        comparable=True,
    )
    _save(served.store, 2, age_days=1, series=run.series, comparable=True)
    assert prune.prune(_settings(served.home), served.store, now=NOW).slimmed == 1
    served.start()
    routes = served.get("/openapi.json").json["paths"]
    paths = [
        *(route for route, methods in routes.items() if "/{test_id}" in route and "get" in methods),
        *(f"/api/v1/runs/{{test_id}}/report?form={form}" for form in ("markdown", "junit")),
        *("/api/v1/runs/{test_id}/log?stream=output", "/runs/{test_id}"),
        *("/compare?to={test_id}&run=latest", "/compare?to=latest&run={test_id}"),
        *("/", "/script?name=a.js", "/runs", "/statistics", "/metrics"),
    ]
    for path in paths:
        more = "?to=latest" if path.endswith("/compare") else ""
        answer = served.get(path.replace("{test_id}", run.test_id) + more)
        missing = "/log" in path or "{name}" in path  # the script wrote no file
        assert answer.status == (404 if missing else 200), f"{path}: {answer.text}"
        if "/log" in path or path.startswith(("/runs/", "/compare")) or path.endswith("/report"):
            assert "removed by retention: logs and raw metrics" in answer.text, path
            assert gone in answer.text, path
    for command in (
        *("show RUN", "show RUN --log", "show RUN --json", "compare RUN", "compare latest RUN"),
        *("report RUN --html", "report RUN --markdown", "report RUN --junit", "search", "history"),
        *("trend a.js", "backtest a.js", "accept a.js"),
    ):
        words = command.replace("RUN", run.test_id).split()
        options = ["--config", str(served.home / "k6d.toml"), "--data", str(served.data)]
        done = CliRunner().invoke(application(), [*words, *options])
        told = isinstance(done.exception, K6dError) and not done.stdout
        assert told or done.exit_code == 0, f"{command}: {done.stdout} {done.exception!r}"
        if command in {"show RUN", "show RUN --log"}:
            assert "removed by retention: logs and raw metrics" in " ".join(done.stdout.split())
    assert served.call("explain", run.test_id, "--dry-run").returncode == 0


def test_a_save_waits_while_its_run_gets_smaller(tmp_path: Path) -> None:
    """Else pruning would undo what `k6d explain` found out about an old run meanwhile."""
    store = Store(tmp_path / "data")
    run = _save(store, 1, age_days=60)
    explained = replace(run, status="explained")

    with ThreadPoolExecutor() as pool:

        def less(data: bytes) -> bytes:
            saves = pool.submit(Store(tmp_path / "data").save, explained)
            assert not wait([saves], timeout=0.3).done
            return data.replace(b"checkout.js", b"c.js")

        freed = store.shrink(run.test_id, less)
    assert freed
    assert store.load(run.test_id) == explained
    assert [document["status"] for document in store.history()] == ["explained"]


def test_runs_of_a_newer_k6d_are_not_touched(tmp_path: Path) -> None:
    """What it keeps may mean more than we know; everything else gets smaller."""
    store = Store(tmp_path / "data")
    newer, ours = (_save(store, number, age_days=200) for number in (0, 1))
    path = store.run_path(newer.test_id)
    raw = store.load_raw(newer.test_id)
    written = raw.replace(b'"schema_version":1', b'"schema_version":2')
    path.write_bytes(written)
    _save(store, 2, age_days=0)
    assert prune.prune(_settings(tmp_path), store, now=NOW).slimmed == 1
    assert path.read_bytes() == written
    assert store.load(ours.test_id).breakdown.endpoints == []
    gone = prune.prune(_settings(tmp_path, retention__days=50), store, now=NOW).removed
    assert [removal.test_id for removal in gone] == [ours.test_id]
    assert path.read_bytes() == written


@pytest.mark.parametrize(
    "odd",
    [{"timestamp": "2026-05-06T12:00:00"}, {"schema_version": "1"}, {"schema_version": None}],
)
def test_what_is_no_run_stays_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, odd: dict[str, object]
) -> None:
    """Brought in by hand, say; the others go and get smaller as ever."""
    store = Store(tmp_path / "data")
    runs = [_save(store, number, age_days=200 - number) for number in range(4)]
    path = store.run_path(runs[0].test_id)
    path.write_bytes(orjson.dumps(orjson.loads(store.load_raw(runs[0].test_id)) | odd))
    store.reindex()
    written = path.read_bytes()
    assert prune.prune(_settings(tmp_path), store, now=NOW).slimmed == 3
    gone = prune.prune(_settings(tmp_path, retention__days=50), store, now=NOW).removed
    assert [removal.test_id for removal in gone] == [run.test_id for run in runs[1:3]]
    assert path.read_bytes() == written
    assert caplog.text.count(f"that it cannot read, such as {runs[0].test_id}") == 2


def test_a_snapshot_that_cannot_be_one_holds_up_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its run goes as the others do; the id, which leads out of the folder, is named."""
    store, outside = Store(tmp_path / "data"), tmp_path / "x.tar"
    outside.touch()
    os.utime(outside, (1, 1))
    snapshot = make_run().snapshot
    assert snapshot is not None
    odd = _save(store, 1, age_days=100)
    store.save(replace(odd, snapshot=replace(snapshot, id="../../x")))
    _save(store, 2, age_days=99)
    newest = _save(store, 3, age_days=1)
    done = prune.prune(_settings(tmp_path, retention__days=50), store, now=NOW)
    assert (len(done.removed), done.snapshots) == (2, 1)
    assert [document["test_id"] for document in store.history()] == [newest.test_id]
    assert "snapshot ../../x is kept" in caplog.text
    assert outside.exists()


def test_room_is_made_by_versions_with_their_snapshots(tmp_path: Path) -> None:
    """Large snapshots of a script that changed, or of another k6, are counted as they go."""
    store = Store(tmp_path / "data")
    snapshot = make_run().snapshot
    assert snapshot is not None
    for number in range(40):
        version = number // 4
        runs_of = replace(snapshot, id=f"snap-{version}", workload=f"load-{version}")
        runs_of = replace(runs_of, fingerprint=f"print-{version // 2}")
        _save(store, number, age_days=100 - number, snapshot=runs_of)
        archive = store.snapshot_path(runs_of.id)
        os.truncate(archive, 10 * MIB)
        os.utime(archive, (1, 1))
    done = prune.prune(_settings(tmp_path, retention__disk_mib=61), store, now=NOW)
    assert (len(done.removed), done.snapshots) == (16, 4)
    assert store.snapshot_bytes() == 60 * MIB


def test_what_stays_is_no_room(tmp_path: Path) -> None:
    """A limit on the disk is kept by others where the oldest are a newer k6d's."""
    store = Store(tmp_path / "data")
    runs = [_save(store, number, age_days=200 - number) for number in range(4)]
    oldest = store.run_path(runs[0].test_id)
    raw = store.load_raw(runs[0].test_id)
    oldest.write_bytes(raw.replace(b'"schema_version":1', b'"schema_version":2') + b" " * MIB)
    big = store.run_path(runs[1].test_id)
    big.write_bytes(store.load_raw(runs[1].test_id) + b" " * MIB)
    gone = prune.prune(_settings(tmp_path, retention__disk_mib=2), store, now=NOW).removed
    assert [removal.test_id for removal in gone] == [runs[1].test_id]


def test_what_an_incident_kept_whole_gets_smaller_when_it_is_over(tmp_path: Path) -> None:
    """However much younger runs were made smaller meanwhile."""
    store, loaded = Store(tmp_path / "data"), _settings(tmp_path)
    failing = _save(store, 1, age_days=60)
    other = _save(store, 2, age_days=59, script="b.js")
    store.state("incidents").put("a.js", {"incident": {"first_run": failing.test_id}})
    assert prune.prune(loaded, store, now=NOW).slimmed == 1
    assert store.load(other.test_id).log.head == ""
    assert store.load(failing.test_id) == failing
    store.state("incidents").put("a.js", {"incident": None})
    assert prune.prune(loaded, store, now=NOW).slimmed == 1
    assert store.load(failing.test_id).log.head == ""
    assert prune.prune(loaded, store, now=NOW) == prune.Pruned()


def test_older_runs_that_are_brought_in_get_smaller(tmp_path: Path) -> None:
    """After younger ones did, by an archive; those of the original service have nothing to lose."""
    old, store = Store(tmp_path / "old"), Store(tmp_path / "data")
    older = _save(old, 1, age_days=100)
    archive.export(tmp_path / "old", tmp_path / "backup.tar.gz")
    _save(store, 2, age_days=50)
    loaded = _settings(tmp_path)
    assert prune.prune(loaded, store, now=NOW).slimmed == 1
    archive.restore(tmp_path / "data", tmp_path / "backup.tar.gz", store)
    assert prune.prune(loaded, store, now=NOW).slimmed == 1
    assert store.load(older.test_id).log.head == ""
    record = {"test_id": "0b1e", "timestamp": f"{NOW - 90 * DAY}"}
    (tmp_path / "tests.json").write_bytes(orjson.dumps({"_default": {"1": record}}))
    take_over(tmp_path / "tests.json", store)
    assert prune.prune(loaded, store, now=NOW).slimmed == 0


def test_a_run_that_the_disk_did_not_let_get_smaller_does_the_next_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However much younger runs were made smaller meanwhile."""
    store, loaded = Store(tmp_path / "data"), _settings(tmp_path)
    refused, other = (_save(store, number, age_days=100 - 50 * number) for number in range(2))
    file = store.run_path(refused.test_id)
    away = file.rename(tmp_path / "away")
    file.mkdir()
    assert prune.prune(loaded, store, now=NOW).slimmed == 1
    assert f"that it cannot read, such as {refused.test_id}" in caplog.text
    assert store.load(other.test_id).log.head == ""
    file.rmdir()
    away.rename(file)
    assert prune.prune(loaded, store, now=NOW).slimmed == 1
    assert store.load(refused.test_id).log.head == ""
    assert prune.prune(loaded, store, now=NOW) == prune.Pruned()


def test_a_young_snapshot_is_left_for_the_run_that_is_not_saved_yet(tmp_path: Path) -> None:
    """A run under way keeps its snapshot before it is saved; prune must not take it away."""
    store = Store(tmp_path / "data")
    _save(store, 1, age_days=100)
    _save(store, 2, age_days=1)
    source = tmp_path / "archive.tar"
    source.write_bytes(b"new")
    store.put_snapshot("snap-1", source)
    done = prune.prune(_settings(tmp_path, retention__days=50), store, now=NOW)
    assert len(done.removed) == 1
    assert store.snapshot_path("snap-1").exists()


def test_a_snapshot_that_was_too_young_goes_later(tmp_path: Path) -> None:
    """Its run has left; once it is old enough it goes, unless another run came for it."""
    store, loaded = Store(tmp_path / "data"), _settings(tmp_path, retention__runs=1)
    runs = [_save(store, number, age_days=5 - number) for number in range(1, 5)]
    archives = [store.snapshot_path(f"snap-{number}") for number in range(1, 4)]
    for path in archives[:2]:
        path.touch()
    done = prune.prune(loaded, store, now=NOW)
    assert (len(done.removed), done.snapshots) == (3, 1)
    assert prune.prune(loaded, store, now=NOW) == prune.Pruned()
    _save(store, 5, age_days=1, script="b.js", snapshot=runs[1].snapshot)
    os.utime(archives[0], (time.time() - 9999,) * 2)
    assert prune.prune(loaded, store, now=NOW) == prune.Pruned(snapshots=1, bytes=1000)
    assert [path.exists() for path in archives] == [False, True, False]


class Hours:
    """The hours of a daemon that prunes what is older than 50 days, by a clock that may be set."""

    def __init__(self, home: Path) -> None:
        self.store = Store(home / "data")
        self._settings = _settings(home, retention__days=50)
        self._now, self._ran_s = NOW.timestamp(), 0.0
        _save(self.store, 1, age_days=10)
        _save(self.store, 2, age_days=0)
        self.restart()

    def restart(self) -> None:
        """Another daemon, by the same clock."""
        self.upkeep = Housekeeping(
            self._settings, self.store, JobQueue(), clock=lambda: (self._now, self._ran_s)
        )

    async def started(self) -> None:
        """The daemon has begun, and is left at once."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.upkeep.run(), 0.2)

    def later(self, *, hours: float = 1, set_by: timedelta = timedelta()) -> int:
        """Let the time pass; gives how many runs are left."""
        self._now += 3600 * hours + set_by.total_seconds()
        self._ran_s += 3600 * hours
        asyncio.run(self.upkeep.prune_when_due())
        return len(self.store.history())


def test_a_clock_that_was_set_removes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it is back or k6d restarts, however long that takes; and it is told once."""
    day, hours = timedelta(days=1), Hours(tmp_path)
    assert {hours.later(set_by=1500 * day), *(hours.later() for _ in range(48))} == {2}
    assert caplog.text.count("nothing is pruned until") == 1
    assert hours.later(set_by=-1500 * day) == 2
    assert {hours.later(set_by=45 * day), hours.later()} == {2}
    assert caplog.text.count("nothing is pruned until") == 2
    hours.restart()
    assert hours.later() == 1


def test_a_clock_that_is_corrected_at_the_start_is_believed(tmp_path: Path) -> None:
    """A machine may boot in 1970 and hear minutes later what time it is."""
    hours = Hours(tmp_path)
    years = timedelta(days=20_000)
    hours.later(set_by=-years)
    hours.restart()
    assert hours.later(hours=0.1, set_by=years + timedelta(days=45)) == 2
    assert hours.later() == 1


def test_a_clock_that_is_slewed_for_weeks_is_believed(tmp_path: Path) -> None:
    """Half a minute each hour is no step, though it becomes hours; what is old goes."""
    hours = Hours(tmp_path)
    left = [hours.later(set_by=timedelta(seconds=30)) for _ in range(41 * 24)]
    assert left[0] == 2
    assert left[-1] == 1


def test_another_folder_in_the_place_of_the_data_is_not_pruned(tmp_path: Path) -> None:
    """A disk that was swapped for another: what is old there is none of this daemon's."""
    hours = Hours(tmp_path)
    lock = tmp_path / "data" / "daemon.lock"
    lock.touch()
    asyncio.run(hours.started())
    lock.unlink()
    assert hours.later(hours=1000) == 2
    hours.restart()
    assert hours.later() == 1


PRUNE = """
import sys
from pathlib import Path
from datetime import datetime, UTC
from k6d.storage import prune as pruning
from k6d.settings import load
from k6d.storage.store import Store
from k6d.daemon.housekeeping import Housekeeping
home = Path(sys.argv[1])
loaded = load(home / "k6d.toml", data=home / "data", scripts=home / "scripts", retention__days=50)
print("begins", flush=True)
pruning.prune(loaded, Store(home / "data"), now=datetime(2026, 11, 22, 12, tzinfo=UTC))
"""


@pytest.mark.parametrize("files_left", [195, 120, 30])
def test_killed_while_pruning(tmp_path: Path, files_left: int) -> None:
    """Cut off anywhere, what should stay is whole, and the next time does the rest."""
    store = Store(tmp_path / "data")
    staying = [_save(store, n, age_days=10 + n / 100) for n in range(5)]
    for number in range(5, 205):
        _save(store, number, age_days=100 + number / 100)
    _settings(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", PRUNE, str(tmp_path)], stdout=subprocess.PIPE)
    runs = tmp_path / "data" / "runs"
    until(lambda: len(list(runs.rglob("*.json"))) < files_left, "runs to be removed")
    process.kill()
    process.communicate()
    store.repair()
    indexed = {document["test_id"] for document in store.history(limit=None)}
    assert indexed == {path.stem for path in runs.rglob("*.json")}
    assert indexed >= {run.test_id for run in staying}
    prune.prune(_settings(tmp_path, retention__days=50), store, now=NOW)
    assert {document["test_id"] for document in store.history(limit=None)} == {
        run.test_id for run in staying
    }
    assert len(list((tmp_path / "data" / "snapshots").iterdir())) == 5


def test_the_newest_run_without_other_options_stays() -> None:
    """It is the state of its script, however many ad-hoc runs came after it."""
    runs = [replace(_stored(9 - n, age_days=n), overrides=n < 3) for n in range(6)]
    assert baselines(runs, history=0) == {"run-0009", "run-0006"}
