"""The original service's runs, from the TinyDB file that it kept, as a user of it comes to k6d."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
import pytest
from tinydb import TinyDB

from k6d.cli.legacy_import import take_over
from k6d.core.model import K6dError, Outcome, Severity
from k6d.storage.query import Query
from k6d.storage.store import Store
from support.commands import run_k6d

if TYPE_CHECKING:
    from pathlib import Path

AT = "2026-03-01T10:00:00+00:00"
METRICS = {
    "response_time_avg": 150.5,
    "response_time_p95": 420.0,
    "error_rate": 12.5,
    "requests_per_second": 80.0,
    "virtual_users": 10,
    "total_requests": 2400,
    "duration_ms": 30000.0,
}
FOUND = {
    "anomalies_detected": True,
    "severity": "high",
    "issues": ["High error rate: 12.5%"],
    "recommendations": ["Look at the server's log"],
    "confidence": 0.9,
}


def _record(number: int, **changes: object) -> dict[str, object]:
    return {
        "test_id": f"0b1e-{number}",
        "timestamp": AT,
        "status": "completed",
        "execution_time": 31.5,
        "metrics": METRICS,
        "anomaly_analysis": FOUND,
    } | changes


def _counts(file: Path, store: Store) -> tuple[int, int]:
    done = take_over(file, store)
    return done.new, done.present


def test_runs_of_the_original_service_are_listed_and_counted(tmp_path: Path) -> None:
    """By the command, from a file that TinyDB itself wrote; a second time nothing comes twice."""
    healthy = {"anomalies_detected": False, "severity": "low", "issues": []}
    with TinyDB(tmp_path / "tests.json") as kept:
        table = kept.table("test_results")
        table.insert(_record(1))
        table.insert(_record(2, anomaly_analysis=healthy, script_name="checkout.js"))
        table.insert(_record(3, status="failed", metrics=None, anomaly_analysis=None, error="boom"))
        table.insert(_record(4, timestamp="yesterday"))
        table.insert(_record(5, metrics={"error_rate": "many"}))
        table.insert(_record(6, metrics=[1]))
        odd_one = {"anomaly_analysis": FOUND | {"issues": ["odd"]}, "script_name": "\ud800.js"}
        table.insert(_record(8, timestamp="0999-01-01T00:00:00+00:00"))
        table.insert(_record(7, metrics={"error_rate": float("nan")}, **odd_one))
    done = run_k6d(
        *("import", "tests.json", "--data", "data"), cwd=tmp_path, env=os.environ, timeout_s=120
    )
    assert done.returncode == 0, done.stderr
    first, *left_out = done.stdout.splitlines()
    assert first == "4 runs taken over; 0 were there already; 4 left out:"
    assert left_out[0] == "  test_results/4: Invalid isoformat string: 'yesterday'"
    assert left_out[1].startswith("  test_results/5: metrics.error_rate: Input should be")
    assert left_out[2].startswith("  test_results/6: ")
    assert left_out[3].startswith("  test_results/7: '9990101-")
    store = Store(tmp_path / "data")
    (odd,) = store.search(Query(script=".js"))
    assert odd["error_rate"] is None
    found = {row["issue"]: store.load(row["test_id"]) for row in store.history(limit=None)}
    run = found["High error rate: 12.5%"]
    assert run.timestamp == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert run.schema_version == 1
    assert {name: getattr(run.metrics, name) for name in METRICS} == METRICS
    assert run.anomaly_analysis.severity is Severity.HIGH
    assert run.anomaly_analysis.recommendations == FOUND["recommendations"]
    assert not run.comparable
    (healthy_row,) = store.search(Query(severity="healthy"))
    assert healthy_row["script"] == "checkout.js"
    (failed,) = store.search(Query(status="failed"))
    assert store.load(failed["test_id"]).execution.outcome is Outcome.NO_DATA
    assert store.load(failed["test_id"]).execution.error == "boom"
    counted = store.statistics(days=7, now=datetime(2026, 3, 2, tzinfo=UTC))
    assert (counted.total_tests, counted.anomaly_tests) == (4, 2)
    assert _counts(tmp_path / "tests.json", store) == (0, 4)


@pytest.mark.parametrize("contents", [b"", b"[1]", b'{"a": 1}', b"no JSON", b"[" * 100_000])
def test_another_file_is_refused(tmp_path: Path, contents: bytes) -> None:
    """One line that names the file, and nothing is written."""
    file = tmp_path / "other.json"
    file.write_bytes(contents)
    with pytest.raises(K6dError, match=f"^{file}: is neither.*nothing was taken over"):
        take_over(file, Store(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_a_number_that_is_too_large_was_not_measured(tmp_path: Path) -> None:
    """The run can be shown; JSON has no word for it."""
    file, store = tmp_path / "tests.json", Store(tmp_path / "data")
    file.write_bytes(orjson.dumps({"tests": {"1": _record(1)}}).replace(b"31.5", b"1e400"))
    assert _counts(file, store) == (1, 0)
    assert store.load(store.find("latest")).execution_time == 0


def test_the_time_of_a_record_is_local_unless_it_says_otherwise(tmp_path: Path) -> None:
    """As Python's datetime.now() wrote it, on the machine that is asked now."""
    file = tmp_path / "tests.json"
    file.write_bytes(orjson.dumps({"_default": {"1": _record(1, timestamp="2026-03-01T10:00:00")}}))
    store = Store(tmp_path / "data")
    assert _counts(file, store) == (1, 0)
    (row,) = store.history()
    local = datetime(2026, 3, 1, 10).astimezone()
    assert store.load(row["test_id"]).timestamp == local
