"""Finds spikes, steps and collapses inside one run, second by second.

Each second is compared with its expected value: a robust straight line through the last 20 normal
seconds. A ramp of virtual users, in which load and response times grow steadily, is therefore no
spike. Abnormal seconds are left out of the line. If they last 10 seconds, the new level is reported
as a step, and the line starts again there.

The expected number of errors is the share of requests that failed so far, times the requests of
this second. More load alone is therefore no burst of errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

from k6d.analysis.noise import difference_sigma, is_measured, mad_sigma

Kind = Literal["slow", "errors", "collapse"]
Shape = Literal["spike", "step"]

# The first seconds of a run differ, because connections open and caches fill.
WARM_UP_S: Final = 5
# The line needs at least LEARNED_S normal seconds, and uses at most WINDOW_S.
LEARNED_S: Final = 8
WINDOW_S: Final = 20
# A change that lasts this long is a step, not a spike.
STEP_S: Final = 10
# A run has thousands of seconds in three columns, and the p95 of few requests has far heavier tails
# than a normal distribution. Hence 6 sigma.
EVIDENCE: Final = 6.0
# A smaller change is hard to see in the chart.
SLOW_BY: Final = 0.5
# Timers and schedulers alone move the p95 of a second by this much.
SLOW_BY_MS: Final = 20.0
# Below a hundred requests fewer than five decide the p95, and a few slow ones are chance. A slow
# stretch therefore needs this many requests, or this many seconds in a row.
SLOW_REQUESTS: Final = 100.0
SLOW_SECONDS: Final = 3
# Throughput at half of what was expected or less is a collapse, not a dip.
COLLAPSE_TO: Final = 0.5
# Counts have light tails, so 4 sigma are enough.
COLLAPSE_EVIDENCE: Final = 4.0
# Chance alone halves the throughput if there are fewer requests a second than this.
COLLAPSE_RPS: Final = 5.0
# One or two failed requests in a second are no burst.
ERRORS_LEAST: Final = 3.0
# If the virtual users of two seconds differ by more than this share, their load differs by plan.
PLANNED: Final = 0.2
# A kind of request is new in a second if it makes up at least MIX_NEW of its requests (and
# MIX_SEEN of them) and less than MIX_RARE of the requests of another second.
MIX_NEW: Final = 0.1
MIX_RARE: Final = 0.01
MIX_SEEN: Final = 3
# If this many of a kind are expected, none comes by chance in less than one of 2,000 seconds.
MIX_MISSED: Final = 8


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the time line; `p95_ms` is None when no request ended in it.

    `vus` (active virtual users), where known, tells a planned change of load from a collapse.
    `mix`, requests by scenario and name, tells another phase of the plan from a change of the same.
    """

    t_s: int
    rps: float
    errors: float
    p95_ms: float | None
    vus: float | None = None
    mix: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Spike:
    """An abnormal stretch of seconds: p95 in ms, failed requests per second, or requests/s.

    `observed` is the median of the stretch (for errors, its peak); `expected` comes from the
    seconds before it. A step still lasted at its last judged second.
    """

    kind: Kind
    shape: Shape
    start_s: int
    length_s: int
    observed: float
    expected: float


Limit = Callable[[Sequence[Second], Second], tuple[float, float, float] | None]


def find_spikes(seconds: Sequence[Second]) -> list[Spike]:
    """All spikes of a run, by start; the first 5 seconds and the last one are not judged."""
    judged = list(seconds[WARM_UP_S:-1])
    findings = [
        *_scan(judged, kind="slow", limit=_slow),
        *_scan(judged, kind="errors", limit=_errors),
        *_scan(judged, kind="collapse", limit=_collapse),
    ]
    if not any(finding.kind == "collapse" for finding in findings):
        findings += _silent_end(seconds[:-1])
    return sorted(findings, key=lambda finding: (finding.start_s, finding.kind))


def _scan(seconds: Sequence[Second], *, kind: Kind, limit: Limit) -> list[Spike]:
    """The spikes of one kind.

    `limit` gives (observed, expected, excess) of a second, or None if it cannot be judged. A second
    is abnormal if its excess is positive.
    """
    findings: list[Spike] = []
    normal: list[Second] = []
    open_: list[tuple[Second, float, float]] = []
    for second in seconds:
        verdict = limit(normal[-WINDOW_S:], second)
        if verdict is not None and verdict[2] > 0:
            open_.append((second, verdict[0], verdict[1]))
            if len(open_) == STEP_S:
                findings.append(_finding(kind, "step", open_))
                normal, open_ = [item[0] for item in open_], []
            continue
        if _is_enough(kind, open_):
            findings.append(_finding(kind, "spike", open_))
        open_ = []
        normal.append(second)
    if _is_enough(kind, open_):
        findings.append(_finding(kind, "spike", open_))
    return findings


def _is_enough(kind: Kind, stretch: Sequence[tuple[Second, float, float]]) -> bool:
    """Whether a stretch is more than a few slow requests by chance."""
    if kind != "slow" or not stretch:
        return bool(stretch)
    requests = sum(second.rps for second, _, _ in stretch if is_measured(second.rps))
    return requests >= SLOW_REQUESTS or len(stretch) >= SLOW_SECONDS


def _finding(kind: Kind, shape: Shape, stretch: Sequence[tuple[Second, float, float]]) -> Spike:
    observed = [item[1] for item in stretch]
    return Spike(
        kind=kind,
        shape=shape,
        start_s=stretch[0][0].t_s,
        length_s=stretch[-1][0].t_s - stretch[0][0].t_s + 1,
        observed=max(observed) if kind == "errors" else median(observed),
        expected=stretch[0][2],
    )


def _slow(normal: Sequence[Second], second: Second) -> tuple[float, float, float] | None:
    if second.p95_ms is None or not is_measured(second.p95_ms):
        return None
    # p95 also rises when a fast kind of request stops, so the mix must be alike both ways.
    alike = [
        s
        for s in _same_load(normal, second)
        if not _lacks(s.mix, second.mix) and not _lacks(second.mix, s.mix)
    ]
    points = [(s.t_s, s.p95_ms) for s in alike if s.p95_ms is not None and is_measured(s.p95_ms)]
    line = _line(points, second.t_s)
    if line is None:
        return None
    expected, sigma = line
    allowed = max(EVIDENCE * sigma, SLOW_BY * expected, SLOW_BY_MS)
    return second.p95_ms, expected, second.p95_ms - expected - allowed


def _collapse(normal: Sequence[Second], second: Second) -> tuple[float, float, float] | None:
    if not is_measured(second.rps):
        return None
    # Requests that stopped may hang, so only new kinds of requests make another phase of the plan.
    alike = [s for s in _same_load(normal, second) if not _lacks(s.mix, second.mix)]
    points = [(s.t_s, s.rps) for s in alike if is_measured(s.rps)]
    line = _line(points, second.t_s)
    if line is None:
        return None
    expected = min(line[0], median(rps for _, rps in points[-3:]))  # a ramp may end here
    if expected < COLLAPSE_RPS:
        return None
    sigma = max(line[1], math.sqrt(expected))  # arrivals vary by their square root at least
    allowed = max((1 - COLLAPSE_TO) * expected, min(COLLAPSE_EVIDENCE * sigma, 0.9 * expected))
    return second.rps, expected, expected - second.rps - allowed


def _silent_end(seconds: Sequence[Second]) -> list[Spike]:
    """The collapse of a target that stops answering until the run ends; empty if there is none.

    k6 counts a request when it ends, so requests that hang are in no other number. The end is
    silent when no request ended in at least STEP_S seconds, a quarter of the run or more, while as
    many virtual users were active as in the seconds before. In these, at least WARM_UP_S in a row,
    requests ended in each second: a script that pauses between its requests has gaps there.
    """
    silent = len(seconds)
    while silent and seconds[silent - 1].rps == 0 and seconds[silent - 1].vus:
        silent -= 1
    active = silent
    while active and is_measured(seconds[active - 1].rps) and seconds[active - 1].rps > 0:
        active -= 1
    end, before = seconds[silent:], seconds[active:silent]
    if len(end) < max(STEP_S, len(seconds) / 4) or len(before) < WARM_UP_S:
        return []
    expected = median(second.rps for second in before)
    if expected < COLLAPSE_RPS or any(len(_same_load(end, one)) < len(end) for one in before):
        return []
    stretch = [(second, 0.0, expected) for second in end]
    return [_finding("collapse", "step", stretch)]


def _errors(normal: Sequence[Second], second: Second) -> tuple[float, float, float] | None:
    alike = [s for s in normal if not _lacks(s.mix, second.mix)]
    usable = [s for s in alike if is_measured(s.errors) and is_measured(s.rps)]
    if len(usable) < LEARNED_S or not is_measured(second.errors) or not is_measured(second.rps):
        return None
    share = sum(s.errors for s in usable) / max(1.0, sum(s.rps for s in usable))
    expected = share * second.rps
    # Counts vary by their square root, and the share itself is known from few seconds only.
    sigma = max(math.sqrt(max(expected, 0.0)), mad_sigma([s.errors for s in usable]))
    allowed = max(EVIDENCE * sigma, ERRORS_LEAST)
    return second.errors, expected, second.errors - expected - allowed


def _same_load(normal: Sequence[Second], second: Second) -> list[Second]:
    """The seconds with a similar number of virtual users; all of them if that is unknown."""
    vus = second.vus
    if vus is None:
        return list(normal)
    return [s for s in normal if s.vus is None or abs(s.vus - vus) <= PLANNED * vus]


def _lacks(some: Mapping[str, int] | None, other: Mapping[str, int] | None) -> bool:
    """Whether a tenth of the requests in `other` are of a kind that is rare in `some`.

    `some` must have enough requests for MIX_MISSED of that kind to be expected.
    """
    if not some or not other:
        return False
    these, others = sum(some.values()), sum(other.values())
    return any(
        n >= max(MIX_NEW * others, MIX_SEEN)
        and some.get(key, 0) < MIX_RARE * these
        and these * n >= MIX_MISSED * others
        for key, n in other.items()
    )


def _line(points: Sequence[tuple[float, float]], t_s: float) -> tuple[float, float] | None:
    """The expected value at `t_s` and the sigma of one second around a robust line.

    None if there are too few points. The slope is the median of all slopes: Theil (1950), "A
    Rank-Invariant Method of Linear and Polynomial Regression Analysis"; Sen (1968), JASA 63. A
    slope within its error counts as 0.
    """
    if len(points) < LEARNED_S:
        return None
    slope = median(
        (b - a) / (t_b - t_a)
        for i, (t_a, a) in enumerate(points)
        for t_b, b in points[i + 1 :]
        if t_b > t_a
    )
    values = [value for _, value in points]
    rest = [value - slope * (t - points[0][0]) for t, value in points]
    sigma = max(mad_sigma(rest), difference_sigma(values), 0.0)
    span = points[-1][0] - points[0][0]
    if abs(slope) * span < 2 * sigma:  # the slope is within its error
        return max(median(values), 0.0), sigma
    reached = median(rest) + slope * (points[-1][0] - points[0][0])
    ahead = min(t_s - points[-1][0], STEP_S)  # not further than the line is known
    return max(reached + slope * ahead, 0.0), sigma
