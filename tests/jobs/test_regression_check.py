"""Runs of the real k6 against a target whose latency the test controls, compared and confirmed.

The baseline of eight unchanged runs is made once; each test has a copy of it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from k6d.analysis.comparison import compare_all
from k6d.cli.commands import application
from k6d.core.measurements import Generator, Log
from k6d.core.model import Comparison, FindingKind, K6dError, Outcome, Trigger
from k6d.jobs.pipeline import Pipeline
from k6d.jobs.regression_check import history_of, is_comparable
from k6d.jobs.stages import Watching
from k6d.storage.accepted import accept
from k6d.storage.retention import HISTORY_RUNS
from k6d.storage.store import Store
from support.daemon import Daemon
from support.records import make_run
from support.shop import PAGES, SCRIPT, Shop, run_shop, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from k6d.core.model import Run
    from k6d.settings import Settings

LEARNING, RUNS = 5, 8
ITERATIONS = 24
# Short runs on a busy machine are a coarse baseline: what must be seen is far beyond its noise,
# and what the machine alone may do to a run is below the least change that is told.
SLOWER = 15.0
LEAST = 60
ENVIRONMENT = {
    "K6D_COMPARE__MAX_CPU": "100",
    "K6D_COMPARE__LEAST_PERCENT": str(LEAST),
    "K6D_LIMITS__MIN_REQUESTS": "10",
    "NO_COLOR": "1",
    "COLUMNS": "200",
}


@pytest.fixture(scope="module")
def opened() -> Iterator[Shop]:
    """The shop, for all tests here: its port is in the script."""
    with Shop() as shop:
        yield shop


@pytest.fixture(scope="module")
def baseline(opened: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with eight unchanged runs, none of them judged."""
    home = tmp_path_factory.mktemp("baseline")
    opened.write(home / "scripts", iterations=ITERATIONS)
    for number in range(RUNS):
        run_shop(settings_for(home, compare__enabled=number < LEARNING, limits__min_requests=10))
    return home


@pytest.fixture
def shop(opened: Shop) -> Iterator[Shop]:
    """The shop as it was when the baseline was made."""
    yield opened
    opened.slow.clear()


@pytest.fixture
def home(baseline: Path, tmp_path: Path) -> Path:
    """A copy of the baseline's home."""
    return shutil.copytree(baseline, tmp_path / "home")


def settings(home: Path) -> Settings:
    """What all tests run with."""
    return settings_for(home, compare__least_percent=LEAST, limits__min_requests=10)


def runs_of(home: Path) -> list[Run]:
    """All runs, oldest first; the index and the files agree."""
    store = Store(home / "data")
    ids = [document["test_id"] for document in reversed(store.history(limit=None))]
    assert sorted(ids) == sorted(path.stem for path in (home / "data" / "runs").rglob("*.json"))
    return [store.load(test_id) for test_id in ids]


def new_runs(home: Path) -> list[Run]:
    """Those since the baseline."""
    return runs_of(home)[RUNS:]


def k6d(home: Path, *words: str) -> str:
    """What a command of k6d prints."""
    daemon = Daemon(home)
    done = daemon.call(*words, **ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def only_first(shop: Shop) -> Watching:
    """The page is slow in the first k6 that starts, and has recovered before the next one."""
    factors = iter([SLOWER])
    return Watching(started=lambda *_: shop.slow.update(pay=next(factors, 1.0)))


def test_the_first_runs_are_learning(baseline: Path) -> None:
    """Each says how far it is; none is judged, none alarms."""
    runs = runs_of(baseline)
    for number, run in enumerate(runs[:LEARNING]):
        assert run.anomaly_analysis.doubts == [f"learning, {number} of 5 comparable runs"]
        assert not run.anomaly_analysis.anomalies_detected
        assert {c.state for c in run.comparisons} == {"learning"}
    assert all(run.comparable for run in runs)
    assert {f"response_time_p95 GET {page}" for page in PAGES} <= runs[-1].series.keys()


def test_an_unchanged_run_is_healthy(shop: Shop, home: Path) -> None:
    """Compared with all of its history, series by series."""
    run = run_shop(settings(home))
    assert not run.anomaly_analysis.anomalies_detected, run.anomaly_analysis.issues
    assert run.comparable
    assert {c.runs for c in run.comparisons} == {RUNS}
    assert shop.target.requests["GET /pay"] > 0


def test_a_regression_is_confirmed_named_remembered_and_accepted(shop: Shop, home: Path) -> None:
    """Its life: new, confirmed by re-runs; then known since that run; then the normal."""
    loaded = settings(home)
    shop.slow["pay"] = SLOWER

    first = run_shop(loaded)
    (finding,) = first.anomaly_analysis.findings
    assert (finding.kind, finding.endpoint) == (FindingKind.REGRESSION, "GET pay")
    assert finding.confirmed == "3 of 3"
    assert "confirmed 3 of 3" in first.anomaly_analysis.issues[0]
    again = new_runs(home)[1:]
    assert [run.test_id for run in again] == first.confirmations
    assert [(run.trigger, run.confirms) for run in again] == [
        (Trigger.CONFIRMATION, first.test_id)
    ] * 2
    assert not any(run.comparable or run.comparisons for run in again)
    medians = sorted(run.series["response_time_p95 GET pay"] for run in again)
    assert medians[0] > 40
    assert first.comparable

    second = run_shop(loaded)
    (finding,) = second.anomaly_analysis.findings
    assert (finding.endpoint, finding.since) == ("GET pay", first.test_id)
    assert f"since run {first.test_id} on " in finding.message
    assert second.confirmations == []
    assert len(new_runs(home)) == 4

    table = k6d(home, "compare", first.confirmations[-1])
    assert f"run {first.test_id} against its baseline" in table
    assert "p95 of GET pay" in table
    assert "worse (3 of 3)" in table
    assert "± 1 point " in table  # an error rate of 0 has its noise band too
    chart = k6d(home, "trend", SCRIPT, "--metric", "response_time_p95 GET pay")
    assert f"worse since run {first.test_id}" in chart

    said = k6d(home, "accept", SCRIPT, "--reason", "a new payment provider")
    assert said.splitlines() == [
        f"accepted: {SCRIPT} is compared with its runs since {first.test_id}",
        f"its incident {first.test_id} is resolved",
    ]
    assert k6d(home, "incidents") == "no open incident\n"
    third = run_shop(loaded)
    assert not third.anomaly_analysis.anomalies_detected
    assert third.anomaly_analysis.doubts == ["learning, 2 of 5 comparable runs"]


def test_what_the_re_runs_do_not_repeat_is_noise(shop: Shop, home: Path) -> None:
    """Recorded with all values, and nobody is called; the medians stand for the run."""
    run = run_shop(settings(home), watching=only_first(shop))
    verdict = run.anomaly_analysis
    assert not any("GET pay" in issue for issue in verdict.issues), verdict.issues
    assert any(line.startswith("p95 of GET pay was ") for line in verdict.noise)
    assert all(line.endswith(": noise") for line in verdict.noise)
    assert len(run.confirmations) == 2
    values = [r.series["response_time_p95 GET pay"] for r in new_runs(home)]
    assert values[0] == sorted(values)[1]
    assert run.comparable


def test_commands_over_the_baseline(home: Path) -> None:
    """compare, trend and backtest, as text and as JSON."""
    newest = run_shop(settings(home))
    rows = json.loads(k6d(home, "compare", "--json"))
    assert {row["metric"] for row in rows} >= {"response_time_p95", "error_rate"}
    assert {row["state"] for row in rows} <= {"steady", "worse", "better"}
    text = k6d(home, "compare", newest.test_id, runs_of(home)[0].test_id)
    assert f"run {newest.test_id} against run {runs_of(home)[0].test_id}" in text

    drawn = json.loads(
        k6d(home, "trend", SCRIPT, "--metric", "response_time_p95 GET pay", "--json")
    )
    own = [run.test_id for run in runs_of(home) if not run.confirms]
    assert [one["test_id"] for one in drawn["runs"]] == own
    assert drawn["latest"]["endpoint"] == "GET pay"
    assert isinstance(drawn["changes"], list)
    chart = k6d(home, "trend", SCRIPT)
    assert f"{SCRIPT}: p95 in ms" in chart
    assert "baseline " in chart

    (tested,) = json.loads(k6d(home, "backtest", "--json", "--set", "compare.min_runs=3"))
    assert (tested["script"], tested["runs"]) == (SCRIPT, RUNS + 1)
    assert [row["step_percent"] for row in tested["steps"]] == [5, 10, 20, 50]
    assert f"{SCRIPT}: {RUNS + 1} comparable runs" in k6d(home, "backtest", SCRIPT)


def test_an_unknown_series_names_those_there_are(home: Path) -> None:
    """One line."""
    done = Daemon(home).call("trend", SCRIPT, "--metric", "p95", **ENVIRONMENT)
    assert done.returncode == 2
    assert f"{SCRIPT} has no series 'p95'; it has: dropped_iterations, error_rate, " in done.stderr


def test_replay_runs_the_stored_snapshot(shop: Shop, home: Path) -> None:
    """The script was changed, or is gone: what ran then runs again, and is compared."""
    old = runs_of(home)[0]
    (home / "scripts" / "lib" / "pages.js").write_text("export const pages = ['elsewhere'];\n")
    (home / "scripts" / SCRIPT).unlink()
    loaded = settings(home)
    pipeline = Pipeline(loaded, Store(loaded.data), stop=asyncio.Event())
    run = asyncio.run(pipeline.replay(old, env={}))
    assert run.execution.outcome is Outcome.COMPLETED
    assert run.snapshot is not None
    assert old.snapshot is not None
    assert run.snapshot.dependencies == old.snapshot.dependencies
    assert (run.script, run.trigger) == (SCRIPT, Trigger.MANUAL)
    assert {c.runs for c in run.comparisons} == {RUNS}
    assert shop.target.requests["GET /elsewhere"] == 0


def test_a_replay_outlives_its_snapshot(shop: Shop, home: Path) -> None:
    """Removed by a prune while k6 runs: the measurement is kept, and its snapshot again."""
    old = runs_of(home)[0]
    assert old.snapshot is not None
    store = Store(home / "data")
    path = store.snapshot_path(old.snapshot.id)
    watching = Watching(started=lambda *_: path.unlink(missing_ok=True))
    pipeline = Pipeline(settings(home), store, stop=asyncio.Event())
    run = store.load(asyncio.run(pipeline.replay(old, env={}, watching=watching)).test_id)
    assert run.execution.outcome is Outcome.COMPLETED
    assert run.snapshot is not None
    assert store.snapshot_path(run.snapshot.id).exists()


def test_a_damaged_earlier_run_is_left_out(
    shop: Shop, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said; the others are compared with, and a change is seen as before."""
    path = Store(home / "data").run_path(runs_of(home)[0].test_id)
    path.write_bytes(path.read_bytes().replace(b"completed", b"completes", 1))
    shop.slow["pay"] = SLOWER
    run = run_shop(settings(home))
    assert run.anomaly_analysis.anomalies_detected
    assert {c.runs for c in run.comparisons} == {RUNS - 1}
    assert f"compared without an earlier one: {path}: is damaged" in caplog.text


def test_another_workload_starts_a_baseline_of_its_own(shop: Shop, home: Path) -> None:
    """One virtual user is not two; it is said, and nothing alarms however slow it is."""
    shop.slow["pay"] = SLOWER
    run = run_shop(settings(home), vus="1")
    assert run.anomaly_analysis.doubts == ["learning, 0 of 5 comparable runs"]
    assert not run.anomaly_analysis.anomalies_detected


def test_stopped_between_re_runs_it_is_neither_told_nor_normal(shop: Shop, home: Path) -> None:
    """Nobody is called, nothing compares with it, and the script has not run yet."""
    shop.slow["pay"] = SLOWER
    stop, starts = asyncio.Event(), iter([False, True])
    watching = Watching(started=lambda *_: stop.set() if next(starts, False) else None)
    run = run_shop(settings(home), stop=stop, watching=watching)
    assert not run.anomaly_analysis.anomalies_detected
    assert any("its re-runs are not done" in doubt for doubt in run.anomaly_analysis.doubts)
    assert not run.comparable
    assert (Store(home / "data").state("scripts").get(SCRIPT) or {}).get("ran") is not None
    first, again = new_runs(home)
    assert first == run
    assert again.execution.outcome is Outcome.ABORTED


def test_killed_during_confirmation_it_runs_again(shop: Shop, home: Path) -> None:
    """kill -9: the store is whole, the run that was not confirmed excuses nothing, and the
    next start runs the script again and confirms what it finds.
    """
    daemon = Daemon(home)
    try:
        shop.slow["pay"] = SLOWER
        Store(home / "data").state("scripts").delete(SCRIPT)  # the script is new to this home
        daemon.start(**ENVIRONMENT)
        first = daemon.run(SCRIPT, RUNS + 1)
        seen = shop.target.requests["GET /user"]
        daemon.until(lambda: daemon.store.load(first.test_id).comparisons, "the comparison")
        daemon.until(lambda: list((home / "data" / "work").glob("*/summary.json")) or
                     shop.target.requests["GET /user"] > seen, "the first re-run")  # fmt: skip
        daemon.end(signal.SIGKILL)
        killed = daemon.store.load(first.test_id)
        assert (killed.comparable, killed.anomaly_analysis.anomalies_detected) == (False, False)

        daemon.start(**ENVIRONMENT)
        daemon.until_logged("anomalous")
        confirmed = new_runs(home)[-3]
        assert confirmed.anomaly_analysis.findings[0].confirmed == "3 of 3"
        assert {c.runs for c in confirmed.comparisons} == {RUNS}
        lost = new_runs(home)[1]
        assert (lost.trigger, lost.execution.outcome) == (Trigger.CONFIRMATION, Outcome.ABORTED)
        assert daemon.end() == 0
    finally:
        daemon.close()


@pytest.mark.parametrize(
    ("changes", "comparable"),
    [
        ({}, True),
        ({"trigger": Trigger.CONFIRMATION}, False),
        ({"snapshot": None}, False),
        ({"generator": Generator(reasons=["short of CPU"])}, False),
    ],
)
def test_comparable(changes: dict[str, object], *, comparable: bool) -> None:
    """Only runs that ended, that are believed, and that reached the target."""
    assert is_comparable(make_run(**changes)) is comparable


def test_runs_that_ended_otherwise_or_failed_altogether_are_not_comparable() -> None:
    """Aborted, timed out; or every request failed."""
    run = make_run()
    for outcome in set(Outcome) - {Outcome.COMPLETED}:
        assert not is_comparable(replace(run, execution=replace(run.execution, outcome=outcome)))
    metrics = replace(run.metrics, failed_requests=run.metrics.total_requests)
    assert not is_comparable(replace(run, metrics=metrics))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "it has no series; requests, checks and custom metrics with a threshold make them"),
        ({"snapshot": None}, "its workload is not known"),
        ({"series": {"error_rate": 100.0}, "comparable": False}, "all of its requests failed"),
        ({"series": {"error_rate": 0.0}}, "compare.enabled was false"),
    ],
)
def test_why_a_run_was_not_compared(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    """Of several reasons the first, in one line; a trend of nothing says the same."""
    run = make_run(**{"comparable": True, "script": "a.js", **changes})
    Store(tmp_path).save(run)

    def told(*words: str) -> str:
        return str(CliRunner().invoke(application(), [*words, "--data", str(tmp_path)]).exception)

    assert told("compare") == f"run {run.test_id} was not compared: {why}"
    if run.comparable and not run.series:
        assert "has no series 'p95', and no other; requests" in told(
            "trend", "a.js", "--metric=p95"
        )


def test_a_replay_without_its_snapshot_says_so(home: Path) -> None:
    """One line that names the file; the same where it is damaged."""
    old = runs_of(home)[0]
    assert old.snapshot is not None
    store = Store(home / "data")
    path = store.snapshot_path(old.snapshot.id)
    pipeline = Pipeline(settings(home), store, stop=asyncio.Event())
    for damaged in (b"\0" * path.stat().st_size, b"damaged" * 200, b""):
        path.write_bytes(damaged)
        with pytest.raises(K6dError, match=r"snapshot\.tar is damaged: "):
            asyncio.run(pipeline.replay(old, env={}))
    path.unlink()
    with pytest.raises(K6dError, match=f"{path.name} is gone: the snapshot of run {old.test_id}"):
        asyncio.run(pipeline.replay(old, env={}))


def test_accepting_two_regressions_begins_with_the_later_one(tmp_path: Path) -> None:
    """Before it, one of the series was at its old level, and would be regressed again."""
    store = Store(tmp_path)
    old, new = "20261122-100000-000001", "20261122-110000-000001"
    regressed = Comparison(
        metric="error_rate", endpoint=None, unit="%", state="worse", observed=5.0, since=old
    )
    later = replace(regressed, metric="response_time_p95", unit="ms", since=new)
    run = make_run(comparisons=[regressed, later])
    assert accept(run, store, reason="") == new
    assert accept(replace(run, comparisons=[]), store, reason="") == run.test_id


def test_a_regression_lasts_however_many_runs_it_does(tmp_path: Path) -> None:
    """When all runs that are looked at are regressed, those before it say what was normal."""
    store, snapshot = Store(tmp_path / "data"), make_run().snapshot
    key, began = "response_time_p95", ""
    for number in range(20 + HISTORY_RUNS + 10):
        run = make_run(
            test_id=f"20261122-{120_000 + number}-aaaaaa",
            series={key: (100.0 if number < 20 else 150.0) + number % 3},
            comparable=True,
            snapshot=snapshot,
        )
        if number >= 20:
            worse = compare_all([run.series], history_of(run, store, root=tmp_path))
            assert [(c.state, c.since) for c in worse] == [("worse", began or None)], number
            began = began or run.test_id
            run = replace(run, comparisons=worse)
        store.save(run)
    back = replace(run, test_id="20261122-130000-aaaaaa", series={key: 101.0}, comparisons=[])
    (healthy,) = compare_all([back.series], history_of(back, store, root=tmp_path))
    assert healthy.state == "steady"


def test_a_long_history_takes_little_memory(tmp_path: Path) -> None:
    """Only what is compared of a run is held, however long its log."""
    store, log = Store(tmp_path / "data"), Log(head="said\n" * 20_000)
    for number in range(50):
        run = make_run(test_id=f"20261122-{120_000 + number}-aaaaaa", comparable=True, log=log)
        store.save(run)
    tracemalloc.start()
    assert len(history_of(run, store, root=tmp_path)) == 49
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20 * len(log.head)
