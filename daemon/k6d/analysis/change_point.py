"""Detects whether the level of a series has changed, and since which run.

Runs are processed one by one. After each run, the newest 3, 4, ... 12 runs are compared with the
(up to 30) runs before them at the current level. A shift is reported if three tests agree:

1. Size: the mean of the newest runs, each clipped to limit the effect of a single outlier, is at
   least 5 standard errors from the level (a likelihood ratio test for a shift of the mean).
2. Order: a rank test, which ignores distances, gives p <= 0.0025.
3. Relevance: the medians differ by 3 % or more.

The split with the largest ratio gives the first run of the new level. A new level begins there, so
earlier shifts do not increase the noise, and later runs are compared only with runs of the new
level. A drift is reported as a step once it exceeds the noise within about forty runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

from k6d.analysis.noise import around_shift, is_measured, measure
from k6d.analysis.significance import fewest_wins, rank_p_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# With fewer runs on the new side, no rank test is significant; with more, the report comes late.
SHORTEST: Final = 3
LONGEST: Final = 12
# Old runs are less comparable, since the machine changes; 30 runs give sigma to 15-20 %.
REFERENCE: Final = 30
# With fewer runs, the level is not known ("learning").
MINIMUM: Final = 5
# In standard errors. Ten splits for each of thousands of runs need five; for the inflation by
# repeated tests see Siegmund (1985), "Sequential Analysis", ch. 2.
EVIDENCE: Final = 5.0
# A run counts for at most 4 sigma, so a single outlier is never a shift. Huber (1981), ch. 1.7.
CLIP: Final = 4.0
# 1 in 400. The clearest order of six runs against six has p = 2 / C(12, 6) = 0.0022, so a shift
# can be detected with six runs of history.
RANK_ALPHA: Final = 0.0025
# With a larger share of pairs in the wrong order, no rank test of these sizes passes (the largest
# is 0.2, for 12 against 30). Skipping it gives the same answer in a fraction of the time.
MOST_OVERLAP: Final = 0.25
# Changes below this are not worth a message even when they are real.
LEAST_CHANGE: Final = 0.03


@dataclass(frozen=True, slots=True)
class Shift:
    """A lasting change of level. Indexes count all given values, including missing ones."""

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
    """The state after the last run: where the level began, and its newest runs.

    `shift` is set only if the last run completed a shift.
    """

    seen: int = 0
    start: int = 0
    newest: tuple[float, ...] = ()
    positions: tuple[int, ...] = field(default=(), repr=False)
    shift: Shift | None = None


def follow(level: Level, value: float | None, *, floor: float = 0.0) -> Level:
    """Return the level after one more run. A missing or impossible value only counts as seen.

    `floor` is the smallest relevant change, in the unit of the series.
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
    """Return all shifts in the order of their reports."""
    level, found = Level(), []
    for value in values:
        level = follow(level, value, floor=floor)
        if level.shift is not None:
            found.append(level.shift)
    return found


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
    """Return the shift between `older` and `newer` if all three tests agree; cheap tests first."""
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
