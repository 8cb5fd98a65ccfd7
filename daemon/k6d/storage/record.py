"""The ids of runs, their JSON, and their index documents."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.errors import K6dError
from k6d.core.metrics import INDEXED
from k6d.core.tags import indexed
from k6d.core.terms import other_options
from k6d.core.text import shortened

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from k6d.core.model import Run

ISSUE_LENGTH = 160
FIELDS = frozenset({
    *("test_id", "timestamp", "script", "trigger", "status", "outcome", "anomalies", "severity"),
    *("fingerprint", "workload", "overrides", "comparable", "execution_time", "issue"),
    *("tags", *INDEXED),
})  # fmt: skip

_TEST_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")


def new_test_id(now: datetime) -> str:
    """An id for a run that starts at `now` (aware): UTC and a random end, `20261122-121314-3f9a2c`.

    Ids sort by time, to the second.
    """
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{token_hex(3)}"


def month_of(test_id: str) -> str:
    """The name of the run's month, such as 2026-11."""
    return f"{test_id[:4]}-{test_id[4:6]}"


def started(test_id: str) -> datetime:
    """When the run of that name began, to the second, in UTC."""
    return datetime.strptime(check_test_id(test_id)[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)


def is_test_id(text: object) -> bool:
    """Whether `text` has the form of a run's id; such a text is safe in a path."""
    return isinstance(text, str) and _TEST_ID.fullmatch(text) is not None


def check_test_id(test_id: str) -> str:
    """`test_id` itself; K6dError when it does not have the form of an id."""
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
        # File names and console output may hold bytes that are not UTF-8; the run must be saved.
        return orjson.dumps(encodable(asdict(run)), option=options)


def encodable(value: Any) -> Any:
    """`value` with each lone surrogate written as an escape, because JSON cannot hold it."""
    if type(value) is str:
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {encodable(key): encodable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [encodable(item) for item in value]
    return value


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """The pydantic adapter that reads `Run` or a part of it; built on first use, which is slow.

    Importing pydantic takes 0.2 s, and the index is read without it.
    """
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def index_document(record: dict[str, Any]) -> dict[str, Any]:
    """The index document of a run's JSON, with the keys FIELDS.

    KeyError, TypeError, AttributeError or ValueError when it is no run.
    """
    verdict = record["anomaly_analysis"]
    snapshot = record["snapshot"] or {}
    judged = record.get("load") or record["metrics"]
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
        "overrides": bool(other_options(record["overrides"])),
        "comparable": bool(record.get("comparable")),
        "execution_time": record["execution_time"],
        **{name: judged.get(name) for name in INDEXED},
        "tags": indexed(record),
        "issue": shortened(worst[0], ISSUE_LENGTH) if worst else None,
    }


def age(document: dict[str, Any]) -> tuple[str, str, str]:
    """A sort key of index documents by time, oldest first.

    Within one second the time stamp decides, since ids end in chance.
    """
    test_id: str = document["test_id"]
    # Without the Z: "…14Z" would otherwise sort after "…14.5Z".
    return test_id[:15], document["timestamp"].rstrip("Z"), test_id
