"""The state of k6d as Prometheus metrics; the only module that imports prometheus_client.

The cardinality is bounded: only the scripts that ran last, and the busiest endpoints of each. Names
follow https://prometheus.io/docs/practices/naming/: base units (seconds, ratios), `_total` for
counters.
"""

from __future__ import annotations

import hashlib
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from k6d import __version__
from k6d.core.frozen import frozen
from k6d.core.model import HEALTHY, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_SCRIPTS = 200
MOST_ENDPOINTS = 20  # for each script
MOST_LABEL = 200  # characters

Row = dict[str, Any]
Sample = tuple[dict[str, str], float | None]


@frozen
class Facts:
    """The exposed data: `last` holds the newest index document of each script.

    `endpoints` and `failed_checks` hold the results of `endpoints_of` and `failed_checks_of` by
    test id. `runs` counts the runs by verdict
    since the daemon started.
    """

    last: list[Row]
    dropped: int = 0
    endpoints: dict[str, list[Row]] = field(default_factory=dict)
    failed_checks: dict[str, float | None] = field(default_factory=dict)
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


def failed_checks_of(run: Row) -> float | None:
    """Return the share of failed checks in a run's file, from 0 to 1; None without checks."""
    measured = run.get("load") or run["metrics"]
    passed, failed = measured.get("checks_passed"), measured.get("checks_failed")
    total = (passed or 0) + (failed or 0)
    return (failed or 0) / total if total else None


def exposition(facts: Facts) -> bytes:
    """All metrics in Prometheus' text format 0.0.4."""
    # Imported here because the web process needs the library only when somebody scrapes it.
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(StateCollector(facts))
    return generate_latest(registry)


class StateCollector:
    """A collector for prometheus_client."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        """Each metric that has a value."""
        from prometheus_client.core import Metric

        for name, kind, text, samples in _families(self._facts):
            # prometheus_client appends "_total" to the name of a counter.
            metric = Metric(name.removesuffix("_total"), text, kind)
            for labels, value in samples:
                if value is not None:
                    cleaned = {label: _label(text) for label, text in labels.items()}
                    metric.add_sample(name, cleaned, value)
            if metric.samples:
                yield metric


def _families(facts: Facts) -> Iterator[tuple[str, str, str, list[Sample]]]:
    """Name, kind, help text and samples of each metric."""
    yield "k6d_build_info", "gauge", "The version of k6d.", [({"version": __version__}, 1)]
    yield "k6d_queue_jobs", "gauge", "Jobs that wait for their turn.", [({}, facts.pending)]
    yield "k6d_running_jobs", "gauge", "Jobs under way.", [({}, facts.running)]
    # Each series starts at 0; otherwise Prometheus would see no increase at its first run.
    runs = dict.fromkeys((HEALTHY, *Severity), 0) | facts.runs
    verdicts: list[Sample] = [({"verdict": word}, n) for word, n in sorted(runs.items())]
    yield "k6d_runs_total", "counter", "Runs since the start of k6d, by verdict.", verdicts
    yield "k6d_run_seconds_total", "counter", "Time that runs took.", [({}, facts.run_seconds)]
    incidents: list[Sample] = [({"severity": s.value}, facts.incidents.get(s, 0)) for s in Severity]
    yield "k6d_open_incidents", "gauge", "Open incidents, by severity.", incidents
    messages: list[Sample] = [({"state": state}, n) for state, n in facts.messages.items()]
    yield "k6d_messages", "gauge", "Messages in the outbox, by state.", messages
    beyond = f"Scripts beyond the {MOST_SCRIPTS} that ran last."
    yield "k6d_scripts_not_exposed", "gauge", beyond, [({}, facts.dropped)]
    for name, text, value in _OF_SCRIPT:
        samples: list[Sample] = [({"script": d["script"]}, value(d)) for d in facts.last]
        yield f"k6d_script_{name}", "gauge", f"Last run of the script: {text}.", samples
    checks: list[Sample] = [
        ({"script": d["script"]}, facts.failed_checks.get(d["test_id"])) for d in facts.last
    ]
    text = "Last run of the script: failed checks of all."
    yield "k6d_script_failed_checks_ratio", "gauge", text, checks
    for name, text, column, divisor in _OF_ENDPOINT:
        samples = [
            (_endpoint(document, row), _divided(row[column], divisor))
            for document in facts.last
            for row in facts.endpoints.get(document["test_id"], [])
        ]
        yield f"k6d_endpoint_{name}", "gauge", f"Last run, by endpoint: {text}.", samples


def _severity(document: Row) -> float:
    severity = document["severity"]
    return Severity(severity).rank + 1 if severity else 0


def _divided(value: float | None, divisor: int) -> float | None:
    return None if value is None else value / divisor


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
        lambda d: _divided(d["response_time_avg"], 1000),
    ),
    (
        "response_time_p95_seconds",
        "95th percentile of the response time",
        lambda d: _divided(d["response_time_p95"], 1000),
    ),
    ("error_ratio", "failed requests of all", lambda d: _divided(d["error_rate"], 100)),
    ("requests", "requests made", lambda d: d["total_requests"]),
    ("requests_per_second", "request rate", lambda d: d["requests_per_second"]),
    ("virtual_users", "most virtual users", lambda d: d["virtual_users"]),
)
_OF_ENDPOINT = (
    ("requests", "requests made", "count", 1),
    ("error_ratio", "failed requests of all", "error_rate", 100),
    ("response_time_p50_seconds", "median of the response time", "p50_ms", 1000),
    ("response_time_p95_seconds", "95th percentile of the response time", "p95_ms", 1000),
    ("response_time_p99_seconds", "99th percentile of the response time", "p99_ms", 1000),
)


def _endpoint(document: Row, row: Row) -> dict[str, str]:
    return {"script": document["script"], "method": row["method"] or "", "endpoint": row["name"]}


def _label(value: str) -> str:
    """A label value as UTF-8; a long one is cut and gets a hash, so that series stay distinct."""
    text = value.encode("utf-8", "replace").decode()
    if len(text) > MOST_LABEL:
        text = f"{text[: MOST_LABEL - 9]}…{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return text
