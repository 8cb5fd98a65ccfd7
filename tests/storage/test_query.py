"""Searches and statistics over the index: each filter, paging, days, kept answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k6d.storage.query import LatestState, Query, latest_state, statistics
from k6d.storage.store import Store
from support.records import make_run

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def document(minutes: int, **changes: Any) -> dict[str, Any]:
    """An index document of a run that long before now."""
    at = NOW - timedelta(minutes=minutes)
    return {
        "test_id": f"{at:%Y%m%d-%H%M%S}-{minutes:06x}",
        "timestamp": at.isoformat(),
        "script": "a.js",
        "status": "completed",
        "outcome": "completed",
        "trigger": "changed",
        "anomalies": False,
        "workload": "load",
        "overrides": False,
        "severity": None,
        "issue": None,
        "error_rate": 1.0,
        "response_time_avg": 100.0,
        "response_time_p95": 200.0,
        "comparable": True,
        "tags": None,
        **changes,
    }


def latest_states(documents: list[dict[str, Any]], *, recent: int) -> dict[str, LatestState]:
    """The latest state of each script."""
    names = dict.fromkeys(one["script"] for one in documents)
    found = {
        n: latest_state([d for d in documents if d["script"] == n], recent=recent) for n in names
    }
    return {name: state for name, state in found.items() if state}


@pytest.mark.parametrize(
    ("query", "minutes"),
    [
        (Query(), [0, 1, 2, 3]),
        (Query(script="b.js"), [1]),
        (Query(severity="high"), [2]),
        (Query(severity="healthy"), [0, 1]),
        (Query(severity="script error"), [3]),
        (Query(anomalies_only=True), [2]),
        (Query(status="failed"), [3]),
        (Query(outcome="script error"), [3]),
        (Query(trigger="changed"), [0, 1, 2, 3]),
        (Query(overrides=True), [1]),
        (Query(workload="more"), [1]),
        (Query(min_error_rate=5), [2]),
        (Query(max_response_time=99), [1]),
        (Query(text="SLOW"), [2]),
        (Query(tags=(("release", "2.14"),)), [0, 3]),
        (Query(tags=(("release", "2.14"), ("branch", "main"))), [3]),
        (Query(text="B.j"), [1]),
        (Query(text="script err"), [3]),
        (Query(since=NOW - timedelta(minutes=1)), [0, 1]),
        (Query(until=NOW - timedelta(minutes=2)), [2, 3]),
        (Query(since=NOW - timedelta(minutes=2), until=NOW - timedelta(minutes=1)), [1, 2]),
        (Query(before=document(1)["test_id"]), [2, 3]),
        (Query(before=document(1)["test_id"], until=NOW - timedelta(minutes=3)), [3]),
    ],
)
def test_each_filter(query: Query, minutes: list[int]) -> None:
    """What is set must be met; runs that measured nothing never meet a number."""
    documents = [
        document(0, tags={"release": "2.14"}),
        document(1, script="b.js", response_time_avg=50.0, overrides=True, workload="more"),
        document(2, anomalies=True, severity="high", issue="it was slow", error_rate=9.0),
        document(
            3,
            status="failed",
            outcome="script error",
            error_rate=None,
            response_time_avg=None,
            tags={"release": "2.14", "branch": "main"},
        ),
    ]
    found = query.select(documents, None)
    assert [d["test_id"] for d in found] == [documents[m]["test_id"] for m in minutes]


@given(seconds=st.lists(st.integers(0, 3), min_size=1, max_size=30), limit=st.integers(1, 7))
def test_pages_have_every_run_once(seconds: list[int], limit: int) -> None:
    """Also where many runs began in one second, whose ids are in no order."""
    documents = []
    for number, second in enumerate(sorted(seconds, reverse=True)):
        chance = (number * 7919) % 4096
        at = f"20261122-12000{second}"
        documents.append(document(0, test_id=f"{at}-{chance:06x}", script=str(number)))
    pages: list[str] = []
    before = None
    while page := Query(before=before).select(documents, limit):
        pages += [d["script"] for d in page]
        before = page[-1]["test_id"]
    assert pages == [d["script"] for d in documents]


def test_statistics() -> None:
    """By day, also without runs, by severity, by script; re-runs are none; rates are fractions."""
    documents = [
        document(0),
        document(60, anomalies=True, severity="high"),
        document(2 * 1440, anomalies=True, severity="low", script="b.js"),
        document(2 * 1440 + 1, status="failed", outcome="script error"),
        document(3 * 1440 + 1),
        document(59, trigger="confirmation"),
        document(58, trigger="confirmation", anomalies=True, severity="high"),
    ]
    documents.sort(key=lambda d: str(d["test_id"]), reverse=True)
    found = statistics(documents, days=3, now=NOW)
    assert (found.total_tests, found.anomaly_tests, found.anomaly_rate) == (4, 2, 0.5)
    assert found.severity_breakdown == {"low": 1, "high": 1}
    assert found.outcomes == {"completed": 3, "script error": 1}
    assert [(d.day[-2:], d.total, d.anomalies) for d in found.days] == [
        ("19", 0, 0),
        ("20", 2, 1),
        ("21", 0, 0),
        ("22", 2, 1),
    ]
    assert found.scripts[0] == {"script": "a.js", "total": 3, "anomalies": 1}
    assert statistics(documents, days=3, now=NOW, script="b.js").anomaly_rate == 1.0
    assert statistics([], days=1, now=NOW).anomaly_rate == 0.0


def test_standings() -> None:
    """The newest run of each script and the last p95 of each, oldest first."""
    documents = [document(m, script="ab"[m % 2], response_time_p95=float(m)) for m in range(8)]
    found = latest_states(documents, recent=3)
    assert list(found) == ["a", "b"]
    assert found["a"].last == documents[0]
    assert found["b"].values == [5.0, 3.0, 1.0]


def test_a_regression_stands_after_the_re_runs_that_confirmed_it() -> None:
    """They come after it and each looks healthy by itself: neither hides what they confirmed."""
    documents = [
        document(0, trigger="confirmation", response_time_p95=1.0),
        document(1, trigger="confirmation", response_time_p95=2.0),
        document(2, anomalies=True, severity="high", response_time_p95=3.0),
        document(3, response_time_p95=4.0),
    ]
    found = latest_states(documents, recent=3)["a.js"]
    assert found.last["severity"] == "high"
    assert found.values == [4.0, 3.0]


def test_answers_follow_what_is_saved(tmp_path: Path) -> None:
    """Kept answers are forgotten with the next run, by whatever process it is saved."""
    store, other = Store(tmp_path), Store(tmp_path)
    assert store.statistics(days=7, now=NOW).total_tests == 0
    for number in range(3):
        at = NOW - timedelta(minutes=number)
        run = make_run(test_id=f"{at:%Y%m%d-%H%M%S}-00000{number}", timestamp=at)
        (other if number % 2 else store).save(run)
        assert store.statistics(days=7, now=NOW).total_tests == number + 1
        assert len(store.search(Query())) == number + 1
    assert list(store.latest_states()) == [make_run().script]
    store.free_memory()
    assert store.statistics(days=7, now=NOW).total_tests == 3


def test_runs_with_other_options_say_nothing_of_where_a_script_stands() -> None:
    """The newest run without them does; they stand for a script that has no other run."""
    found = latest_states(
        [
            document(0, overrides=True, response_time_p95=1.0),
            document(1, response_time_p95=2.0),
            document(2, overrides=True, response_time_p95=3.0),
            document(3, response_time_p95=4.0),
            document(4, script="b.js", overrides=True, response_time_p95=5.0),
        ],
        recent=30,
    )
    assert found["a.js"].last["response_time_p95"] == 2.0
    assert found["a.js"].values == [4.0, 2.0]
    assert found["b.js"].last["response_time_p95"] == 5.0
