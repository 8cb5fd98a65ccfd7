"""Statistics and searches by noted facts: the same as by reading every run, with less reading."""

from __future__ import annotations

import os
import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from k6d.core.terms import Trigger
from k6d.storage.query import Query, statistics
from k6d.storage.store import Store
from k6d.storage.tally import Tally, merged, traits
from support.many_runs import made, write
from support.records import make_anomaly, make_run

if TYPE_CHECKING:
    from pathlib import Path

UNTIL = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
QUERIES = [
    *(Query(), Query(text="nothing"), Query(text="GET /CART"), Query(text="script-003")),
    *(Query(text="limit is 80 ms"), Query(text="completed"), Query(severity="high")),
    *(Query(text="odd 1"), Query(text="late.js"), Query(text="odd new")),
    *(Query(severity="critical"), Query(severity="healthy"), Query(anomalies_only=True)),
    *(Query(status="failed"), Query(outcome="timed out"), Query(trigger="confirmation")),
    *(Query(overrides=True), Query(min_error_rate=50), Query(max_response_time=40)),
    Query(severity="high", since=UNTIL - timedelta(days=40), until=UNTIL - timedelta(days=20)),
    Query(anomalies_only=True, before="20260915-000000-000000"),
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """2,000 runs of seven scripts, one an hour, in four months; facts are noted."""
    store = Store(tmp_path)
    write(store, made(2000, until=UNTIL, apart=timedelta(hours=1), scripts=7))
    store.reindex()
    settle(store, tmp_path)
    return store


def settle(store: Store, data: Path) -> None:
    """Let the times of all files be older than one tick of a coarse clock, then note facts."""
    past = time.time() - 10
    for path in [
        *data.glob("index/generation-*/????-??/*.json"),
        *data.glob("index/generation-*/*"),
    ]:
        if path.stat().st_mtime > past:
            os.utime(path, (past, past))
    store.check_index()


def make_unreadable(data: Path) -> dict[str, bytes]:
    """Garbage in each partition of months, with the same size and time; returns the contents."""
    before = {}
    for path in data.glob("index/generation-*/????-??/*.json"):
        status = path.stat()
        before[str(path)] = path.read_bytes()
        path.write_bytes(b"x" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return before


def agrees(store: Store, now: datetime) -> None:
    """Every answer is that of all documents."""
    rows = store.history(limit=None)
    for days in (1, 3, 7, 20, 33, 45, 90, 400):
        assert store.statistics(days=days, now=now) == statistics(rows, days=days, now=now)
    for query in QUERIES:
        assert store.search(query, limit=None) == query.select(rows, None), query
        assert store.search(query, limit=5) == query.select(rows, 5), query


def test_answers_are_those_of_all_documents(store: Store, tmp_path: Path) -> None:
    """With all facts, and after late, new, changed and removed runs, before and after a check."""
    agrees(store, UNTIL)
    chance = random.Random(5)
    for number in range(8):
        rows = store.history(limit=None)
        row = chance.choice(rows)
        at = UNTIL - timedelta(minutes=chance.randrange(120_000))
        run = make_run(test_id=f"{at:%Y%m%d-%H%M%S}-{number:06x}", timestamp=at, script="late.js")
        match number % 4:
            case 0:
                store.save(run)
            case 1:
                store.save(replace(run, anomaly_analysis=make_anomaly(f"odd {number}")))
            case 2:
                store.save(replace(run, trigger=Trigger.CONFIRMATION))
            case _:
                store.delete([row["test_id"]])
        agrees(store, UNTIL)
        if number % 4 == 2:
            settle(store, tmp_path)
            agrees(store, UNTIL + timedelta(days=1))


def test_closed_days_are_not_read(store: Store, tmp_path: Path) -> None:
    """Statistics read the first and the last day; a search in vain reads nothing."""
    now = UNTIL - timedelta(hours=12)  # midnight
    expected = statistics(store.history(limit=None), days=400, now=now)
    before = make_unreadable(tmp_path)
    assert store.search(Query(text="nothing at all"), limit=None) == []
    assert store.search(Query(severity="critical")) == []
    for path in sorted(before)[-1:]:  # the newest partition holds today's runs
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(before[path])
    assert store.statistics(days=400, now=now) == expected


def test_damaged_facts_are_not_used(store: Store, tmp_path: Path) -> None:
    """They are made again by the next check."""
    for damage in (b"", b"[]", b'{"changed":1}'):
        paths = list(tmp_path.glob("index/generation-*/facts/*"))
        assert len(paths) >= 3 * 3
        for path in paths:
            path.write_bytes(damage)
        agrees(store, UNTIL)
        store.check_index()
        agrees(store, UNTIL)
        assert all(path.read_bytes() != damage for path in paths)


def test_lost_traits_of_a_month_are_not_begun_anew_by_a_save(store: Store, tmp_path: Path) -> None:
    """They would lack those of the other runs; the next check makes them from all runs."""
    (lost,) = tmp_path.glob("index/generation-*/facts/2026-10.traits.json")
    at = UNTIL - timedelta(days=9)
    run = make_run(
        test_id=f"{at:%Y%m%d-%H%M%S}-00000a",
        timestamp=at,
        script="late.js",
        anomaly_analysis=make_anomaly("odd new"),
    )
    for found in (None, b"[]"):
        lost.unlink() if found is None else lost.write_bytes(found)
        store.save(run)
        assert [row["test_id"] for row in store.search(Query(text="odd new"))] == [run.test_id]
        agrees(store, UNTIL)
        assert not lost.exists() or lost.read_bytes() == found
        store.check_index()
        assert b"odd new" in lost.read_bytes()
        agrees(store, UNTIL)
        store.delete([run.test_id])
        agrees(store, UNTIL)


def test_a_search_in_vain_reads_no_partition_of_the_newest_month(
    store: Store, tmp_path: Path
) -> None:
    """The writer of a run notes its traits, so that no check has to come first."""
    store.save(make_run(test_id="20261102-130000-00000b", anomaly_analysis=make_anomaly("odd new")))
    make_unreadable(tmp_path)
    assert store.search(Query(text="nothing at all")) == []
    assert store.search(Query(severity="critical")) == []


DOCUMENTS = st.lists(
    st.builds(
        lambda **fields: {"tags": None, "workload": "w", "comparable": True, **fields},
        test_id=st.integers(0, 10**6).map(lambda n: f"20261101-000000-{n:06d}"),
        timestamp=st.sampled_from(["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"]),
        script=st.sampled_from(["a.js", "Ärger.js", "b7.js"]),
        status=st.sampled_from(["completed", "failed"]),
        outcome=st.sampled_from(["completed", "script error"]),
        trigger=st.sampled_from(["changed", "confirmation"]),
        overrides=st.booleans(),
        anomalies=st.booleans(),
        severity=st.sampled_from([None, "low", "high"]),
        issue=st.sampled_from([None, "p95 is 912 ms", "SLOW at 12:30"]),
        error_rate=st.sampled_from([None, 0.0, 7.5]),
        response_time_avg=st.sampled_from([None, 40.0, 900.0]),
    ),
    max_size=6,
)
ASKED = st.builds(
    Query,
    text=st.sampled_from([None, "12 MS", "912", "slow", "ärg", "b8", "error", "p95 is 8"]),
    status=st.sampled_from([None, "failed"]),
    outcome=st.sampled_from([None, "script error"]),
    trigger=st.sampled_from([None, "confirmation"]),
    overrides=st.sampled_from([None, True, False]),
    severity=st.sampled_from([None, "healthy", "high", "script error"]),
    anomalies_only=st.booleans(),
    min_error_rate=st.sampled_from([None, 1.0]),
    max_response_time=st.sampled_from([None, 50.0]),
)


@given(groups=st.lists(DOCUMENTS, min_size=1, max_size=3), query=ASKED)
@hypothesis_settings(max_examples=300, deadline=None)
def test_what_is_skipped_has_no_match(groups: list[list[dict[str, Any]]], query: Query) -> None:
    """For one group of runs and for several; counts of groups add up to those of all."""
    everything = [document for group in groups for document in group]
    skips = query.skip() or (lambda _: False)
    for one, documents in [(traits(group), group) for group in groups]:
        assert not skips(one) or query.select(documents, None) == []
    together = merged(traits(group) for group in groups)
    assert together == traits(everything)
    assert not skips(together) or query.select(everything, None) == []
    summed, whole = Tally(), Tally()
    for group in groups:
        part = Tally()
        for document in group:
            part.add(document)
            whole.add(document)
        summed.merge(Tally.from_json(part.to_json()))
    assert summed.to_json() == whole.to_json()


def test_a_check_mends_a_partition_that_it_reads(store: Store, tmp_path: Path) -> None:
    """The next check of damaged partitions without facts goes on after a repair."""
    expected = store.history(limit=None)
    for path in tmp_path.glob("index/generation-*/facts/*"):
        path.unlink()
    make_unreadable(tmp_path)
    store.check_index()
    assert store.history(limit=None) == expected
    agrees(store, UNTIL)
