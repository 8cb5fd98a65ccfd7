"""Formats the state of k6d as Prometheus text; pure functions.

The cardinality is bounded: only the scripts that ran last, and the busiest endpoints of each. Names
follow https://prometheus.io/docs/practices/naming/: base units (seconds, ratios), `_total` for
counters.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from k6d import __version__
from k6d.core.model import Severity

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_SCRIPTS = 200
MOST_ENDPOINTS = 20  # for each script
MOST_LABEL = 200  # characters

Row = dict[str, Any]
Sample = tuple[dict[str, str], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The exposed data: `last` holds the newest index document of each script.

    `endpoints` holds the result of `endpoints_of` by test id. `runs` counts the runs by verdict
    since the daemon started.
    """

    last: list[Row]
    dropped: int = 0
    endpoints: dict[str, list[Row]] = field(default_factory=dict)
    pending: int = 0
    running: int = 0
    runs: dict[str, int] = field(default_factory=dict)
    run_seconds: float = 0.0
    incidents: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)


def endpoints_of(run: Row) -> list[Row]:
    """Return the exposed columns of the busiest endpoints in a run's file."""
    columns = ("name", "method", "count", "error_rate", "p50_ms", "p95_ms", "p99_ms")
    rows = run["breakdown"]["endpoints"][:MOST_ENDPOINTS]
    return [{name: row[name] for name in columns} for row in rows]


def exposition(facts: Facts) -> str:
    """Return the whole text."""
    lines: list[str] = []

    def add(name: str, kind: str, text: str, samples: list[Sample]) -> None:
        told = [(labels, value) for labels, value in samples if value is not None]
        if told:
            lines.append(f"# HELP {name} {text}")
            lines.append(f"# TYPE {name} {kind}")
            lines.extend(f"{name}{_labels(labels)} {value:.12g}" for labels, value in told)

    add("k6d_build_info", "gauge", "The version of k6d.", [({"version": __version__}, 1)])
    add("k6d_queue_jobs", "gauge", "Jobs that wait for their turn.", [({}, facts.pending)])
    add("k6d_running_jobs", "gauge", "Jobs under way.", [({}, facts.running)])
    # Each series starts at 0; otherwise Prometheus would see no increase at its first run.
    runs = dict.fromkeys(("healthy", *Severity), 0) | facts.runs
    verdicts: list[Sample] = [({"verdict": word}, n) for word, n in sorted(runs.items())]
    add("k6d_runs_total", "counter", "Runs since the start of k6d, by verdict.", verdicts)
    add("k6d_run_seconds_total", "counter", "Time that runs took.", [({}, facts.run_seconds)])
    open_: list[Sample] = [({"severity": s.value}, facts.incidents.get(s, 0)) for s in Severity]
    add("k6d_open_incidents", "gauge", "Open incidents, by severity.", open_)
    messages: list[Sample] = [({"state": state}, n) for state, n in facts.messages.items()]
    add("k6d_messages", "gauge", "Messages in the outbox, by state.", messages)
    add(
        "k6d_scripts_not_exposed",
        "gauge",
        f"Scripts beyond the {MOST_SCRIPTS} that ran last.",
        [({}, facts.dropped)],
    )
    for name, text, value in _OF_SCRIPT:
        samples: list[Sample] = [({"script": d["script"]}, value(d)) for d in facts.last]
        add(f"k6d_script_{name}", "gauge", f"Last run of the script: {text}.", samples)
    for name, text, column, scale in _OF_ENDPOINT:
        samples = [
            (_endpoint(document, row), _scaled(row[column], scale))
            for document in facts.last
            for row in facts.endpoints.get(document["test_id"], [])
        ]
        add(f"k6d_endpoint_{name}", "gauge", f"Last run, by endpoint: {text}.", samples)
    return "\n".join(lines) + "\n"


def _severity(document: Row) -> float:
    severity = document["severity"]
    return Severity(severity).rank + 1 if severity else 0


def _ratio(value: float | None) -> float | None:
    return _scaled(value, 0.01)


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


_OF_SCRIPT = (
    (
        "last_run_timestamp_seconds",
        "when it started",
        lambda d: datetime.fromisoformat(d["timestamp"]).timestamp(),
    ),
    ("last_run_duration_seconds", "how long it took", lambda d: d["execution_time"]),
    ("anomalous", "1 if something was found", lambda d: float(d["anomalies"])),
    ("severity", "0 none, 1 low, 2 medium, 3 high, 4 critical", _severity),
    ("completed", "1 if it ran to its end", lambda d: float(d["status"] == "completed")),
    (
        "response_time_avg_seconds",
        "average response time",
        lambda d: _scaled(d["response_time_avg"], 0.001),
    ),
    (
        "response_time_p95_seconds",
        "95th percentile of the response time",
        lambda d: _scaled(d["response_time_p95"], 0.001),
    ),
    ("error_ratio", "failed requests of all", lambda d: _ratio(d["error_rate"])),
    ("requests", "requests made", lambda d: d["total_requests"]),
    ("requests_per_second", "request rate", lambda d: d["requests_per_second"]),
    ("virtual_users", "most virtual users", lambda d: d["virtual_users"]),
)
_OF_ENDPOINT = (
    ("requests", "requests made", "count", 1.0),
    ("error_ratio", "failed requests of all", "error_rate", 0.01),
    ("response_time_p50_seconds", "median of the response time", "p50_ms", 0.001),
    ("response_time_p95_seconds", "95th percentile of the response time", "p95_ms", 0.001),
    ("response_time_p99_seconds", "99th percentile of the response time", "p99_ms", 0.001),
)


def _endpoint(document: Row, row: Row) -> dict[str, str]:
    return {
        "script": document["script"],
        "method": row["method"] or "",
        "endpoint": row["name"],
    }


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    """Escape a label value; a long one is cut and gets a hash, so that series stay distinct."""
    text = value.encode("utf-8", "replace").decode()
    if len(text) > MOST_LABEL:
        text = f"{text[: MOST_LABEL - 9]}…{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
