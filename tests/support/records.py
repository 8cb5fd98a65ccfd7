"""Plausible records for tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from k6d.core.measurements import (
    Breakdown,
    Check,
    Log,
    Metrics,
    RequestStats,
    TargetMetric,
    Threshold,
    Timeline,
)
from k6d.core.model import (
    Execution,
    Finding,
    FindingKind,
    Outcome,
    Run,
    Severity,
    Trigger,
    Verdict,
)
from k6d.core.snapshot import Snapshot

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def make_target(**changes: Any) -> TargetMetric:
    """The CPU of the checkout over one minute, of which it was not known for a while."""
    values = [None if 20 <= at < 30 else 40.0 + at / 2 for at in range(0, 61, 5)]
    found = TargetMetric(
        title="checkout CPU",
        unit="%",
        query="cpu",
        value=55.0,
        step_s=5.0,
        values=values,
    )
    return replace(found, **changes)


def make_run(**changes: Any) -> Run:
    """A healthy run of checkout.js at noon, one minute long, changed in the fields named."""
    run = Run(
        test_id="20261122-120000-3f9a2c",
        timestamp=NOON,
        script="/srv/k6/checkout.js",
        trigger=Trigger.CHANGED,
        status="completed",
        execution_time=61.2,
        metrics=Metrics(
            response_time_avg=41.5,
            response_time_p95=88.25,
            error_rate=0.1,
            failed_requests=6,
            total_requests=6000,
            requests_per_second=100.0,
            virtual_users=10,
            duration_ms=60_000.0,
        ),
        anomaly_analysis=Verdict(anomalies_detected=False),
        execution=Execution(
            outcome=Outcome.COMPLETED, exit_code=0, k6_version="1.1.0", machine="ci", planned_s=60.0
        ),
        snapshot=Snapshot(
            id="5d41402abc4b2a76",
            fingerprint="9f86d081884c7d65",
            workload="2c26b46b68ffc68f",
            dependencies={"/srv/k6/checkout.js": "9f86d081884c7d65", "/srv/k6/lib/auth.js": "fcde"},
        ),
        breakdown=Breakdown(endpoints=[make_endpoint()], timeline=make_timeline(60)),
        checks=[Check(name="is 200", group="", passes=5994, fails=6)],
        thresholds=[Threshold(metric="http_req_duration", expression="p(95)<500", crossed=False)],
        log=Log(head='level=info msg="ready"\n'),
    )
    return replace(run, **changes)


def make_endpoint(**changes: Any) -> RequestStats:
    """The numbers of GET /cart in the run that `make_run` makes."""
    stats = RequestStats(
        name="/cart",
        method="GET",
        count=6000,
        failed=6,
        rate=100.0,
        error_rate=0.1,
        avg_ms=41.5,
        p50_ms=40.0,
        p90_ms=70.0,
        p95_ms=88.25,
        p99_ms=120.0,
        max_bucket_ms=181.0,
    )
    return replace(stats, **changes)


def make_timeline(seconds: int) -> Timeline:
    """An even minute, or however long."""
    return Timeline(
        t=list(range(1, seconds + 1)),
        vus=[10] * seconds,
        requests_per_second=[100.0] * seconds,
        errors_per_second=[0.1] * seconds,
        p95_ms=[88.25] * seconds,
    )


def make_anomaly(message: str = "p95 of GET /cart is 912 ms, the limit is 500 ms") -> Verdict:
    """A verdict with one finding of high severity."""
    finding = Finding(
        kind=FindingKind.LIMIT,
        severity=Severity.HIGH,
        message=message,
        recommendation="Look at GET /cart first.",
        metric="response_time_p95",
        endpoint="GET /cart",
        observed=912.0,
        expected="at most 500",
        unit="ms",
    )
    return Verdict(
        anomalies_detected=True,
        severity=Severity.HIGH,
        issues=[message],
        recommendations=[finding.recommendation],
        findings=[finding],
    )
