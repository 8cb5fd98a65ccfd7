"""Findings about gRPC calls: failed ones, and slow ones, by the limits for requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from k6d.analysis.expected import NEGATION
from k6d.analysis.failures import too_many
from k6d.core.metrics import METRICS
from k6d.core.model import Finding, FindingKind
from k6d.core.numbers import against
from k6d.core.text import plural

if TYPE_CHECKING:
    from k6d.core.measurements import Check
    from k6d.core.model import Result
    from k6d.settings import Limits

METRIC = "grpc_req_duration"
# https://grpc.io/docs/guides/status-codes/
CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)
OK, UNAVAILABLE = "0", "14"
EVERYDAY = ("CANCELLED", "UNKNOWN", "ABORTED", "INTERNAL", "UNAVAILABLE")
TIMES = {"response_time_avg": "avg", "response_time_p95": "p(95)"}


def find(result: Result, limits: Limits) -> list[Finding]:
    """Return findings on failed and on slow calls, unordered."""
    return [*_failures(result, limits), *_times(result, limits)]


def _failures(result: Result, limits: Limits) -> list[Finding]:
    """Return one finding if all calls failed, or more than the limit for errors allows.

    Calls with a status that a check expects are no failures.
    """
    counts = result.breakdown.grpc_codes
    total = sum(counts.values())
    failures = {
        code: n
        for code, n in counts.items()
        if code != OK and not _is_expected(code, n, result.summary.checks)
    }
    failed = sum(failures.values())
    if not (found := too_many(failed, total, limits)):
        return []
    worst = max(failures, key=lambda code: failures[code])
    silent = failures == {UNAVAILABLE: total}
    message = f"every gRPC call failed: {_name(worst)}, {failures[worst]:,} of {total:,}"
    if failed < total:
        where = _place(result, failed)
        message = (
            f"{found.seen} of the gRPC calls failed ({failed:,} of {total:,}){where}, mostly "
            f"{_name(worst)}; at most {found.allowed} expected"
        )
    elif silent:
        message = f"the target is unreachable: UNAVAILABLE for {plural(total, 'gRPC call')}"
    return [
        Finding(
            kind=FindingKind.UNREACHABLE if silent else FindingKind.LIMIT,
            severity=found.severity,
            metric="grpc_calls",
            observed=found.share,
            expected=found.expected,
            unit="%",
            message=message,
            recommendation="Look at the target's log for these calls; k6d show has each method.",
        )
    ]


def _place(result: Result, failed: int) -> str:
    """Return the method that has most of the failures, if there are others."""
    methods = result.breakdown.grpc_methods
    top = max(methods, key=lambda row: row.failed or 0, default=None)
    if top is None or len(methods) < 2 or 2 * (top.failed or 0) <= failed:
        return ""
    return f", most of them at {top.title}"


def _times(result: Result, limits: Limits) -> list[Finding]:
    """Return findings for the average and p95 of all calls."""
    stats = result.summary.k6_metrics.get(METRIC, {})
    found = []
    for metric, stat in TIMES.items():
        observed = stats.get(stat)
        if not any(stats.values()) or observed is None:
            continue
        if not (broken := getattr(limits, metric).broken(observed)):
            continue
        about = METRICS[metric]
        seen, allowed = against(observed, broken[1], unit=about.unit)
        found.append(
            Finding(
                kind=FindingKind.LIMIT,
                severity=broken[0],
                metric=f"{METRIC} {stat}",
                observed=observed,
                expected=f"≤ {allowed}",
                unit=about.unit,
                message=f"{about.short} of the gRPC calls {seen}, at most {allowed} expected",
                recommendation="Profile the slow method, or give it less load at once.",
            )
        )
    return found


def _name(code: str) -> str:
    return CODES[int(code)] if code in map(str, range(len(CODES))) else f"status {code}"


def _is_expected(code: str, calls: int, checks: list[Check]) -> bool:
    """Whether a check that never failed names the status: "is NotFound", "status 5".

    A status that is a word of everyday English, such as Internal, follows "status" or "code".
    """
    word = _name(code).replace("_", "[ _]?")
    before = r"(?:status|code)\w*\W+(?:\w+\W+)?" if _name(code) in EVERYDAY else ""
    named = re.compile(
        rf"(?i)\b(?:{before}{word}|Status{word}|status \D{{0,5}}{re.escape(code)})\b"
    )
    return any(
        not check.fails
        and check.passes >= calls
        and named.search(check.name)
        and not NEGATION.search(named.sub("", check.name))  # "not found" is none
        for check in checks
    )
