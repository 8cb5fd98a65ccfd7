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
_NEGATION = re.compile(r"\b(not?|never|without)\b|!=|n't", re.IGNORECASE)


def without(result: Result) -> tuple[Result, list[str]]:
    """Return the result without failed requests, and hints, if checks expect all of them.

    A check expects a status if its name contains the number, if it never failed, and if it passed
    at least as often as the status was returned.
    """
    metrics = result.judged
    counts = {s: n for s, n in result.breakdown.status_codes.items() if _FAILED.fullmatch(s)}
    if not metrics.failed_requests or sum(counts.values()) != metrics.failed_requests:
        return result, []
    names = {status: _check(result, status, n) for status, n in counts.items()}
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


def _check(result: Result, status: str, requests: int) -> str | None:
    for check in result.summary.checks:
        speaks_of_it = re.search(rf"\b{status}\b", check.name)
        kept = not check.fails and check.passes >= requests
        if kept and speaks_of_it and not _NEGATION.search(check.name):
            return check.name
    return None
