"""Detects whether the level of a series has changed, and since which run.

Runs are processed one by one. After each run, the newest 2, 3, ... 14 runs are compared with the
runs before them at the current level, up to 60. A shift is reported if three tests agree:

1. Evidence: another level explains the newest runs much better than the old one (`evidence`).
2. Order: a rank test, which ignores distances, gives p <= 0.0025, for two runs half of it.
3. Relevance: the medians differ by 3 % or more.

Each split is tested against all of these runs, and against the last 20 of them, since a machine may
have become quieter. The split with the most evidence gives the first run of the new level. A new
level begins there, so earlier shifts do not increase the noise, and later runs are compared only
with runs of the new level. A drift is reported as a step once it exceeds the noise within about
seventy runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

from k6d.analysis.evidence import evidence
from k6d.analysis.noise import is_measured, mad_sigma
from k6d.analysis.significance import fewest_wins, rank_p_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# One run may be odd; with more, the report comes late.
SHORTEST: Final = 2
LONGEST: Final = 14
# Old runs are less comparable, since the machine changes.
REFERENCE: Final = 60
RECENT: Final = 20
# With fewer runs, the level is not known ("learning").
MINIMUM: Final = 5
# In units of log likelihood, see `evidence`. Chosen on recorded series: see README.md.
EVIDENCE: Final = 5.0
# Below this many standard errors of normal noise, there is never enough evidence.
HOPELESS: Final = 3.0
# 1 in 400. The clearest order of six runs against six has p = 2 / C(12, 6) = 0.0022, so a shift
# can be detected with six runs of history. Two neighbours are often one burst: half of it.
RANK_ALPHA: Final = 0.0025
PAIR_ALPHA: Final = RANK_ALPHA / 2
# With a larger share of pairs in the wrong order, no rank test of these sizes passes (the largest
# is 0.22, for 14 against 60). Skipping it gives the same answer in a fraction of the time.
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
        if len(older) > RECENT + MINIMUM:
            candidates.append(_split(level, newer, older[-RECENT:], floor=floor))
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
    half = len(ordered) // 2
    before = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    if (newer[0] - before) * (newer[-1] - before) <= 0:
        return None  # a new level begins and ends with a run on its own side of the old one
    after = median(newer)
    change = after - before
    if abs(change) < max(LEAST_CHANGE * abs(before), floor):
        return None
    if fewest_wins(newer, ordered) > MOST_OVERLAP * len(newer) * len(ordered):
        return None
    p_value = rank_p_value(newer, older)
    if p_value > (PAIR_ALPHA if len(newer) == SHORTEST else RANK_ALPHA):
        return None
    if abs(change) * len(newer) ** 0.5 < HOPELESS * mad_sigma(ordered):
        return None
    found = evidence(older, newer, floor=floor)
    if found < EVIDENCE:
        return None
    return Shift(
        index=level.positions[-len(newer)],
        found=level.seen - 1,
        before=before,
        after=after,
        change_pct=100 * change / abs(before) if before else None,
        direction=1 if change > 0 else -1,
        evidence=found,
        p_value=p_value,
    )
