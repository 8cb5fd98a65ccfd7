"""Finds the baseline of a series, and whether the series is regressed already.

A lasting improvement moves the baseline. A lasting regression does not: the series stays regressed
until it recovers or until somebody accepts the new level. Otherwise every regression would become
the baseline after a few runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.analysis.change_point import Level, Shift, follow
from k6d.analysis.prediction_interval import compare
from k6d.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Literal


@frozen
class SeriesState:
    """The comparable values, oldest first, and the regression that still lasts."""

    baseline: list[float | None]
    regressed: Shift | None = None


def series_state(
    values: Sequence[float | None],
    *,
    worse: Literal[-1, 1],
    floor: float = 0.0,
    flagged: Collection[int] = (),
    step: Callable[..., Level] = follow,
) -> SeriesState:
    """The state of a series after `values` (oldest first; None for a missing value).

    `step` is `follow` or a cached form of it, since back-tests repeat the same beginning often.

    Values whose index is in `flagged` were judged worse when they were new, and never enter the
    baseline. Otherwise the first runs after a change would make the next ones look normal.
    """
    level = Level()
    unflagged = [None if i in flagged else value for i, value in enumerate(values)]
    baseline: list[float | None] = []
    start = 0  # of the runs that the baseline may still gain
    regressed: Shift | None = None
    for value in values:
        level = step(level, value, floor=floor)
        shift = level.shift
        if shift is None:
            continue
        if regressed is None:
            kept = [*baseline, *unflagged[start : shift.index]]
            if shift.direction == worse:
                baseline, regressed = kept, shift
            else:
                baseline = []
            start = shift.index
        elif _is_back(shift, baseline, worse=worse, floor=floor):
            better = compare(shift.after, baseline, worse=worse, floor=floor).state == "better"
            baseline, regressed, start = [] if better else baseline, None, shift.index
    if regressed is None:
        baseline = [*baseline, *unflagged[start:]]
    return SeriesState(baseline=baseline, regressed=regressed)


def _is_back(
    shift: Shift, baseline: Sequence[float | None], *, worse: Literal[-1, 1], floor: float
) -> bool:
    """Whether a change of a regressed series ends the regression."""
    return compare(shift.after, baseline, worse=worse, floor=floor).state in ("steady", "better")
