"""The two copies of the index, by month and by script: equal after any act, kill or damage."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from k6d.storage.index import Index
from k6d.storage.record import encodable
from k6d.storage.repair import Repair
from k6d.storage.store import Store
from support.many_runs import made, write
from support.records import make_run

if TYPE_CHECKING:
    from pathlib import Path

UNTIL = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
SCRIPTS = 7


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
