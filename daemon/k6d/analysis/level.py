"""What a series is compared with, and whether it is regressed already.

A lasting change for the better moves the baseline. One for the worse doesn't: the series stays
regressed, run after run, until it comes back or somebody accepts it. Otherwise every regression
would be the new normal after a few runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k6d.analysis.change_point import Level, Shift, follow
from k6d.analysis.prediction_interval import compare

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The comparable values, oldest first, and the change for the worse that still holds."""

    baseline: list[float | None]
    regressed: Shift | None = None


def standing(
    values: Sequence[float | None],
    *,
    worse: Literal[-1, 1],
    floor: float = 0.0,
    flagged: Collection[int] = (),
    step: Callable[..., Level] = follow,
) -> Standing:
    """Where a series stands after `values`, oldest first; None where a run has no value.

    `step` is `follow`, or one that remembers: back-tests begin with the same values many times.

    The `flagged` ones were judged worse when they were new, and never enter the baseline: else
    the first runs after a change would be the habit that excuses the next ones.
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
    return Standing(baseline=baseline, regressed=regressed)


def _is_back(
    shift: Shift, baseline: Sequence[float | None], *, worse: Literal[-1, 1], floor: float
) -> bool:
    """Whether a change of a regressed series ends the regression."""
    return compare(shift.after, baseline, worse=worse, floor=floor).state in ("steady", "better")
