"""Has the level of a series changed, and since which run?

Runs are followed one by one. After each, the newest 3, 4, ... 12 runs are set against the (up to
30) runs before them at the current level. A shift is reported when three things agree:

1. its size: the mean of the newest runs, each clipped so that one odd run cannot carry it, lies
   at least 5 standard errors off the level (a likelihood ratio test for a shift of the mean);
2. their order: a rank test, which knows nothing of distances, gives p <= 0.0025;
3. it matters: the medians differ by 3 % or more.

The split with the largest ratio gives the run since which it holds. From there a new level begins,
so earlier shifts never blur the noise, and whatever is compared next is compared with its own kind.
A drift is reported as a step once it outruns the noise within some forty runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

from k6d.analysis.noise import around_shift, is_measured, measure
from k6d.analysis.significance import fewest_wins, rank_p_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Fewer runs on the new side and no rank test can be sure; more and it would rarely be news.
SHORTEST: Final = 3
LONGEST: Final = 12
# The machine of two months ago is another machine: 30 runs give sigma to 15-20 %, enough.
REFERENCE: Final = 30
# Below this many runs the level itself is not known ("learning").
MINIMUM: Final = 5
# Standard errors. Five is what ten splits a run over thousands of runs need; Siegmund (1985),
# "Sequential Analysis", ch. 2, for the inflation by looking at every run.
EVIDENCE: Final = 5.0
# One run counts for at most 4 sigma, so a single outlier is never a shift. Huber (1981), ch. 1.7.
CLIP: Final = 4.0
# One in 400: the clearest order of six runs against six is 2 in C(12, 6), p = 0.0022, so that a
# script with six runs of history can be helped at all.
RANK_ALPHA: Final = 0.0025
# No rank test of these sizes passes with a larger share of its pairs in the wrong order (12 against
# 30 is the last to, at 0.2): the same answer for a fraction of the time.
MOST_OVERLAP: Final = 0.25
# Changes below this are not worth a message even when they are real.
LEAST_CHANGE: Final = 0.03


@dataclass(frozen=True, slots=True)
class Shift:
    """A lasting change of level. Indexes count all values given, missing ones included."""

    index: int
    found: int
    before: float
    after: float
    change_pct: float | None
    direction: Literal[-1, 1]
    evidence: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Level:
    """What is known after the last run: when the level began, and its newest runs.

    `shift` is set only when the last run completed a shift.
    """

    seen: int = 0
    start: int = 0
    newest: tuple[float, ...] = ()
    positions: tuple[int, ...] = field(default=(), repr=False)
    shift: Shift | None = None


def follow(level: Level, value: float | None, *, floor: float = 0.0) -> Level:
    """The level after one more run. A missing or impossible value counts as seen, nothing else.

    `floor` is the smallest change of interest in the unit of the series.
    """
    if value is None or not is_measured(value):
        return replace(level, seen=level.seen + 1, shift=None)
    grown = replace(
        level,
        seen=level.seen + 1,
        start=level.start if level.newest else level.seen,
        newest=(*level.newest, value)[-REFERENCE - LONGEST :],
        positions=(*level.positions, level.seen)[-REFERENCE - LONGEST :],
        shift=None,
    )
    shift = _newest_shift(grown, floor=floor)
    if shift is None:
        return grown
    kept = len([position for position in grown.positions if position >= shift.index])
    return Level(
        seen=grown.seen,
        start=shift.index,
        newest=grown.newest[-kept:],
        positions=grown.positions[-kept:],
        shift=shift,
    )


def shifts(values: Iterable[float | None], *, floor: float = 0.0) -> list[Shift]:
    """All shifts, in the order in which they would have been reported."""
    level, found = Level(), []
    for value in values:
        level = follow(level, value, floor=floor)
        if level.shift is not None:
            found.append(level.shift)
    return found


def latest_shift(values: Iterable[float | None], *, floor: float = 0.0) -> Shift | None:
    """The newest shift of the whole series, however long ago; None if the level always held."""
    found = shifts(values, floor=floor)
    return found[-1] if found else None


def level_start(values: Sequence[float | None], *, floor: float = 0.0) -> int:
    """Index of the first run at the current level: values[level_start(values):] are comparable."""
    shift = latest_shift(values, floor=floor)
    return 0 if shift is None else shift.index


def _newest_shift(level: Level, *, floor: float) -> Shift | None:
    candidates = []
    for length in range(SHORTEST, min(LONGEST, len(level.newest) - MINIMUM) + 1):
        newer, older = level.newest[-length:], level.newest[-length - REFERENCE : -length]
        candidates.append(_split(level, newer, older, floor=floor))
    return max(
        (shift for shift in candidates if shift is not None),
        key=lambda shift: shift.evidence,
        default=None,
    )


def _split(
    level: Level, newer: Sequence[float], older: Sequence[float], *, floor: float
) -> Shift | None:
    """The shift between `older` and the newest runs, if the three tests agree; cheap ones first."""
    ordered = sorted(older)
    before = median(ordered)
    if (newer[0] - before) * (newer[-1] - before) <= 0:
        return None  # a new level begins and ends with a run on its own side of the old one
    after = median(newer)
    change = after - before
    if abs(change) < max(LEAST_CHANGE * abs(before), floor):
        return None
    if fewest_wins(newer, ordered) > MOST_OVERLAP * len(newer) * len(ordered):
        return None
    noise = around_shift(measure(older), older, newer)
    mean = sum(noise.clipped(value, CLIP) for value in newer) / len(newer)
    evidence = abs(mean) * noise.sigma / noise.standard_error(len(newer))
    if evidence < EVIDENCE:
        return None
    p_value = rank_p_value(newer, older)
    if p_value > RANK_ALPHA:
        return None
    return Shift(
        index=level.positions[-len(newer)],
        found=level.seen - 1,
        before=before,
        after=after,
        change_pct=100 * change / abs(before) if before else None,
        direction=1 if change > 0 else -1,
        evidence=evidence,
        p_value=p_value,
    )
