"""Explains dropped iterations (those that k6 never started) by the executor of their scenario.

Executors with a number of iterations drop the rest at the end of `maxDuration`. Executors with an
arrival rate drop an iteration if no virtual user is free: too few are allowed for the planned rate,
or the target became so slow that all of them wait. In both cases the response times are valid.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from k6d.core.measurements import Iterations
from k6d.core.model import Finding, FindingKind, Severity
from k6d.core.numbers import ms, number, percent
from k6d.core.text import plural

if TYPE_CHECKING:
    from k6d.core.measurements import Scenario
    from k6d.core.model import Result

# An arrival-rate scenario drops one or two iterations while its VUs start.
DROPPED_PERCENT = 1.0
BY_COUNT = ("shared-iterations", "per-vu-iterations")
BY_RATE = ("constant-arrival-rate", "ramping-arrival-rate")
# If the average iteration takes this many times as long as the fast ones, the run became slow.
SLOWED = 1.5
# With this share of its time in requests, an iteration consists mostly of requests.
BUSY_SHARE = 0.5


def share(result: Result) -> float | None:
    """Return dropped iterations in percent of all due ones; None if no executor drops any."""
    if not any(one.executor in (*BY_COUNT, *BY_RATE) for one in result.scenarios.values()):
        return None
    metrics = result.summary.metrics
    dropped, done = metrics.dropped_iterations or 0, metrics.iterations or 0
    return 100 * dropped / (dropped + done) if dropped + done else None


def find(result: Result) -> list[Finding]:
    """Return a finding for each scenario that dropped iterations."""
    metrics = result.summary.metrics
    if not metrics.dropped_iterations:
        return []
    seen = {name: one for name, one in result.breakdown.iterations.items() if one.dropped}
    if not seen and len(result.scenarios) == 1:  # the script may have k6 leave the tag out
        all_ = Iterations(count=metrics.iterations or 0, dropped=metrics.dropped_iterations)
        seen = dict.fromkeys(result.scenarios, all_)
    found = []
    for name, iterations in seen.items():
        plan = result.scenarios.get(name)
        due = iterations.count + iterations.dropped
        if plan and plan.executor in BY_COUNT:
            found.append(_cut_off(_where(name, result), iterations, plan))
        elif 100 * iterations.dropped / due > DROPPED_PERCENT:
            found.append(_no_free_vu(_where(name, result), iterations, plan, result))
    return found


def _where(name: str, result: Result) -> str:
    return f" of scenario {name}" if len(result.scenarios) > 1 else ""


def _count(where: str, iterations: Iterations) -> str:
    due = iterations.count + iterations.dropped
    were = "was" if iterations.dropped == 1 else "were"
    return f"{iterations.dropped:,} of {plural(due, 'iteration')}{where} {were} not started"


def _cut_off(where: str, iterations: Iterations, plan: Scenario) -> Finding:
    took = f"; an iteration took {ms(iterations.avg_ms)} on average" if iterations.avg_ms else ""
    return Finding(
        kind=FindingKind.DROPPED,
        severity=Severity.LOW,
        metric="dropped_iterations",
        observed=iterations.dropped,
        expected="0",
        message=f"{_count(where, iterations)}: maxDuration ({plan.max_duration}) ended first{took}",
        recommendation="Find why iterations take so long, or raise maxDuration.",
    )


def _no_free_vu(
    where: str, iterations: Iterations, plan: Scenario | None, result: Result
) -> Finding:
    why, recommendation = _reason(iterations, plan, result)
    return Finding(
        kind=FindingKind.DROPPED,
        severity=Severity.MEDIUM,
        metric="dropped_iterations",
        observed=iterations.dropped,
        expected=f"≤ {percent(DROPPED_PERCENT)}",
        message=f"{_count(where, iterations)}, because no virtual user was free: {why}; "
        f"the load was below plan, the response times are the target's",
        recommendation=recommendation,
    )


def _reason(iterations: Iterations, plan: Scenario | None, result: Result) -> tuple[str, str]:
    """Return why no virtual user was free, and the remedy (Little's law: VUs = rate x time)."""
    avg, fast = iterations.avg_ms, iterations.fast_ms
    least = result.summary.k6_metrics.get("iteration_duration", {}).get("min")
    fast = max(fast, least) if fast and least else fast  # the one is an estimate, the other exact
    if plan is None or not plan.rate or not plan.max_vus or not avg or not fast:
        return (
            "all of them were in iterations",
            "Allow more VUs (maxVUs), or plan fewer iterations.",
        )
    allowed = f"{plan.max_vus:,} allowed"
    if plan.rate * fast / 1000 > plan.max_vus:
        needed = math.ceil(plan.rate * fast / 1000)
        return (
            f"{number(plan.rate)} iterations/s need at least {plural(needed, 'virtual user')} "
            f"when even fast ones take {ms(fast)}, {allowed}",
            f"Set maxVUs to {math.ceil(plan.rate * avg / 1000):,} or more for this rate.",
        )
    slowed = avg >= SLOWED * fast
    took = f"iterations took {ms(avg)} on average" + (f", fast ones {ms(fast)}" if slowed else "")
    if _in_requests(result) >= BUSY_SHARE:
        return (
            f"{took}, most of it waiting for the target ({allowed})",
            "Find what slowed the target; more VUs only keep up the load.",
        )
    return (
        f"{took}, most of it outside of requests ({allowed})",
        "Allow more VUs (maxVUs): the script's own pauses keep them busy.",
    )


def _in_requests(result: Result) -> float:
    """Return the share of all iterations' time that was spent in HTTP requests."""
    metrics = result.judged
    took_ms = sum(one.count * (one.avg_ms or 0.0) for one in result.breakdown.iterations.values())
    if not took_ms or not metrics.total_requests:
        return 0.0
    return metrics.total_requests * (metrics.response_time_avg or 0.0) / took_ms
