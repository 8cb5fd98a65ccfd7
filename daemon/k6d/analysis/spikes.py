"""Finds spikes, steps and collapses inside one run, second by second.

Each second is compared with its expected value: a robust straight line through the last 20 normal
seconds. So a ramp of virtual users, in which load and response times grow steadily, is not a spike.
Abnormal seconds are left out of the line. If they last 10 seconds, the new level is accepted as a
step, and judging continues from there.

The expected number of errors is the share of requests that failed so far, times the requests of
this second. So more load alone is not a burst of errors.
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
# A run has some thousand seconds, three columns: 6 sigma, for the tails of a p95 of few requests
# are far heavier than normal.
EVIDENCE: Final = 6.0
# Half as slow again is the least that a person would see in the chart.
SLOW_BY: Final = 0.5
# Timers and schedulers move a second's p95 by this much on their own.
SLOW_BY_MS: Final = 20.0
# Fewer than five requests decide the p95 of less than a hundred, and a few slow ones are chance: a
# stretch needs that many requests, or three seconds in a row.
SLOW_REQUESTS: Final = 100.0
SLOW_SECONDS: Final = 3
# Throughput at half of what was expected or less is a collapse, not a dip.
COLLAPSE_TO: Final = 0.5
# Counts have light tails, and half is far; 4 sigma are enough.
COLLAPSE_EVIDENCE: Final = 4.0
# Fewer requests a second than this, and chance alone halves them.
COLLAPSE_RPS: Final = 5.0
# One or two failed requests in a second may be anything.
ERRORS_LEAST: Final = 3.0
# Seconds whose virtual users differ by more than this had another load on purpose.
PLANNED: Final = 0.2
# A kind of request is new in a second when it makes up so much of it, and so little of another.
MIX_NEW: Final = 0.1
MIX_RARE: Final = 0.01
MIX_SEEN: Final = 3
# So many of a kind are expected where none come: by chance in less than one of 2,000 seconds.
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
    """Return all findings of a run by start; the first 5 s and the last second are not judged."""
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
    """Walk through the seconds; `limit` gives (observed, expected, excess), or None: no verdict."""
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
    """Return whether a stretch is more than a few slow requests by chance."""
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
    # That a fast kind of request no longer comes raises p95 as well as that a slow one is new.
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
    # What no longer comes may be what hangs, so only requests that are new make another phase.
    alike = [s for s in _same_load(normal, second) if not _lacks(s.mix, second.mix)]
    points = [(s.t_s, s.rps) for s in alike if is_measured(s.rps)]
    line = _line(points, second.t_s)
    if line is None:
        return None
    expected = min(line[0], median(rps for _, rps in points[-3:]))  # a ramp may end: no prophecy
    if expected < COLLAPSE_RPS:
        return None
    sigma = max(line[1], math.sqrt(expected))  # arrivals vary by their square root at least
    allowed = max((1 - COLLAPSE_TO) * expected, min(COLLAPSE_EVIDENCE * sigma, 0.9 * expected))
    return second.rps, expected, expected - second.rps - allowed


def _silent_end(seconds: Sequence[Second]) -> list[Spike]:
    """Return the collapse of a target that stops answering until the run ends.

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
    """Return the seconds with a similar number of virtual users; all if that is unknown."""
    vus = second.vus
    if vus is None:
        return list(normal)
    return [s for s in normal if s.vus is None or abs(s.vus - vus) <= PLANNED * vus]


def _lacks(some: Mapping[str, int] | None, other: Mapping[str, int] | None) -> bool:
    """Whether a tenth of the other's requests are of a kind that hardly comes among these.

    Of few requests none tells: among these, some of that kind must be missed.
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
    """Expected value at `t_s` and sigma of one second around a robust line; None: too few points.

    Slope: the median of all slopes, Theil (1950), "A Rank-Invariant Method of Linear and Polynomial
    Regression Analysis"; Sen (1968), JASA 63. Where it is smaller than chance would make it, 0.
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
    if abs(slope) * span < 2 * sigma:  # within its error: following it would follow the noise
        return max(median(values), 0.0), sigma
    reached = median(rest) + slope * (points[-1][0] - points[0][0])
    ahead = min(t_s - points[-1][0], STEP_S)  # a line is no prophecy
    return max(reached + slope * ahead, 0.0), sigma
