"""The two copies of the index, by month and by script: equal after any act, kill or damage."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from k6d.storage.index import Index
from k6d.storage.record import encodable, index_document
from k6d.storage.repair import Repair
from k6d.storage.store import Store
from support.many_runs import made, write
from support.records import make_run

UNTIL = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
SCRIPTS = 7

# For each line of its standard input this does one act in a fork of its own, which the kernel kills
# before the write, rename or removal of that number.
KILLED = """
import os, signal, sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from k6d.storage import data_folder
from k6d.storage.store import Store
from support.records import make_run

data, left, test_id = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

def counted(event, args):
    global left
    if event in ("os.rename", "os.remove") and str(data) in str(args[0]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

def do(act):
    store, at = Store(data), datetime(2026, 10, 30, 1, 2, 3, tzinfo=UTC)
    if act == "repair" and store.run_path(test_id).exists():
        store.run_path(test_id).unlink()
    sys.addaudithook(counted)
    if act == "save":
        store.save(make_run(test_id="20261030-010203-00000a", timestamp=at, script="script-002.js"))
    elif act == "amend":
        store.amend(test_id, lambda run: replace(run, status="failed"))
    elif act == "delete":
        store.delete([row["test_id"] for row in store.history(limit=40)[4:]])
    else:
        store.repair()

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        do(line.strip())
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """900 runs of seven scripts, one every two hours, in four months."""
    store = Store(tmp_path)
    write(store, made(900, until=UNTIL, apart=timedelta(hours=2), scripts=SCRIPTS))
    store.reindex()
    return store


def copies(store: Store) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The documents by month, and those by script, both newest first."""
    names = [f"script-{number:03}.js" for number in range(SCRIPTS)]
    of_scripts = [row for name in names for row in store.history(name, limit=None)]
    return store.history(limit=None), sorted(of_scripts, key=lambda d: d["test_id"], reverse=True)


def months(data: Path) -> list[Path]:
    """The partitions of months, oldest first."""
    return sorted(data.glob("index/generation-*/????-??/*.json"))


def of_scripts(data: Path) -> list[Path]:
    """The partitions of scripts."""
    return sorted(data.glob("index/generation-*/scripts/*/*.json"))


def test_both_copies_are_equal_after_each_act(store: Store) -> None:
    """Runs saved at any time, changed and removed, in random order."""
    chance = random.Random(3)
    for number in range(60):
        known = [row["test_id"] for row in store.history(limit=None)]
        match number % 3:
            case 0:
                at = UNTIL - timedelta(minutes=chance.randrange(100_000))
                test_id = f"{at:%Y%m%d-%H%M%S}-{number:06x}"
                name = f"script-{chance.randrange(SCRIPTS):03}.js"
                store.save(make_run(test_id=test_id, timestamp=at, script=name))
            case 1:
                run = store.load(chance.choice(known))
                store.save(
                    make_run(test_id=run.test_id, timestamp=run.timestamp, script=run.script)
                )
            case _:
                store.delete(chance.sample(known, 20))
    by_month, by_script = copies(store)
    assert by_month == by_script
    assert len(by_month) == 900 + 20 - 400
    assert {row["test_id"] for row in by_month} == {
        p.stem for p in store.run_path("20261101-000000-000000").parents[1].rglob("*.json")
    }
    assert store.repair() == Repair()


def test_scripts_and_their_order(store: Store) -> None:
    """The script that ran last comes first, in the list and among the latest states."""
    expected = [f"script-{number % SCRIPTS:03}.js" for number in range(899, 899 - SCRIPTS, -1)]
    assert [row["script"] for row in store.scripts()] == expected
    assert list(store.latest_states()) == expected
    states = store.latest_states(recent=5)
    for name in expected:
        rows = store.history(name, 5)
        assert states[name].last == rows[0]
        assert states[name].values == [row["response_time_p95"] for row in rows[::-1]]


def test_a_script_is_read_alone(store: Store, tmp_path: Path) -> None:
    """What lies in the months is not read: here it could not be."""
    expected = [row for row in store.history(limit=None) if row["script"] == "script-003.js"]
    for path in months(tmp_path):
        path.write_bytes(b"{")
    assert store.history("script-003.js", limit=None) == expected
    assert store.history("no.js") == []
    assert store.last("script-003.js") == expected[0]
    assert store.repair().partitions_rebuilt == len(months(tmp_path))
    by_month, by_script = copies(store)
    assert by_month == by_script


@pytest.mark.parametrize("damage", ["gone", "shorter", "older", "{"])
def test_what_a_killed_writer_did_not_add_to_a_script_is_added(
    store: Store, tmp_path: Path, damage: str
) -> None:
    """A partition of a script lacks runs, has them as they were, or does not parse."""
    before = copies(store)
    newest = of_scripts(tmp_path)[-1]
    if damage == "gone":
        newest.unlink()
    elif damage == "{":
        newest.write_bytes(b"{")
    else:
        index = Index(tmp_path / "index", root=tmp_path)
        generation = index.generation()
        assert generation
        script = generation.script_of(newest)
        kept = list(script.newest_first([newest.stem]))[::-1]
        script.put(
            newest.stem,
            kept[:-1] if damage == "shorter" else [{**kept[0], "issue": "x"}, *kept[1:]],
        )
    store.repair()
    assert copies(store) == before


def test_a_reader_mends_the_partition_of_a_script(store: Store, tmp_path: Path) -> None:
    """Each one that it meets, the first and the last of a script among them."""
    before = copies(store)
    for path in of_scripts(tmp_path):
        path.write_bytes(b"{")
    assert list(store.latest_states()) == [row["script"] for row in store.scripts()]
    assert copies(store) == before
    for path in of_scripts(tmp_path):
        path.write_bytes(b"[]")
    store.delete([before[0][5]["test_id"]])
    assert store.history(before[0][0]["script"], 1) == before[0][:1]


def test_partitions_without_runs_go(store: Store, tmp_path: Path) -> None:
    """When the old runs are removed, no empty file is left, and new runs find their place."""
    rows = store.history(limit=None)
    store.delete([row["test_id"] for row in rows[10:]])
    assert len(months(tmp_path)) == 1
    assert len(of_scripts(tmp_path)) == SCRIPTS
    assert store.history(limit=None) == rows[:10]
    early = datetime(2026, 8, 1, tzinfo=UTC)
    store.save(make_run(test_id="20260801-000000-000000", timestamp=early, script="script-000.js"))
    assert len(store.history(limit=None)) == 11
    assert store.repair() == Repair()


def test_a_name_that_is_no_utf8_has_a_folder(tmp_path: Path) -> None:
    """Its runs are found by the name as the disk has it."""
    store, name = Store(tmp_path), "caf\udce9.js"
    store.save(make_run(script=name))
    assert store.history(name) == store.history(encodable(name)) == store.history()
    assert store.last(name)


def settled(store: Store, data: Path) -> None:
    """Let the times of all files be older than one tick of a coarse clock, then check."""
    past = time.time() - 10
    for path in [*data.glob("index/generation-*/*/*.json"), *data.glob("runs/*")]:
        os.utime(path, (past, past))
    store.repair()


def parts_read(store: Store, data: Path) -> int:
    """How many partitions of months a check reads: here no partition could be read.

    Their files keep size and time, so a check cannot know. The others get their contents back.
    """
    garbage = {}
    for path in months(data):
        status, contents = path.stat(), path.read_bytes()
        path.write_bytes(b"x" * len(contents))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        garbage[path] = status, contents
    report = store.repair()
    for path, (status, contents) in garbage.items():
        if path.read_bytes() == b"x" * len(contents):
            path.write_bytes(contents)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return report.partitions_rebuilt


def test_a_check_reads_only_what_changed(store: Store, tmp_path: Path) -> None:
    """Nothing after a check; the partition of a new, a changed or a missing run."""
    assert len(months(tmp_path)) > 3
    settled(store, tmp_path)
    assert parts_read(store, tmp_path) == 0
    rows = store.history(limit=None)
    run = store.load(rows[500]["test_id"])
    store.save(make_run(test_id=run.test_id, timestamp=run.timestamp, script=run.script))
    assert parts_read(store, tmp_path) == 1
    settled(store, tmp_path)
    store.run_path(rows[10]["test_id"]).unlink()
    assert parts_read(store, tmp_path) == 1
    assert store.repair() == Repair()
    by_month, by_script = copies(store)
    assert [row["test_id"] for row in by_month] == [row["test_id"] for row in by_script]
    assert len(by_month) == 899


def test_a_lost_or_damaged_record_of_checks_means_that_all_is_checked(
    store: Store, tmp_path: Path
) -> None:
    """Whatever it holds, a stale entry is found."""
    settled(store, tmp_path)
    (record,) = tmp_path.glob("index/generation-*/checked.json")
    whole = record.read_bytes()
    for number, damage in enumerate(
        [b"", b"{", b"[]", b'{"2026-10":1}', whole[:-9] + b"1}\n", None]
    ):
        if damage is None:
            record.unlink()
        else:
            record.write_bytes(damage)
        store.run_path(store.history(limit=None)[number * 40]["test_id"]).unlink()
        assert store.repair().dropped == 1
    assert len(store.history(limit=None)) == 900 - 6


def test_what_changes_in_the_tick_of_a_check_is_found_by_the_next(store: Store) -> None:
    """A folder that was just changed is compared again, although its time may be the same."""
    store.repair()
    path = store.run_path(store.history(limit=1)[0]["test_id"])
    before = path.parent.stat()
    path.unlink()
    os.utime(path.parent, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.repair().dropped == 1


@pytest.mark.parametrize("step", range(8))
def test_a_kill_between_two_writes_is_mended(store: Store, tmp_path: Path, step: int) -> None:
    """Of a save, a removal and a repair, after each number of written or removed files."""
    settled(store, tmp_path)
    rows = store.history(limit=None)
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(step), rows[3]["test_id"]]
    environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, bufsize=1, **pipes) as process:
        for act in ("save", "amend", "delete", "repair"):
            assert process.stdin and process.stdout
            process.stdin.write(f"{act}\n")
            assert int(process.stdout.readline()) in (0, -signal.SIGKILL)
            store.repair()
            by_month, by_script = copies(store)
            assert by_month == by_script
            files = {path.stem for path in tmp_path.glob("runs/*/*.json")}
            assert {row["test_id"] for row in by_month} == files
            if act == "amend":
                (row,) = store.documents([rows[3]["test_id"]])
                assert row == index_document(orjson.loads(store.load_raw(row["test_id"])))
            assert store.repair() == Repair()


LIMITED = """
import resource, signal, sys
from pathlib import Path
from k6d.storage.repair import Repair
from k6d.storage.store import Store

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
store = Store(Path(sys.argv[1]))
assert store.repair() == Repair()
store.check_index()
print(len(store.history(limit=None)), store.statistics(days=3650).total_tests)
"""


def test_a_full_disk_stops_no_check(store: Store, tmp_path: Path) -> None:
    """A start needs no room while nothing is to be repaired."""
    for path in [*tmp_path.glob("index/*/checked.json"), *tmp_path.glob("index/*/facts/*")]:
        path.unlink()
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.stderr == ""
    assert ran.stdout == "900 900\n"
    assert len(store.history(limit=None)) == 900
