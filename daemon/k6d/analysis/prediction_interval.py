"""Decides whether the newest value of a series differs from the comparable runs.

The newest value is that of a run, or the median of a run and its immediate re-runs. It differs if
all three conditions hold:

1. It is outside the interval of a further run, by Student's t with a robust sigma (a prediction
   interval, Hahn & Meeker (1991), "Statistical Intervals", ch. 4).
2. The change is large enough to matter.
3. The script does not have such values now and then.

Half the width of the interval is the smallest change that can be detected. The returned
`IntervalResult` contains every doubt.
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

# With four comparable runs, the t limit would be 12 sigma, too wide for a verdict.
NEEDED: Final = 5
# The newest value is compared with this many runs at most. They have one level (`level` cuts the
# history at a change), so more runs only make sigma better known; past a hundred they add nothing.
COMPARED: Final = 100
# The probability of a false alarm: for one series, and for all series of a run together.
SERIES_ALPHA: Final = 0.001
RUN_ALPHA: Final = 0.01
# A smaller change of a single run is not reported; `change_point` detects it if it lasts.
LEAST_CHANGE: Final = 0.10
# If more than this share of the comparable runs was as far out on the same side, the script has
# such values now and then.
HABIT: Final = 0.10
# "As far out" means at least this share of the distance, because no two runs are equal.
AS_FAR: Final = 0.9
# A fall to exactly 0 means that nothing was served or counted. It differs from the history, however
# wide the noise, if it is NOTHING times as deep as any fall of at least NOTHING_RUNS comparable
# runs. Counts that come near 0 by themselves are thus excepted.
NOTHING: Final = 1.5
NOTHING_RUNS: Final = 20


@dataclass(frozen=True, slots=True)
class IntervalResult:
    """The newest value and its comparable runs, all in the unit of the series.

    A further run would lie in `low`..`high`; `visible_pct` is the smallest detectable change.
    Values are None if they are unknown: while learning, or a percentage of a level of 0.
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


def compare(
    newest: float | Sequence[float | None] | None,
    history: Sequence[float | None],
    *,
    worse: Direction = 0,
    series: int = 1,
    floor: float = 0.0,
    needed: int = NEEDED,
    least_change: float = LEAST_CHANGE,
) -> IntervalResult:
    """Compare the newest value with `history`, the comparable runs, oldest first.

    Several newest values (a run and its re-runs) are judged by their median. `worse` is the bad
    direction, 0 if both are. `series` is the number of series judged in this run. `floor` is the
    smallest relevant change, in the unit of the series. Missing values are left out.
    """
    fresh = measured([newest] if newest is None or isinstance(newest, int | float) else newest)
    comparable = measured(history)[-COMPARED:]
    observed = median(fresh) if fresh else None
    doubt = IntervalResult("learning", 0, observed, n=len(comparable), needed=needed)
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
    """Whether the script has values this far out, on this side, now and then."""
    reach = AS_FAR * abs(change)
    side = math.copysign(1, change)
    alike = sum(side * (value - noise.centre) >= reach for value in comparable)
    return alike > HABIT * len(comparable)


def _never_near_nothing(comparable: Sequence[float], noise: Noise) -> bool:
    """Whether 0 is far below all comparable runs."""
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
