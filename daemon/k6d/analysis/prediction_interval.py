"""Is the newest result unlike the script's comparable runs?

The fast rule: the newest value (or the median of a run and its immediate re-runs) against the level
of the comparable runs. It is odd when it lies outside the interval in which a further run of the
same kind would land, by Student's t with a robust sigma (a prediction interval, Hahn & Meeker
(1991), "Statistical Intervals", ch. 4); when the change is large enough to matter;
and when such values are not a habit of this script. Half the width of the interval is the noise
budget: a smaller change can't be seen. Every doubt is in the returned `Comparison`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

from k6d.analysis.noise import Noise, measure, measured
from k6d.analysis.significance import share_of, student_quantile, student_tail

if TYPE_CHECKING:
    from collections.abc import Sequence

State = Literal["unmeasured", "learning", "steady", "worse", "better", "changed"]
Direction = Literal[-1, 0, 1]

# Four comparable runs would put the t limit at 12 sigma: no verdict worth the name.
NEEDED: Final = 5
# Runs compared with. The level holds for all of them (`trend` sees to that), so more runs only make
# sigma and the habits better known; past a hundred they add nothing.
COMPARED: Final = 100
# What one series may risk, and what all series of one run may risk together.
SERIES_ALPHA: Final = 0.001
RUN_ALPHA: Final = 0.01
# A single run below this change is not worth a message: `trend` sees it if it lasts.
LEAST_CHANGE: Final = 0.10
# When more than one in ten comparable runs was as far out on this side, it is the script's habit.
HABIT: Final = 0.10
# "As far out": nine tenths of the distance, for no two odd runs are equal.
AS_FAR: Final = 0.9
# A fall to exactly 0 is odd, however wide the noise, when it is half as far again as any of at
# least twenty comparable runs fell: nothing is not less, it is that nothing was served or counted.
# Of counts that come near 0 by themselves this is not so.
NOTHING: Final = 1.5
NOTHING_RUNS: Final = 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """Newest value against its comparable runs, all in the unit of the series.

    `low`..`high` is where a further run would land; `visible_pct` the smallest change that shows.
    Figures are None when they cannot be given: while learning, or a percentage of a level of 0.
    """

    state: State
    direction: Direction
    observed: float | None
    n: int
    needed: int
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    change_pct: float | None = None
    visible_pct: float | None = None
    p_value: float | None = None

    @property
    def is_alarm(self) -> bool:
        """Whether someone should look: worse, or changed where neither direction is better."""
        return self.state in ("worse", "changed")


def compare(
    newest: float | Sequence[float | None] | None,
    history: Sequence[float | None],
    *,
    worse: Direction = 0,
    series: int = 1,
    floor: float = 0.0,
    needed: int = NEEDED,
    least_change: float = LEAST_CHANGE,
) -> Comparison:
    """Judge the newest value against `history`, its comparable runs, oldest first.

    Several newest values (a run and its re-runs) are judged by their median. `worse` is the bad
    direction, 0 if either is; `series` the number of series judged in this run; `floor` the
    smallest change of interest in the unit of the series. Missing values are left out.
    """
    fresh = measured([newest] if newest is None or isinstance(newest, int | float) else newest)
    comparable = measured(history)[-COMPARED:]
    observed = median(fresh) if fresh else None
    doubt = Comparison("learning", 0, observed, n=len(comparable), needed=needed)
    if observed is None:
        return replace(doubt, state="unmeasured")
    if len(comparable) < max(needed, 2):
        return doubt
    noise = measure(comparable)
    alpha = min(SERIES_ALPHA, share_of(RUN_ALPHA, series))
    error = noise.standard_error(len(fresh))
    margin = max(
        student_quantile(alpha, noise.n - 1) * error,
        least_change * abs(noise.centre),
        floor,
    )
    change = observed - noise.centre
    odd = abs(change) > margin and not _is_habit(comparable, noise, change)
    nothing = observed == 0 and _never_near_nothing(comparable, noise)
    direction: Direction = 0 if not (odd or nothing) else 1 if change > 0 else -1
    return replace(
        doubt,
        state=_state(direction, worse),
        direction=direction,
        expected=noise.centre,
        low=min(comparable) if nothing else noise.centre - margin,
        high=noise.centre + margin,
        change_pct=_percent(change, noise.centre),
        visible_pct=_percent(margin, noise.centre),
        p_value=student_tail(min(abs(change) / error, 1e100), noise.n - 1),
    )


def _is_habit(comparable: Sequence[float], noise: Noise, change: float) -> bool:
    """Whether the script lands this far out, on this side, now and then."""
    reach = AS_FAR * abs(change)
    side = math.copysign(1, change)
    alike = sum(side * (value - noise.centre) >= reach for value in comparable)
    return alike > HABIT * len(comparable)


def _never_near_nothing(comparable: Sequence[float], noise: Noise) -> bool:
    """Whether a 0 would be far below all comparable runs, which say that the level is above it."""
    fell = max(0.0, noise.centre - min(comparable))
    return len(comparable) >= NOTHING_RUNS and noise.centre > NOTHING * fell


def _state(direction: Direction, worse: Direction) -> State:
    if direction == 0:
        return "steady"
    if worse == 0:
        return "changed"
    return "worse" if direction == worse else "better"


def _percent(part: float, whole: float) -> float | None:
    return 100 * part / abs(whole) if whole else None
