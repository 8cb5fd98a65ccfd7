"""Results to judge."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from k6d.core.measurements import Breakdown, Metrics, RequestStats, Summary
from k6d.core.model import Execution, Outcome, Result

if TYPE_CHECKING:
    from k6d.core.measurements import Check, Threshold


def endpoint(name: str, *, count: int, failed: int = 0, p95_ms: float = 20.0) -> RequestStats:
    """GET `name` with so many requests and failures."""
    return RequestStats(
        name=name,
        method="GET",
        count=count,
        failed=failed,
        rate=count / 60,
        error_rate=100 * failed / count,
        avg_ms=p95_ms / 2,
        p50_ms=p95_ms / 2,
        p90_ms=p95_ms,
        p95_ms=p95_ms,
        p99_ms=p95_ms,
        max_bucket_ms=p95_ms,
    )


def result(
    *,
    execution: Execution | None = None,
    breakdown: Breakdown | None = None,
    checks: tuple[Check, ...] = (),
    thresholds: tuple[Threshold, ...] = (),
    exceptions: int = 0,
    first_exception: str | None = None,
    **metrics: Any,
) -> Result:
    """A healthy result of 6,000 requests in a minute by ten VUs, changed in what is named."""
    healthy = Metrics(
        response_time_avg=40.0,
        response_time_p95=90.0,
        error_rate=0.0,
        failed_requests=0,
        total_requests=6000,
        requests_per_second=100.0,
        virtual_users=10,
        iterations=6000,
    )
    return Result(
        execution=execution or Execution(outcome=Outcome.COMPLETED, exit_code=0),
        summary=Summary(
            metrics=replace(healthy, **metrics), checks=list(checks), thresholds=list(thresholds)
        ),
        breakdown=breakdown or Breakdown(),
        exceptions=exceptions,
        first_exception=first_exception,
    )
