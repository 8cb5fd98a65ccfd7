"""Compares the runners of a run on a cluster: one may be short of CPU, or on a bad node."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from k6d.core.model import Finding, FindingKind, Severity
from k6d.core.numbers import ms, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k6d.core.measurements import Runner
    from k6d.core.model import Result

# The p95 of fewer requests varies too much by itself.
LEAST_REQUESTS = 100
# The load is shared equally and the target is the same, so runners differ by noise alone.
FACTOR, LEAST_MS = 2.0, 20.0
POINTS = 10.0
LATE_SHARE = 0.2  # of the seconds of the run


def find(result: Result) -> list[Finding]:
    """Return a finding if runners differ from the others."""
    if not (unlike := differences(result.runners)):
        return []
    return [
        Finding(
            kind=FindingKind.GENERATOR,
            severity=Severity.LOW,
            message=f"{'; '.join(unlike)}; the numbers of the run contain those of all runners",
            recommendation="Look at that runner's node and at its network.",
        )
    ]


def differences(runners: Sequence[Runner]) -> list[str]:
    """Return one line for each runner that measured something else than the others."""
    telling = [one for one in runners if one.requests >= LEAST_REQUESTS and not one.error]
    found = []
    for one in telling:
        others = [other for other in telling if other is not one]
        if len(others) < 2:  # of two, nobody can say which is the odd one
            return []
        if line := _slower(one, others) or _failing(one, others):
            found.append(line)
    return found


def short_of_cpu(runners: Sequence[Runner], seconds: float) -> list[str]:
    """Return one line for each runner that pushed late for a large part of the run."""
    return [
        f"{_named(one)} was short of CPU: it pushed late for {one.late_seconds} of {seconds:.0f} s"
        for one in runners
        if seconds and one.late_seconds > max(LATE_SHARE * seconds, 2)
    ]


def _slower(one: Runner, others: Sequence[Runner]) -> str | None:
    theirs = [other.p95_ms for other in others if other.p95_ms is not None]
    if one.p95_ms is None or not theirs:
        return None
    usual = median(theirs)
    if one.p95_ms > usual * FACTOR and one.p95_ms - usual > LEAST_MS:
        return f"{_named(one)} measured a p95 of {ms(one.p95_ms)}, the others {ms(usual)}"
    return None


def _failing(one: Runner, others: Sequence[Runner]) -> str | None:
    theirs = [other.error_rate for other in others if other.error_rate is not None]
    if one.error_rate is None or not theirs:
        return None
    usual = median(theirs)
    if one.error_rate - usual > POINTS:
        rate = percent(one.error_rate)
        return f"for {_named(one)} {rate} of the requests failed, for the others {percent(usual)}"
    return None


def _named(one: Runner) -> str:
    return f"runner {one.number}" + (f" (node {one.node})" if one.node else "")
