"""The series of a run that are compared with earlier runs: one number per stored key.

A key is a metric, with a space and the endpoint if there is one: "response_time_p95",
"error_rate GET /cart", "custom:checkout_time:p(95):<", "target:checkout CPU:%:<". The key alone
describes the series. Of the numbers of the target, only those that alert by themselves are judged,
which a setting says and not the key.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from k6d.analysis import dropped
from k6d.core.frozen import frozen
from k6d.core.measurements import TARGET
from k6d.core.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from k6d.core.measurements import RequestStats, TargetMetric, Threshold
    from k6d.core.model import Result

# Each further series widens the bands of all series, so only the busiest endpoints are compared.
MAX_ENDPOINTS = 50
_THRESHOLD = re.compile(r"\s*(p\([\d.]+\)|[a-z]+)\s*([<>])")
CUSTOM = "custom:"
OWN_KEYS = (CUSTOM, TARGET)  # such a key is the metric, whatever blanks it has
# k6's metrics that are compared as overall series; thresholds on them make no further series.
OVERALL = ("http_req_duration", "http_req_failed", "http_reqs", "checks", "dropped_iterations")
_P95 = "p(95)"
PROTOCOLS = (
    ("ws_connecting", _P95),
    ("grpc_req_duration", _P95),
    ("grpc_req_duration", "avg"),
    ("browser_web_vital_lcp", _P95),
    ("browser_web_vital_fcp", _P95),
    ("browser_web_vital_ttfb", _P95),
    ("browser_web_vital_inp", _P95),
    ("browser_web_vital_cls", _P95),
    ("browser_http_req_duration", _P95),
    ("browser_http_req_failed", "value"),
)
# k6's own metrics of times, in milliseconds, with or without tags.
_TIME = re.compile(
    r"(http_req_(?!failed)|iteration_duration|group_duration|ws_(connecting|ping|session_duration)"
    r"|grpc_req_duration|browser_http_req_duration|browser_web_vital_(?!cls))"
)


@frozen
class Series:
    """The properties of a series: `floor` is the smallest relevant change, in `unit`.

    A series that is not `judged` is compared and shown, and never causes an alarm.
    """

    metric: str
    title: str
    unit: str
    worse: Literal[-1, 1]
    floor: float
    endpoint: str | None = None
    judged: bool = True


# The overall series of a run, whatever their endpoints and thresholds.
OVERALL_METRICS = (
    *("error_rate", "failed_checks", "dropped_iterations", "response_time_p95"),
    *("response_time_p99", "response_time_avg", "requests_per_second", "setup_avg"),
)


def of(result: Result, *, min_requests: int) -> dict[str, float]:
    """The numbers of a run by key, without those not measured or with too few requests."""
    metrics = result.judged
    values = {
        "response_time_p95": metrics.response_time_p95,
        "response_time_p99": metrics.response_time_p99,
        "response_time_avg": metrics.response_time_avg,
        "requests_per_second": metrics.requests_per_second,
        "error_rate": metrics.error_rate,
        "failed_checks": _failed_checks(result),
        "dropped_iterations": dropped.share(result),
        "setup_avg": _setup_avg(result),
        **_endpoints(result.breakdown.endpoints[:MAX_ENDPOINTS], min_requests),
        **_endpoints(result.breakdown.grpc_methods[:MAX_ENDPOINTS], min_requests),
        **_endpoints(result.breakdown.pages[:MAX_ENDPOINTS], min_requests),
        **_with_thresholds(result.summary.thresholds),
        **_of_protocols(result.summary.k6_metrics),
    }
    return {key: round(value, 6) for key, value in values.items() if value is not None}


def of_target(metrics: Iterable[TargetMetric]) -> dict[str, float]:
    """The target's own numbers by key, without those not measured."""
    return {one.key: one.value for one in metrics if one.value is not None}


def alerting(metrics: Iterable[TargetMetric]) -> set[str]:
    """The keys of the target's numbers that alert by themselves."""
    return {one.key for one in metrics if one.alert}


def is_judged(key: str, alerting: Container[str]) -> bool:
    """Whether a change of the series for the worse is a regression."""
    return key in alerting or describe(key).judged


def describe(key: str) -> Series:
    """The series of a key; ValueError if the key is unknown."""
    if key.startswith(TARGET):
        return _of_target(key)
    if key.startswith(CUSTOM):
        metric, stat, operator = key.removeprefix(CUSTOM).rsplit(":", 2)
        worse: Literal[-1, 1] = 1 if operator == "<" else -1
        return Series(
            metric=metric, title=f"{metric} {stat}", unit=_unit(metric), worse=worse, floor=0.0
        )
    metric, _, endpoint = key.partition(" ")
    if metric not in OVERALL_METRICS:
        known = ", ".join(OVERALL_METRICS)
        raise ValueError(f"no series is called {metric!r}; there are: {known}")
    about = METRICS[metric]
    return Series(
        metric=metric,
        title=f"{about.short} of {endpoint}" if endpoint else about.short,
        unit=about.unit,
        worse=-1 if about.worse < 0 else 1,
        floor=about.floor,
        endpoint=endpoint or None,
        judged=about.judged,
    )


def _of_target(key: str) -> Series:
    title, unit, direction = key.removeprefix(TARGET).rsplit(":", 2)
    return Series(
        metric=key,
        title=title,
        unit=unit,
        worse=1 if direction == "<" else -1,
        floor=1.0 if unit == "%" else 0.0,
        judged=False,
    )


def _failed_checks(result: Result) -> float | None:
    passed, failed = result.judged.checks_passed, result.judged.checks_failed
    if passed is None or failed is None or passed + failed == 0:
        return None
    return 100 * failed / (passed + failed)


def _setup_avg(result: Result) -> float | None:
    rows = result.breakdown.apart.get("setup", [])
    count = sum(row.count for row in rows if row.avg_ms is not None)
    return sum(row.count * (row.avg_ms or 0.0) for row in rows) / count if count else None


def _endpoints(endpoints: Iterable[RequestStats], min_requests: int) -> dict[str, float | None]:
    values = {}
    for endpoint in endpoints:
        if endpoint.count >= min_requests:
            values[f"response_time_p95 {endpoint.title}"] = endpoint.p95_ms
        if endpoint.judged >= min_requests:
            values[f"error_rate {endpoint.title}"] = endpoint.error_rate
    return values


def _with_thresholds(thresholds: Iterable[Threshold]) -> dict[str, float | None]:
    """Every metric with a threshold; the threshold's operator shows which change is bad."""
    values = {}
    for threshold in thresholds:
        match = _THRESHOLD.match(threshold.expression)
        if match and threshold.metric not in OVERALL:
            stat, operator = match.groups()
            values[f"{CUSTOM}{threshold.metric}:{stat}:{operator}"] = threshold.observed
    return values


def _of_protocols(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float | None]:
    """The main numbers of other protocols that the script uses."""
    values: dict[str, float | None] = {}
    for metric, stat in PROTOCOLS:
        seen = metrics.get(metric, {})
        if stat in seen and any(seen.values()):
            values[f"{CUSTOM}{metric}:{stat}:<"] = seen[stat]
    return values


def _unit(metric: str) -> str:
    return "ms" if _TIME.match(metric) else ""
