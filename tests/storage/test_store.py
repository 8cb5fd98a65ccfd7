"""The store: what is saved is found again, whatever crashed, and however many wrote."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import orjson
import pytest

from k6d.core.model import K6dError, Run, Severity, Trigger
from k6d.storage.documents import AtomicStorage, DamagedError
from k6d.storage.files import OLDEST_TEMP_S
from k6d.storage.record import new_test_id
from k6d.storage.repair import Repair
from k6d.storage.store import Store
from support.paths import TESTS
from support.records import NOON, make_anomaly, make_run

WRITER = """
import sys
from datetime import timedelta
from pathlib import Path
from support.records import NOON, make_run
from k6d.storage.record import new_test_id
from k6d.storage.store import Store

store, name, count = Store(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
for number in range(count):
    at = NOON + timedelta(seconds=number)
    store.save(make_run(test_id=new_test_id(at), timestamp=at, script=name))
    print("saved", flush=True)
"""


def start_writer(data: Path, *, name: str, count: int) -> subprocess.Popen[str]:
    """A process that saves `count` runs of the script `name` and prints a line after each."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(data), name, str(count)],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        text=True,
    )


def save_runs(store: Store, count: int, *, script: str = "a.js") -> list[str]:
    """Save `count` runs, one a minute from noon; return their ids, oldest first."""
    saved = []
    for number in range(count):
        run = run_at(NOON + timedelta(minutes=number), script=script)
        store.save(run)
        saved.append(run.test_id)
    return saved


def run_at(at: datetime, **changes: object) -> Run:
    """A run that started at `at`."""
    return make_run(test_id=new_test_id(at), timestamp=at, **changes)


def put_files(store: Store, start: datetime, count: int) -> None:
    """Put run files in place, one a second from `start`, without indexing them."""
    template = make_run()
    for number in range(count):
        at = start + timedelta(seconds=number)
        run = replace(template, test_id=f"{at:%Y%m%d-%H%M%S}-{number:06x}", timestamp=at)
        path = store.run_path(run.test_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(run, option=orjson.OPT_UTC_Z))


def index_files(data: Path) -> list[Path]:
    """The partitions of the index, oldest first."""
    return sorted(data.glob("index/generation-*/????-??/*.json"))


def ids(documents: list[dict[str, object]]) -> list[object]:
    """The ids of index documents."""
    return [document["test_id"] for document in documents]


def leftovers(data: Path) -> list[Path]:
    """Temporary files anywhere in the data folder."""
    return list(data.rglob(".*.tmp"))


def test_a_saved_run_loads_equal(tmp_path: Path) -> None:
    """Every field survives the way to the disk and back, in another Store as well."""
    run = make_run(anomaly_analysis=make_anomaly(), overrides={"vus": "2"})
    Store(tmp_path).save(run)
    assert Store(tmp_path).load(run.test_id) == run


def test_opening_a_store_and_reading_writes_nothing(tmp_path: Path) -> None:
    """`k6d history` on an empty or read-only folder leaves no trace."""
    store = Store(tmp_path / "data")
    assert store.history() == store.scripts() == []
    assert store.last("a.js") is None
    assert store.state("scripts").all() == {}
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_compact_json_in_the_record_order(tmp_path: Path) -> None:
    """The file lies in its month, has UTC times with Z, null for None, and the record's order."""
    store = Store(tmp_path)
    at = NOON.astimezone(timezone(timedelta(hours=2)))
    store.save(make_run(timestamp=at, snapshot=None))
    path = tmp_path / "runs" / "2026-11" / "20261122-120000-3f9a2c.json"
    text = path.read_text()
    assert text.startswith(
        '{"schema_version":1,"test_id":"20261122-120000-3f9a2c","timestamp":"2026-11-22T12:00:00Z"'
    )
    assert '"snapshot":null' in text
    assert path.stat().st_mode & 0o777 == 0o600
    record, seal = text.rsplit(',"crc32":')
    assert store.load_raw("20261122-120000-3f9a2c") == record.encode() + b"}"
    assert seal == f"{zlib.crc32(record.encode())}}}\n"


def _umask() -> int:
    now = os.umask(0o022)
    os.umask(now)
    return now


def test_the_index_holds_what_a_list_of_runs_shows(tmp_path: Path) -> None:
    """The index document has these fields, the worst finding at most 160 characters long."""
    store = Store(tmp_path)
    store.save(make_run(anomaly_analysis=make_anomaly("x" * 500)))
    assert store.history() == [
        {
            "test_id": "20261122-120000-3f9a2c",
            "timestamp": "2026-11-22T12:00:00Z",
            "script": "/srv/k6/checkout.js",
            "trigger": "changed",
            "status": "completed",
            "outcome": "completed",
            "anomalies": True,
            "severity": "high",
            "fingerprint": "9f86d081884c7d65",
            "workload": "2c26b46b68ffc68f",
            "overrides": False,
            "comparable": False,
            "execution_time": 61.2,
            "response_time_avg": 41.5,
            "response_time_p95": 88.25,
            "error_rate": 0.1,
            "requests_per_second": 100.0,
            "virtual_users": 10,
            "total_requests": 6000,
            "tags": None,
            "issue": "x" * 159 + "…",
        }
    ]


def test_history_is_newest_first_and_filtered(tmp_path: Path) -> None:
    """Script, limit and equal fields select; the order is that of time."""
    store = Store(tmp_path)
    first = save_runs(store, 3)
    store.save(run_at(NOON + timedelta(hours=1), script="b.js", trigger=Trigger.MANUAL))
    assert ids(store.history("a.js")) == first[::-1]
    assert ids(store.history("a.js", 2)) == first[:0:-1]
    assert [d["script"] for d in store.history(trigger="manual")] == ["b.js"]
    assert len(store.history(limit=None)) == 4
    assert [d["script"] for d in store.scripts()] == ["b.js", "a.js"]
    assert store.last("a.js") == store.history("a.js")[0]
    with pytest.raises(K6dError, match="no field 'colour'"):
        store.history(colour="red")


def test_runs_of_one_second_keep_their_order(tmp_path: Path) -> None:
    """Ids of one second end in chance, so the time stamp decides which is the newest."""
    store = Store(tmp_path)
    runs = [run_at(NOON + timedelta(milliseconds=20 * number)) for number in range(20)]
    for run in runs:
        store.save(run)
    assert ids(store.history()) == [run.test_id for run in reversed(runs)]


def test_saving_an_id_again_replaces_the_run(tmp_path: Path) -> None:
    """A confirmed run is saved with its final verdict; it stays one run."""
    store = Store(tmp_path)
    store.save(make_run())
    store.save(make_run(anomaly_analysis=make_anomaly()))
    assert [d["severity"] for d in store.history()] == ["high"]
    assert store.load("20261122-120000-3f9a2c").anomaly_analysis.severity is Severity.HIGH


def test_text_that_is_no_utf8_does_not_lose_the_run(tmp_path: Path) -> None:
    """A file name with stray bytes arrives as surrogates, which JSON cannot hold."""
    store = Store(tmp_path)
    store.save(make_run(script="/srv/caf\udce9.js"))
    assert store.load("20261122-120000-3f9a2c").script == "/srv/caf\\udce9.js"
    assert store.last("/srv/caf\udce9.js") is not None


def test_new_ids_are_utc_and_differ() -> None:
    """The id is the UTC time and six random hex digits."""
    now = datetime(2026, 11, 22, 14, 13, 14, tzinfo=timezone(timedelta(hours=2)))
    assert re.fullmatch(r"20261122-121314-[0-9a-f]{6}", new_test_id(now))
    assert new_test_id(now) != new_test_id(now)


@pytest.mark.parametrize(
    "test_id",
    ["../../etc/passwd", "20261122-120000-3f9a2c/..", "", "20261122-120000-3F9A2C", "٢" * 8],
)
def test_no_path_is_made_from_what_is_no_id(tmp_path: Path, test_id: str) -> None:
    """Traversal, emptiness, capitals and foreign digits are refused in every way in."""
    store = Store(tmp_path)
    for method in (store.load, store.load_raw, store.run_path, store.find):
        with pytest.raises(K6dError, match=r"is not the id of a run|names no run"):
            method(test_id)
    with pytest.raises(K6dError, match="is not the id of a run"):
        store.save(make_run(test_id=test_id))
    assert list(tmp_path.iterdir()) == []


def test_the_latest_run_is_no_re_run(tmp_path: Path) -> None:
    """Its run has the verdict, also as the newest of its script."""
    store = Store(tmp_path / "data")
    first = make_run(test_id="20261122-120000-000001")
    again = {"trigger": Trigger.CONFIRMATION, "confirms": first.test_id}
    store.save(first)
    store.save(make_run(test_id="20261122-120100-000002", **again))
    assert store.find("latest") == first.test_id
    assert (store.last(first.script) or {})["test_id"] == first.test_id


def test_find_takes_a_unique_start_or_end(tmp_path: Path) -> None:
    """An id, a unique start or end of four characters, or "latest" name a run."""
    store = Store(tmp_path)
    with pytest.raises(K6dError, match="there is no run yet"):
        store.find("latest")
    for minute in range(7):
        at = NOON + timedelta(minutes=minute)
        store.save(make_run(test_id=f"20261122-120{minute}00-aaaaa{minute}", timestamp=at))
    wanted = "20261122-120300-aaaaa3"
    assert store.find(wanted) == store.find("aaa3") == store.find("20261122-1203") == wanted
    assert store.find("latest") == "20261122-120600-aaaaa6"
    with pytest.raises(K6dError, match=r"2026 names 7 runs: 20261122-120600-aaaaa6, .* and 2 more"):
        store.find("2026")
    with pytest.raises(K6dError, match="no run beef"):
        store.find("beef")
    with pytest.raises(K6dError, match="at least 4"):
        store.find("aa3")


def test_loading_what_is_no_run_says_why(tmp_path: Path) -> None:
    """Missing, damaged, newer and merely extended files each get their own answer."""
    store = Store(tmp_path)
    run = make_run()
    with pytest.raises(K6dError, match=f"no run {run.test_id}"):
        store.load(run.test_id)
    store.save(run)
    path = store.run_path(run.test_id)
    record = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps(record | {"mood": "good"}))
    assert store.load(run.test_id) == run
    path.write_bytes(orjson.dumps(record | {"schema_version": 2, "metrics": []}))
    with pytest.raises(K6dError, match="written by a newer k6d"):
        store.load(run.test_id)
    path.write_bytes(orjson.dumps(record | {"script": None}))
    with pytest.raises(K6dError, match=r"json: is no run \(script: Input should"):
        store.load(run.test_id)
    path.write_bytes(b'{"schema_version":1,')
    with pytest.raises(K6dError, match="is no run"):
        store.load(run.test_id)


def test_a_snapshot_is_stored_once(tmp_path: Path) -> None:
    """The first archive of an id stays, as a copy that later edits of the source don't reach."""
    store, source = Store(tmp_path / "data"), tmp_path / "a.tar"
    source.write_bytes(b"first")
    path = store.put_snapshot("5d41402a", source)
    source.write_bytes(b"later")
    assert store.put_snapshot("5d41402a", source) == path == store.snapshot_path("5d41402a")
    assert path.read_bytes() == b"first"
    os.truncate(path, 3)
    store.put_snapshot("5d41402a", source)
    assert path.read_bytes() == b"later", "what a damaged disk cut off is replaced"
    with pytest.raises(K6dError, match="not the id of a snapshot"):
        store.put_snapshot("../x", source)
    with pytest.raises(K6dError, match=r"cannot read .*gone\.tar"):
        store.put_snapshot("abcd", tmp_path / "gone.tar")


def test_state_keeps_documents_by_key(tmp_path: Path) -> None:
    """Put replaces, delete forgets, what is returned is a copy, and other stores see it."""
    state, other = Store(tmp_path).state("scripts"), Store(tmp_path).state("scripts")
    state.put("a.js", {"kind": "test", "dependencies": {"lib.js": "1"}})
    assert other.get("a.js") == {"kind": "test", "dependencies": {"lib.js": "1"}}
    state.put("a.js", {"kind": "library"})
    state.put("b.js", {"kind": "test"})
    assert other.all() == {"a.js": {"kind": "library"}, "b.js": {"kind": "test"}}
    got = other.get("b.js")
    assert got is not None
    got["kind"] = "changed by the caller"
    assert other.get("b.js") == {"kind": "test"}
    other.delete("a.js")
    other.delete("a.js")
    assert state.get("a.js") is None
    with pytest.raises(K6dError, match="cannot name a state"):
        Store(tmp_path).state("../runs")
    with pytest.raises(K6dError, match="cannot keep 'c'"):
        state.put("c", {"at": object()})


def test_a_damaged_state_is_set_aside_by_repair(tmp_path: Path) -> None:
    """Until then it is an error that says so; afterwards the state starts anew."""
    store = Store(tmp_path)
    store.state("scripts").put("a.js", {"kind": "test"})
    path = tmp_path / "state" / "scripts.json"
    path.write_bytes(b'{"_default":')
    with pytest.raises(K6dError, match=r"scripts\.json: does not parse; restart k6d"):
        store.state("scripts").get("a.js")
    report = Store(tmp_path).repair()
    assert report.set_aside == [f"{path}.unreadable"]
    assert len(report.messages) == 1
    assert store.state("scripts").all() == {}


def test_a_flipped_bit_is_seen_wherever_it_is(tmp_path: Path) -> None:
    """What is read of index and state is what was written, or DamagedError, never something else.

    Files of older versions, without a checksum, are read as they are.
    """
    store = Store(tmp_path)
    save_runs(store, 1)
    store.state("queue").put("a.js", {"name": "a.js", "repeats": 0})
    chance = random.Random(6)
    for path in (*index_files(tmp_path), store.state("queue").path):
        whole = path.read_bytes()
        written = AtomicStorage(path, root=tmp_path).read()
        assert written
        for bit in chance.sample(range(8 * len(whole)), 200):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            with suppress(DamagedError):
                assert (AtomicStorage(path, root=tmp_path).read() or {}).get("_default") == written[
                    "_default"
                ]
        tables, check, _ = whole.rpartition(b',"check"')
        assert check
        path.write_bytes(tables + b"}")
        assert AtomicStorage(path, root=tmp_path).read() == written


def test_a_flipped_bit_in_a_run_is_no_other_number(tmp_path: Path) -> None:
    """What is read of a run's file is the run, or an error that names the file."""
    store, chance = Store(tmp_path), random.Random(7)
    run = make_run()
    store.save(run)
    path, raw = store.run_path(run.test_id), store.load_raw(run.test_id)
    assert b"crc32" not in raw
    whole = path.read_bytes()
    assert orjson.loads(whole).pop("crc32") == zlib.crc32(raw[:-1])
    for bit in chance.sample(range(8 * len(whole)), 2000):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with suppress(K6dError):
            assert store.load(run.test_id) == run
    path.write_bytes(whole.replace(b'"error_rate":', b'"error_rate":1', 1))
    with pytest.raises(K6dError, match=rf"{path}: is damaged \(checksum mismatch\)"):
        store.load(run.test_id)
    assert store.reindex() == 0
    assert Path(f"{path}.unreadable").exists()


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    """Two processes that save 100 runs each at once leave 200 files and 200 entries."""
    writers = [start_writer(tmp_path, name=name, count=100) for name in ("a.js", "b.js")]
    store = Store(tmp_path)
    while any(writer.poll() is None for writer in writers):
        seen = ids(store.history(limit=None))
        assert len(seen) == len(set(seen))
    for writer in writers:
        assert writer.communicate(timeout=120)[0].count("saved") == 100
        assert writer.returncode == 0
    assert len(store.history("a.js", None)) == len(store.history("b.js", None)) == 100
    assert store.repair() == Repair()


def test_a_killed_writer_leaves_a_store_that_repair_mends(tmp_path: Path) -> None:
    """After 25 kills at random instants every run file is whole and indexed."""
    store, chance, acknowledged = Store(tmp_path), random.Random(7), 0
    for _ in range(25):
        writer = start_writer(tmp_path, name="a.js", count=10_000)
        assert writer.stdout
        writer.stdout.readline()
        deadline = time.monotonic() + chance.uniform(0, 0.03)
        while time.monotonic() < deadline:
            pass
        writer.send_signal(signal.SIGKILL)
        acknowledged += 1 + writer.communicate(timeout=120)[0].count("saved\n")
        store.repair()
        files = {path.stem for path in tmp_path.glob("runs/*/*.json")}
        assert set(ids(store.history(limit=None))) == files
        assert ids(store.history("a.js", limit=None)) == ids(store.history(limit=None))
        assert len(files) >= acknowledged
        assert leftovers(tmp_path) == []
    for test_id in ids(store.history(limit=None)):
        assert isinstance(store.load(str(test_id)), Run)
    assert store.repair() == Repair()


def test_repair_agrees_index_and_files(tmp_path: Path) -> None:
    """Missing entries are added, stale ones dropped, files that are no run set aside."""
    store = Store(tmp_path)
    saved = save_runs(store, 4)
    store.run_path(saved[0]).unlink()
    unindexed = run_at(NOON + timedelta(hours=2))
    other = Store(tmp_path / "other")
    other.save(unindexed)
    other.run_path(unindexed.test_id).rename(store.run_path(unindexed.test_id))
    broken = store.run_path("20261122-110000-000000")
    broken.write_bytes(b'{"schema_version":1,"test_id":')
    report = store.repair()
    assert (report.added, report.dropped) == (1, 1)
    assert report.set_aside == [f"{broken}.unreadable"]
    assert "not a run" in report.messages[0]
    assert Path(f"{broken}.unreadable").exists()
    assert ids(store.history()) == [unindexed.test_id, *saved[:0:-1]]
    assert store.repair() == Repair()


def test_repair_leaves_the_runs_of_a_newer_k6d_alone(tmp_path: Path) -> None:
    """A file of a later schema that we cannot list is reported and stays where it is."""
    store = Store(tmp_path)
    save_runs(store, 1)
    newer = store.run_path("20261122-110000-000000")
    newer.write_bytes(b'{"schema_version":2,"name":"x"}')
    report = store.repair()
    assert report.set_aside == []
    assert "newer k6d" in report.messages[0]
    assert newer.exists()


def test_repair_removes_only_leftovers_of_the_dead(tmp_path: Path) -> None:
    """A temporary file of a living process stays, unless it is older than any write."""
    store = Store(tmp_path)
    save_runs(store, 1)
    folder = tmp_path / "runs" / "2026-11"
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead = folder / f".x.json.{child.pid}-00000000.tmp"
    alive = folder / f".x.json.{os.getpid()}-00000000.tmp"
    ancient = tmp_path / "index" / f".x.json.{os.getpid()}-00000001.tmp"
    for path in (dead, alive, ancient):
        path.touch()
    past = time.time() - OLDEST_TEMP_S - 1
    os.utime(ancient, (past, past))
    assert store.repair().leftovers_removed == 2
    assert leftovers(tmp_path) == [alive]


def test_a_damaged_partition_is_rebuilt_by_whoever_meets_it(tmp_path: Path) -> None:
    """Reading, saving and repairing each mend a partition that does not parse."""
    store = Store(tmp_path)
    saved = save_runs(store, 3)
    for damage in (b"", b"[]", b'{"_default":{"1":{}}}', b'{"_default":{"x'):
        index_files(tmp_path)[0].write_bytes(damage)
        assert ids(store.history()) == saved[::-1]
    index_files(tmp_path)[0].write_bytes(b"\0" * 100)
    run = run_at(NOON + timedelta(hours=1))
    store.save(run)
    assert ids(store.history()) == [run.test_id, *saved[::-1]]
    index_files(tmp_path)[0].write_bytes(b"{")
    report = store.repair()
    assert (report.added, report.partitions_rebuilt) == (4, 1)
    assert len(list(tmp_path.glob("index/generation-*"))) == 1


def test_a_lost_index_comes_back(tmp_path: Path) -> None:
    """Whoever deletes the index loses nothing."""
    store = Store(tmp_path)
    saved = save_runs(store, 3)
    for path in [*index_files(tmp_path), tmp_path / "index" / "current"]:
        path.unlink()
    assert ids(Store(tmp_path).history()) == saved[::-1]


def test_reindex_builds_the_same_index(tmp_path: Path) -> None:
    """What is rebuilt from the files equals what was saved; progress ends at the total."""
    store = Store(tmp_path)
    save_runs(store, 5)
    before, old = store.history(), index_files(tmp_path)
    store.run_path("20261122-110000-000000").write_bytes(b"oops")
    progress: list[tuple[int, int]] = []
    assert store.reindex(lambda done, total: progress.append((done, total))) == 5
    assert store.history() == before
    assert progress[-1] == (6, 6)
    assert not any(path.exists() for path in old)
    assert store.run_path("20261122-110000-000000").with_suffix(".json.unreadable").exists()


def test_readers_see_whole_indexes_during_reindex(tmp_path: Path) -> None:
    """A reader that lists while another process rebuilds never misses a run."""
    store = Store(tmp_path)
    saved = set(save_runs(store, 50))
    code = (
        "import sys; from pathlib import Path; from k6d.storage.store import Store\n"
        "for _ in range(30): Store(Path(sys.argv[1])).reindex()"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    while child.poll() is None:
        assert set(ids(store.history(limit=None))) == saved
    assert child.returncode == 0


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.stat()  # all of it would also tell when the file was read
    return status.st_ino, status.st_mtime_ns, status.st_size


def test_a_save_rewrites_one_partition(tmp_path: Path) -> None:
    """With 750 runs stored, a new run touches the newest partition and no other."""
    store = Store(tmp_path)
    put_files(store, NOON, 750)
    assert store.reindex() == 750
    before = {path: _identity(path) for path in index_files(tmp_path)}
    assert len(before) == 3
    for number in range(2):
        store.save(run_at(NOON + timedelta(hours=2, seconds=number)))
    after = {path: _identity(path) for path in index_files(tmp_path)}
    assert all(after[path] == before[path] for path in before)
    assert len(after) == 4
    store.save(run_at(NOON + timedelta(seconds=120)))
    assert [len(orjson.loads(p.read_bytes())["_default"]) for p in index_files(tmp_path)] == [
        *(125, 125, 1, 250, 250, 2)
    ]
    everything = ids(store.history(limit=None))
    assert len(set(everything)) == len(everything) == 753
    assert everything == sorted(everything, key=lambda i: str(i)[:15], reverse=True)


def test_older_runs_find_their_place(tmp_path: Path) -> None:
    """Runs from before the first one indexed, restored from a backup say, are listed in order."""
    store = Store(tmp_path)
    put_files(store, NOON, 1_000)
    assert store.reindex() == 1_000
    put_files(store, NOON - timedelta(hours=2), 600)
    assert store.repair().added == 600
    store.save(run_at(NOON - timedelta(hours=3)))
    everything = ids(store.history(limit=None))
    assert len(everything) == 1_601
    assert everything == sorted(everything, reverse=True)
    assert store.repair() == Repair()


def test_repair_goes_by_the_ranges_of_partitions(tmp_path: Path) -> None:
    """A split that was cut off is no difference; a damaged partition in the middle is filled."""
    store = Store(tmp_path)
    put_files(store, NOON, 625)
    store.reindex()
    first, second, _ = index_files(tmp_path)
    whole = orjson.loads(first.read_bytes())
    whole["_default"] |= orjson.loads(second.read_bytes())["_default"]
    del whole["check"]
    first.write_bytes(orjson.dumps(whole))  # the upper half is written first, then the lower
    assert store.repair() == Repair()
    second.write_bytes(b"{")
    report = store.repair()
    assert (report.added, report.dropped, report.partitions_rebuilt) == (250, 0, 1)
    everything = ids(store.history(limit=None))
    assert len(set(everything)) == len(everything) == 625
    assert everything == sorted(everything, reverse=True)


FULL = """
import resource, signal, sys
from pathlib import Path
from support.records import make_run
from k6d.core.model import K6dError
from k6d.storage.store import Store

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store, what = Store(Path(sys.argv[1])), sys.argv[2]
run = make_run(test_id="20261122-130000-000001")
size = {"run": 1000, "index": len(store.load_raw("20261122-120000-3f9a2c")) + 500}[what]
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
try:
    store.save(run)
except K6dError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
store.save(make_run(test_id="20261122-140000-000002"))
print(len(store.history(limit=None)))
"""


@pytest.mark.parametrize(("what", "entries"), [("run", 21), ("index", 22)])
def test_a_disk_that_refuses_leaves_the_store_usable(
    tmp_path: Path, what: str, entries: int
) -> None:
    """A write cut off in the run file or in the index is told, leaves nothing, and is made good."""
    store = Store(tmp_path)
    save_runs(store, 19)
    store.save(make_run())
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), what],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    message, count = done.stdout.splitlines()
    assert "file too large; raise the limit on file sizes" in message
    assert str(tmp_path) in message
    assert ("is kept, but not in the index" in message) == (what == "index")
    assert int(count) == entries
    assert leftovers(tmp_path) == []
    assert store.repair() == Repair()
    assert len(list(tmp_path.glob("runs/*/*.json"))) == entries


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The error names the path when a file is where a folder should be."""
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(K6dError, match=r"cannot write .*/runs/2026-11/.*\.json: "):
        Store(tmp_path).save(make_run())


@pytest.mark.parametrize(("field", "value"), [("script", None), ("test_id", {}), ("test_id", None)])
def test_an_entry_of_another_shape_is_rebuilt_from_its_run(
    tmp_path: Path, field: str, value: object
) -> None:
    """The last of several in the index, without a checksum; None: the field is gone."""
    store = Store(tmp_path)
    save_runs(store, 3)
    before = store.history()
    (path,) = index_files(tmp_path)
    tables = orjson.loads(path.read_bytes())
    del tables["check"]
    entry = list(tables["_default"].values())[-1]
    del entry[field]
    if value is not None:
        entry[field] = value
    path.write_bytes(orjson.dumps(tables))
    assert Store(tmp_path).history() == before
