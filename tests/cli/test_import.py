"""The original service's SQLite file and JSON backups, as their owners bring them to k6d."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from k6d.cli.legacy_import import take_over
from k6d.cli.legacy_snapshots import Baselines
from k6d.core.model import K6dError, Outcome, Trigger
from k6d.settings import load
from k6d.storage.query import Query
from k6d.storage.store import Store
from support.daemon import hitting
from support.original_service import RAW, SCRIPT, backup, insert, opened, row, sqlite_file
from support.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.target import Target

MANY = 1000


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A daemon over 1,000 imported runs; every tenth had an anomaly."""
    made = Served(tmp_path_factory.mktemp("moved"))
    found = {"anomalies_detected": 1, "severity": "HIGH", "issues": '["High response time: 3500"]'}
    rows = [row(n, **(found if n % 10 == 0 else {})) for n in range(MANY)]
    file = sqlite_file(made.home / "loadgenie.db", rows)
    done = made.call("import", str(file))
    assert done.stdout.splitlines() == [
        "1,000 runs taken over; 0 were there already",
        "the error rate of 1,000 runs is unknown: the original stored 0 for every run",
    ], done.stderr
    try:
        yield made.start()
    finally:
        made.close()


def test_a_thousand_runs_come_back_out(moved: Served) -> None:
    """By `GET results`: script, options, metrics, k6's own output, as the original gave them."""
    page = moved.get("/api/v1/test/history?limit=1000").json["tests"]
    assert len(page) == MANY
    assert {one["trigger"] for one in page} == {"imported"}
    newest = moved.get(f"/api/v1/test/results/{page[0]['test_id']}").json
    wanted = row(MANY - 1)
    assert newest["script_content"] == SCRIPT
    assert newest["options"] == {"vus": 10, "duration": "30s"}
    assert newest["raw_output"] == RAW
    assert newest["console_output"] == wanted["console_output"]
    assert newest["imported"] == {"test_id": wanted["test_id"]}
    local = datetime.fromisoformat(wanted["timestamp"]).astimezone()
    assert datetime.fromisoformat(newest["timestamp"]) == local
    assert newest["metrics"]["response_time_avg"] == wanted["response_time_avg"]
    assert newest["metrics"]["virtual_users"] == 10
    assert newest["metrics"]["error_rate"] is None
    log = moved.get(f"/api/v1/runs/{newest['test_id']}/log")
    assert log.text == wanted["console_output"]


def test_imported_runs_are_searched_counted_and_drawn(moved: Served) -> None:
    """Marked as imported everywhere; they are no baseline."""
    found = moved.get("/api/v1/test/search?trigger=imported&severity=high&limit=1000").json
    assert found["total_count"] == MANY // 10
    assert found["tests"][0]["anomaly_analysis"]["issues"] == ["High response time: 3500"]
    counted = moved.get("/api/v1/test/statistics?days=3650").json
    assert (counted["total_tests"], counted["anomaly_tests"]) == (MANY, MANY // 10)
    assert counted["severity_breakdown"] == {"high": MANY // 10}
    name = found["tests"][0]["script"]
    assert name.startswith("one-off/")
    page = moved.get(f"/script?name={name}&metric=response_time_avg").text
    assert "was imported" in page
    drawn = moved.call("trend", name, "--metric", "response_time_avg", "--json")
    runs = json.loads(drawn.stdout)["runs"]
    assert runs[-1]["imported"]
    assert runs[-1]["value"] == row(MANY - 1)["response_time_avg"]
    assert moved.store.history(comparable=True) == []
    history = moved.call("history", "--limit", "1", "--json")
    assert json.loads(history.stdout)[0]["trigger"] == "imported"
    assert "healthy imported" in moved.call("history", "--limit", "1").stdout
    assert counted["imported_tests"] == MANY
    assert "1,000 were imported" in moved.call("stats", "--days", "3650").stdout
    assert "Of these imported" in moved.get("/statistics?days=3650").text
    newest = json.loads(history.stdout)[0]["test_id"]
    assert f"run {MANY - 1}" in moved.get(f"/runs/{newest}").text


def test_an_imported_run_is_not_replayed(moved: Served) -> None:
    """Its options are not all known; the message names what to do instead."""
    done = moved.call("replay", "latest")
    assert done.returncode != 0
    assert "was imported" in done.stderr
    assert "script_content" in done.stderr


@pytest.mark.parametrize("wal", [False, True], ids=["journal", "WAL"])
def test_a_file_that_its_owner_has_open(tmp_path: Path, wal: bool) -> None:
    """What is committed is taken over, also when it is only in the WAL; the owner writes on."""
    file, store = tmp_path / "a.db", Store(tmp_path / "data")
    with closing(opened(file, [row(1), row(2)], wal=wal)) as owner:
        owner.execute("BEGIN")
        owner.execute("SELECT count(*) FROM test_runs").fetchone()
        assert take_over(file, store).new == 2
        owner.commit()
        insert(owner, [row(3)])
        again = take_over(file, store)
        assert (again.new, again.present) == (1, 2)
    assert len(store.history(limit=None)) == 3


@pytest.mark.parametrize("wal", [False, True], ids=["journal", "WAL"])
def test_nothing_is_left_beside_the_owners_file(tmp_path: Path, wal: bool) -> None:
    """A file that is open nowhere stays as it is, to the byte, and alone in its folder."""
    (tmp_path / "theirs").mkdir()
    file = sqlite_file(tmp_path / "theirs" / "a.db", [row(1), row(2)], wal=wal)
    before = file.read_bytes()
    assert take_over(file, Store(tmp_path / "data")).new == 2
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["a.db"]


def test_a_folder_of_backups_and_a_database_are_one_history(tmp_path: Path) -> None:
    """The same run is one run, whichever form it comes in; twice is once."""
    folder, store = tmp_path / "backups", Store(tmp_path / "data")
    (folder / "2026").mkdir(parents=True)
    for number in range(4):
        (folder / "2026" / f"test_{number}.json").write_text(json.dumps(backup(number)))
    (folder / "cut.json").write_text('{"test_id": "x", "time')
    (folder / "package.json").write_text('{"name": "web", "scripts": {"dev": "vite"}}')
    (folder / "notes.txt").write_text("no JSON")
    done = take_over(folder, store)
    assert (done.new, done.present) == (4, 0)
    assert [place for place, _ in done.skipped] == ["cut.json", "package.json"]
    file = sqlite_file(tmp_path / "a.db", [row(number) for number in range(5)])
    done = take_over(file, store)
    assert (done.new, done.present, done.skipped) == (1, 4, [])
    assert (take_over(folder / "2026" / "test_0.json", store)).present == 1


def test_rows_that_are_no_runs_are_left_out_with_the_reason(tmp_path: Path) -> None:
    """One bad row costs itself alone; a failed run without numbers is a run."""
    rows = [
        row(1, timestamp="yesterday"),
        row(2, response_time_avg="fast"),
        row(3, test_id=""),
        row(4, status="failed", response_time_avg=None, total_requests=None, raw_output=None),
        row(5, issues="one text", recommendations=None, anomalies_detected=1, severity="medium"),
        row(6, raw_output="no JSON at all", execution_time=float("inf"), confidence=None),
        row(7, raw_output="[" * 5000 + "]" * 5000),
        row(8, raw_output='{"big": 99999999999999999999999, "nan": NaN}'),
        row(9, error_rate=12.5),
        row(11, raw_output="[" * 252 + "]" * 252, timestamp="2026-03-02T00:00:00Z"),
        row(10, timestamp=row(9)["timestamp"]),
    ]
    store = Store(tmp_path / "data")
    done = take_over(sqlite_file(tmp_path / "a.db", rows), store)
    assert done.new == 8
    assert [place for place, _ in done.skipped] == [f"test_runs row {n}" for n in (1, 2, 3)]
    reasons = [why for _, why in done.skipped]
    assert "Invalid isoformat string: 'yesterday'" in reasons[0]
    assert reasons[1].startswith("metrics.response_time_avg: Input should be a valid number")
    assert reasons[2] == "test_id: is empty"
    runs = {run.imported["test_id"][-2:]: run for run in _all(store) if run.imported}
    assert runs["04"].execution.outcome is Outcome.NO_DATA
    assert runs["04"].metrics.total_requests is None
    assert runs["05"].anomaly_analysis.issues == ["one text"]
    assert runs["06"].imported == runs["06"].imported | {"raw_output": "no JSON at all"}
    assert runs["08"].imported["raw_output"] == {"big": 1e23, "nan": None}
    assert runs["11"].imported["raw_output"].startswith("[[[")
    assert runs["11"].timestamp == datetime(2026, 3, 2, tzinfo=UTC)
    assert runs["09"].metrics.error_rate == 12.5
    assert runs["10"].timestamp == runs["09"].timestamp
    assert done.unknown_error_rate == 7


def test_secrets_are_taken_out_of_what_was_written(tmp_path: Path) -> None:
    """As out of a run of k6d's own: logins in URLs, tokens; in keys and lists, too."""
    login, store = "http://bob:hunter2pw@shop.example/", Store(tmp_path / "data")
    raw = {"metrics": {f"http_req_duration{{url:{login}}}": {"avg": 1}}, "urls": [login]}
    changes = {"anomalies_detected": 1, "severity": "high", "issues": json.dumps([login])}
    rows = [row(1, raw_output=json.dumps(raw), console_output=f"GET {login} failed\n", **changes)]
    assert take_over(sqlite_file(tmp_path / "a.db", rows), store).new == 1
    (found,) = store.history()
    kept = store.load_raw(found["test_id"])
    assert b"hunter2pw" not in kept
    assert b"shop.example" in kept


def _all(store: Store) -> list:
    return [store.load(found["test_id"]) for found in store.history(limit=None)]


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE albums (id INTEGER)")


def _damaged(path: Path) -> None:
    sqlite_file(path, [row(number) for number in range(200)])
    data = bytearray(path.read_bytes())
    half = len(data) // 2 // 4096 * 4096
    data[half : half + 8192] = b"\xff" * 8192
    path.write_bytes(data)


def _cut(path: Path) -> None:
    sqlite_file(path, [row(number) for number in range(200)])
    path.write_bytes(path.read_bytes()[:20_000])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_foreign, "has no table test_runs"),
        (_damaged, "damaged|cannot be read as SQLite"),
        (_cut, "damaged|cannot be read as SQLite"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + b"x" * 500), "as SQLite"),
        (lambda path: path.mkdir(), "holds no JSON backup"),
        (lambda path: None, "cannot be read: no such file"),
    ],
    ids=["foreign", "damaged", "cut", "garbage", "empty folder", "nothing"],
)
def test_what_is_damaged_or_foreign_changes_nothing(tmp_path: Path, make, words: str) -> None:
    """One line that names the file; not even the data folder is made."""
    file = tmp_path / "a.db"
    make(file)
    with pytest.raises(K6dError, match=rf"^{file}: .*(?:{words})"):
        take_over(file, Store(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_as_baseline_later_runs_compare_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """k6 says which workload the script and its options are; a posted run has the same one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "k6d.toml").touch()
    text = hitting("http://127.0.0.1:9/")
    rows = [row(number, script_content=text, test_options='{"vus": 1}') for number in range(6)]
    rows += [
        row(7, script_content="export default function ( {"),
        row(8, script_content=None),
        row(9, script_content=text, status="failed"),
    ]
    settings, store = load(data=tmp_path / "data"), Store(tmp_path / "data")
    file = sqlite_file(tmp_path / "a.db", rows)
    done = take_over(file, store, baseline=Baselines(settings, store))
    assert (done.new, done.baseline) == (9, 6)
    assert sum(done.no_baseline.values()) == 3
    assert any("k6 refuses its script" in why for why in done.no_baseline)
    found = store.history(comparable=True, limit=None)
    (workload,) = {one["workload"] for one in found}
    assert len(found) == 6
    run = store.load(found[0]["test_id"])
    assert run.series["response_time_p95"] == 420.0
    assert "error_rate" not in run.series
    assert run.trigger is Trigger.IMPORTED
    assert run.snapshot is not None
    posted = Baselines(settings, store)(run, text)[0]
    assert posted.snapshot is not None
    assert posted.snapshot.workload == workload
    assert len(store.search(Query(trigger="imported", since=datetime(2026, 1, 1, tzinfo=UTC)))) == 9


def test_a_baseline_is_replayed(tmp_path: Path, target: Target) -> None:
    """With --as-baseline k6 made an archive of the script and its options, and that runs again."""
    made = Served(tmp_path)
    text = hitting(f"{target.url}/again").replace("iterations: 2, ", "")
    one = row(1, script_content=text, test_options='{"vus": 3, "iterations": 6}')
    done = made.call("import", str(sqlite_file(tmp_path / "a.db", [one])), "--as-baseline")
    assert done.returncode == 0, done.stderr
    (old,) = made.runs(made.store.history()[0]["script"])
    replayed = made.call("replay", "latest", "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert target.requests["GET /again"] == 6
    new = json.loads(replayed.stdout)
    assert old.snapshot is not None
    assert (new["script"], new["snapshot"]["workload"]) == (old.script, old.snapshot.workload)
    assert new["trigger"] == "manual"


def test_what_the_original_kept_stays_as_long_as_its_run(tmp_path: Path) -> None:
    """Runs are years old when they come; retention does not take their output away at once."""
    made = Served(tmp_path)
    made.call("import", str(sqlite_file(tmp_path / "a.db", [row(1)])))
    before = made.store.run_path(made.store.find("latest")).read_bytes()
    pruned = made.call("prune", K6D_RETENTION__FULL_DAYS="1", K6D_RETENTION__DETAIL_DAYS="2")
    assert pruned.returncode == 0, pruned.stderr
    assert made.store.run_path(made.store.find("latest")).read_bytes() == before


@pytest.mark.parametrize("source", ["data", "."], ids=["the folder", "a folder above it"])
def test_backups_in_the_data_folder_itself(tmp_path: Path, source: str) -> None:
    """K6_RESULTS_DIR is both; what k6d has made of a run is not imported as another run."""
    made = Served(tmp_path)
    made.data.mkdir()
    for number in range(2):
        (made.data / f"test_{number}.json").write_text(json.dumps(backup(number)))
    for expected in ("2 runs taken over; 0 were", "0 runs taken over; 2 were"):
        done = made.call("import", str(tmp_path / source))
        assert done.stdout.startswith(f"{expected} there already\n"), (done.stdout, done.stderr)
    assert len(made.store.history(limit=None)) == 2
