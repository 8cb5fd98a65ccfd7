"""Leaves out failed requests whose status a check of the script expects, and gives a hint."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from k6d.core.text import plural

if TYPE_CHECKING:
    from k6d.core.model import Result

HINT = "tell k6 by http.expectedStatuses("
# k6 counts these statuses as failed by default.
_FAILED = re.compile(r"[45]\d\d")
NEGATION = re.compile(r"\b(not?|never|without)\b|!=|n't", re.IGNORECASE)
_UNIT = r"\s*(?:ms|s|secs?|seconds?|millis\w*|%|[kmg]?i?b|bytes?|items?|rows?|times|requests?)\b"
_MEASURE = r"(?:time|timings?|duration|latency|size|length|count|rate|took|p\d\d)"
_LESS = r"(?:[<>≤≥]=?|\b(?:under|below|within|over|above|(?:less|more|faster|slower) than|at most))"
# What a check says of a quantity: "duration < 500", "within 404 ms", "500 bytes".
_QUANTITY = re.compile(
    rf"(?:\b{_MEASURE}\s+)?(?:is\s+|was\s+)?{_LESS}\s*\d+(?:{_UNIT})?|\b\d+{_UNIT}", re.IGNORECASE
)
_IS_A_MEASURE = re.compile(rf"\b{_MEASURE}\b", re.IGNORECASE)
# What precedes a status: "status 404", "returns 404", "is 401 or 404"; or nothing does.
_STATUS = re.compile(
    r"(?:^|[=:,/|]|\b(?:status|codes?|https?|returns?|returned|responds?|responded|answers?|"
    r"answered|with|gets?|got|gives?|expect(?:ed|s)?|is|was|are|be|an?|or|and)\b)\s*([1-5]\d\d)\b",
    re.IGNORECASE,
)


def without(result: Result) -> tuple[Result, list[str]]:
    """Return the result without failed requests, and hints, if checks expect all of them.

    A check expects the statuses that its name says. It must never have failed, and must have passed
    at least as often as all of them were returned. A number with a unit or after "<" is no status.
    """
    metrics = result.judged
    counts = {s: n for s, n in result.breakdown.status_codes.items() if _FAILED.fullmatch(s)}
    if not metrics.failed_requests or sum(counts.values()) != metrics.failed_requests:
        return result, []
    names = {status: _check(result, status) for status in counts}
    if not all(names.values()):
        return result, []
    hints = [
        f"{plural(n, 'request')} answered with {status}, as the check “{names[status]}” expects: "
        f"{HINT}{status}), and they are no failures"
        for status, n in counts.items()
    ]
    endpoints = [replace(row, failed=0, error_rate=0.0) for row in result.breakdown.endpoints]
    line = result.breakdown.timeline
    line = replace(line, errors_per_second=[0.0 for _ in line.errors_per_second])
    return replace(
        result,
        load=replace(metrics, failed_requests=0, error_rate=0.0),
        breakdown=replace(result.breakdown, endpoints=endpoints, timeline=line),
    ), hints


def _check(result: Result, status: str) -> str | None:
    returned = result.breakdown.status_codes
    for check in result.summary.checks:
        named = _statuses(check.name)
        requests = sum(returned.get(one, 0) for one in named)
        if status in named and not check.fails and check.passes >= requests:
            return check.name
    return None


def _statuses(name: str) -> set[str]:
    """Return the statuses that the name of a check says it expects."""
    if NEGATION.search(name):
        return set()
    said = _QUANTITY.sub(" ", name)
    return set() if _IS_A_MEASURE.search(said) else set(_STATUS.findall(said))
