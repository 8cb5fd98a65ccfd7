"""The original service's data, as its owners have it: made here from its table and its names."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

COLUMNS = {
    "id": "INTEGER PRIMARY KEY",
    "test_id": "VARCHAR UNIQUE",
    "timestamp": "DATETIME",
    "execution_time": "FLOAT",
    "script_content": "TEXT",
    "test_options": "TEXT",
    "status": "VARCHAR",
    "response_time_avg": "FLOAT",
    "response_time_p95": "FLOAT",
    "error_rate": "FLOAT",
    "requests_per_second": "FLOAT",
    "virtual_users": "INTEGER",
    "total_requests": "INTEGER",
    "duration_ms": "FLOAT",
    "anomalies_detected": "BOOLEAN",
    "severity": "VARCHAR",
    "issues": "TEXT",
    "recommendations": "TEXT",
    "confidence": "FLOAT",
    "raw_output": "TEXT",
    "console_output": "TEXT",
}
SCRIPT = "import http from 'k6/http';\nexport default function () { http.get(__ENV.TARGET); }\n"
RAW = {"metrics": {"http_reqs": {"count": 2400, "rate": 80.0}}, "root_group": {"name": ""}}


def row(number: int, **changes: Any) -> dict[str, Any]:
    """A healthy run, minute by minute, changed in the columns named."""
    made = {
        "test_id": f"7f1c0c2e-{number:04}",
        "timestamp": f"2026-03-{1 + number // 1440:02} {number // 60 % 24:02}:{number % 60:02}:07",
        "execution_time": 31.5,
        "script_content": SCRIPT,
        "test_options": json.dumps({"vus": 10, "duration": "30s"}),
        "status": "completed",
        "response_time_avg": 150.5 + number % 3,
        "response_time_p95": 420.0,
        "error_rate": 0.0,
        "requests_per_second": 80.0,
        "virtual_users": 10,
        "total_requests": 2400,
        "duration_ms": 30000.0,
        "anomalies_detected": 0,
        "severity": "low",
        "issues": "[]",
        "recommendations": "[]",
        "confidence": 0.9,
        "raw_output": json.dumps(RAW),
        "console_output": f"running (0m30.0s), run {number}\n",
    }
    return made | changes


def sqlite_file(path: Path, rows: Iterable[dict[str, Any]], *, wal: bool = False) -> Path:
    """The database, closed."""
    with closing(opened(path, rows, wal=wal)):
        return path


def opened(path: Path, rows: Iterable[dict[str, Any]], *, wal: bool = False) -> sqlite3.Connection:
    """The database, held open by its owner."""
    connection = sqlite3.connect(path)
    if wal:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    connection.execute(f"CREATE TABLE test_runs ({columns})")
    insert(connection, rows)
    return connection


def insert(connection: sqlite3.Connection, rows: Iterable[dict[str, Any]]) -> None:
    """One more transaction of the owner."""
    for one in rows:
        names, marks = ", ".join(one), ", ".join("?" * len(one))
        connection.execute(f"INSERT INTO test_runs ({names}) VALUES ({marks})", [*one.values()])
    connection.commit()


def backup(number: int, **changes: Any) -> dict[str, Any]:
    """The same run as its JSON backup has it."""
    made = row(number)
    metrics = ("response_time_avg", "response_time_p95", "error_rate", "requests_per_second")
    metrics += ("virtual_users", "total_requests", "duration_ms")
    return {
        **{name: made[name] for name in ("test_id", "timestamp", "execution_time", "status")},
        "script_content": SCRIPT,
        "options": {"vus": 10, "duration": "30s"},
        "metrics": {name: made[name] for name in metrics},
        "anomaly_analysis": {
            "anomalies_detected": False,
            "severity": "low",
            "issues": [],
            "recommendations": [],
            "confidence": 0.9,
        },
        "raw_output": RAW,
        "console_output": made["console_output"],
    } | changes
