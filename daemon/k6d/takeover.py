"""Runs of the service before k6d, "K6 Test Runner Service", from its TinyDB file: schema 0 to 1.

What it called by the same names is taken over as it is; what it did not measure stays None. Such
runs are listed, searched and counted; nothing is compared with them, for nobody knows their load.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from k6d.model import K6dError, Trigger
from k6d.pruning import look_again
from k6d.store import new_test_id
from k6d.store.record import run_adapter
from k6d.units import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from k6d.model import Run
    from k6d.store import Store

logger = logging.getLogger(__name__)

UNNAMED = "original-service"  # its records need not say which script ran
NAMES = ("script_name", "script_path", "name")
METRICS = (
    *("response_time_avg", "response_time_p95", "error_rate", "requests_per_second"),
    *("virtual_users", "total_requests", "duration_ms"),
)
ANALYSIS = ("anomalies_detected", "severity", "issues", "recommendations", "confidence")
# What comes of a record that is none.
ODD = (K6dError, ValueError, TypeError, KeyError, AttributeError, OverflowError)


def take_over(file: Path, store: Store) -> tuple[int, int]:
    """Save each record of the original's file as a run; how many were new, and how many not."""
    store.refuse_links()
    new = present = 0
    for place, record in _records(file):
        try:
            run = upgraded(record)
            path = store.run_path(run.test_id)
        except ODD as error:
            logger.warning("%s: record %s is left out: %s", file, place, _why(error))
            continue
        if path.exists():
            present += 1
        else:
            store.save(run)
            new += 1
    look_again(store)
    return new, present


def upgraded(record: dict[str, Any]) -> Run:
    """The record of schema 0 as a run; raises whatever comes of it when it is none."""
    at = datetime.fromisoformat(record["timestamp"]).astimezone()
    chance = hashlib.sha256(str(record["test_id"]).encode()).hexdigest()[:6]
    analysis = {key: (record.get("anomaly_analysis") or {}).get(key) for key in ANALYSIS}
    if not analysis["anomalies_detected"]:  # it gave healthy runs a severity as well
        analysis |= {"anomalies_detected": False, "severity": None}
    completed = record.get("status", "completed") == "completed"
    name = next((record[key] for key in NAMES if record.get(key)), UNNAMED)
    return run_adapter().validate_python(
        {
            # The same id whenever it is taken over: twice is once.
            "test_id": f"{new_test_id(at)[:16]}{chance}",
            "timestamp": at,
            "script": one_line(str(name), 200),
            "trigger": Trigger.MANUAL,
            "status": "completed" if completed else "failed",
            "execution_time": record.get("execution_time") or 0.0,
            "metrics": {key: (record.get("metrics") or {}).get(key) for key in METRICS},
            "anomaly_analysis": {k: v for k, v in analysis.items() if v is not None},
            "execution": {
                "outcome": "completed" if completed else "no data",
                "error": record.get("error"),
            },
        }
    )


def _records(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every record of every table, and its place: TinyDB keeps {table: {number: record}}."""
    try:
        # As TinyDB, but for NaN and numbers that are too large: nothing was measured.
        data = file.read_bytes()
        tables = json.loads(data, parse_constant=lambda _: None, parse_float=_finite)
        found = [(f"{t}/{n}", one) for t, table in tables.items() for n, one in table.items()]
    except (ValueError, AttributeError, RecursionError) as error:
        raise K6dError(
            f"{file}: is neither an archive of 'k6d export' nor a TinyDB file; not restored"
        ) from error
    yield from ((place, one) for place, one in found if isinstance(one, dict))


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"no {error}" if isinstance(error, KeyError) else str(error)
