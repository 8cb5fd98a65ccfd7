"""A run as JSON, and what the index keeps of it; names of runs."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from secrets import token_hex
from typing import Any

import orjson
from pydantic import TypeAdapter

from k6d.core.metrics import INDEXED
from k6d.core.model import K6dError, Run

ISSUE_LENGTH = 160
FIELDS = frozenset({
    *("test_id", "timestamp", "script", "trigger", "status", "outcome", "anomalies", "severity"),
    *("fingerprint", "workload", "overrides", "comparable", "execution_time", "issue", *INDEXED),
})  # fmt: skip

_TEST_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")


def new_test_id(now: datetime) -> str:
    """A name for a run that starts at `now` (aware): UTC time and chance, `20261122-121314-3f9a2c`.

    Names sort by time, to the second.
    """
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{token_hex(3)}"


def is_test_id(text: object) -> bool:
    """Whether `text` can be the name of a run, and so is safe in a path."""
    return isinstance(text, str) and _TEST_ID.fullmatch(text) is not None


def check_test_id(test_id: str) -> str:
    """`test_id` itself; raises K6dError for anything that must not touch a path."""
    if not is_test_id(test_id):
        raise K6dError(f"{test_id!r} is not the id of a run; ids look like 20261122-121314-3f9a2c")
    return test_id


def encode(run: Run) -> bytes:
    """The run as compact JSON, fields in the record's order, times in UTC ending in Z."""
    if run.timestamp.tzinfo is not None:
        run = replace(run, timestamp=run.timestamp.astimezone(UTC))
    options = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC | orjson.OPT_APPEND_NEWLINE
    try:
        return orjson.dumps(run, option=options)
    except orjson.JSONEncodeError:
        # File names and console output may hold bytes that are no UTF-8; that loses no run.
        return orjson.dumps(printable(asdict(run)), option=options)


def printable(value: Any) -> Any:
    """`value` with every lone surrogate, which JSON cannot hold, spelled out as an escape."""
    if type(value) is str:
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {printable(key): printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [printable(item) for item in value]
    return value


@cache
def run_adapter() -> TypeAdapter[Run]:
    """Reads a Run from JSON; built once, on first use, because building takes a while."""
    return TypeAdapter(Run)


def index_document(record: dict[str, Any]) -> dict[str, Any]:
    """What the index keeps of a run's JSON; KeyError, TypeError or ValueError if it is no run."""
    verdict = record["anomaly_analysis"]
    snapshot = record["snapshot"] or {}
    worst = [finding["message"] for finding in verdict["findings"]] or verdict["issues"]
    datetime.fromisoformat(record["timestamp"])
    return {
        "test_id": record["test_id"],
        "timestamp": record["timestamp"],
        "script": record["script"],
        "trigger": record["trigger"],
        "status": record["status"],
        "outcome": record["execution"]["outcome"],
        "anomalies": verdict["anomalies_detected"],
        "severity": verdict["severity"],
        "fingerprint": snapshot.get("fingerprint"),
        "workload": snapshot.get("workload"),
        "overrides": bool(record["overrides"]),
        "comparable": bool(record.get("comparable")),
        "execution_time": record["execution_time"],
        **{name: record["metrics"].get(name) for name in INDEXED},
        "issue": _shortened(worst[0]) if worst else None,
    }


def _shortened(text: str) -> str:
    return text if len(text) <= ISSUE_LENGTH else text[: ISSUE_LENGTH - 1] + "…"
