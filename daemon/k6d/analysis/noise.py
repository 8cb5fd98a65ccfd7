"""Measures how much a series varies when nothing has changed.

`measure` reduces the comparable runs to a `Noise`: the level, the deviation of a single run, and
the correlation of neighbouring runs. `prediction_interval` uses it to judge the newest run;
`evidence` uses parts of it to judge the newest few. All estimates are robust: a single odd run
changes them little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Median absolute deviation of normal noise -> its standard deviation: 1 / Phi^-1(3/4).
# Rousseeuw & Croux (1993), "Alternatives to the Median Absolute Deviation", JASA 88.
MAD_TO_SIGMA: Final = 1.4826

# Mean absolute deviation of normal noise -> its standard deviation: sqrt(pi / 2).
MEAN_DEVIATION_TO_SIGMA: Final = 1.2533

# Load tests seldom repeat to better than 1 %; a smaller figure comes from chance or rounding.
RELATIVE_FLOOR: Final = 0.01

# Values farther out than this many sigma move the centre no more than a value at this distance.
# Huber (1981), "Robust Statistics", ch. 1.7: 1.5 keeps 96 % of the mean's efficiency.
HUBER_K: Final = 1.5

# Variance of that centre, in sigma^2 / n, for normal noise (1 / 0.96) and heavier tails.
CENTRE_VARIANCE: Final = 1.1

# The part of the noise that neighbouring runs share (state of machine and network): more runs in a
# row don't average it away. With 0.3 sigma, nine per cent of the variance, a burst of another
# process no longer looks like a change of the target. Error component model, Box, Hunter & Hunter
# (2005), "Statistics for Experimenters", ch. 9.
SHARED: Final = 0.3

# A larger lag-1 correlation means a trend, which a factor cannot correct.
MAX_LAG1: Final = 0.6

# In standard errors; a larger correlation is significant (5 %, one-sided).
CORRELATED: Final = 1.645

# Larger values would overflow in squares and sums, and no real measurement is this large.
LARGEST: Final = 1e150
SMALLEST: Final = 1e-150


@dataclass(frozen=True, slots=True)
class Noise:
    """Level and variation of `n` comparable runs in the unit of the series; `lag1` in [0, 0.6]."""

    centre: float
    sigma: float
    lag1: float
    n: int

    def standard_error(self, runs: int = 1) -> float:
        """Return the standard deviation of (mean of `runs` new runs - centre) without a change.

        The variance is sigma^2 (1/runs + 1.1/n + shared^2), times (1 + r)/(1 - r) for a correlation
        r of neighbours: the variance of a mean of autocorrelated values, Box, Jenkins & Reinsel
        (1994), "Time Series Analysis", ch. 2.1.
        """
        variance = 1 / runs + CENTRE_VARIANCE / self.n + SHARED**2
        return self.sigma * math.sqrt(variance * (1 + self.lag1) / (1 - self.lag1))


def is_measured(value: float | None) -> bool:
    """Return whether the value can be judged: not missing, NaN, infinite or above LARGEST."""
    return value is not None and abs(value) < LARGEST


def measured(values: Iterable[float | None]) -> list[float]:
    """Return the values that can be judged, in order."""
    return [value for value in values if value is not None and is_measured(value)]


def clipped(value: float, limit: float) -> float:
    """Return the value, or ± `limit` if it lies beyond."""
    return max(-limit, min(limit, value))


def mad_sigma(values: Sequence[float]) -> float:
    """Return the standard deviation by the median absolute deviation; tolerates half odd values.

    Hampel (1974), "The Influence Curve and Its Role in Robust Estimation", JASA 69. If more than
    half the values are equal (an error rate of mostly 0), that is 0. Then the mean absolute
    deviation is used, Iglewicz & Hoaglin (1993), "How to Detect and Handle Outliers", ch. 3.
    """
    centre = median(values)
    deviations = [abs(value - centre) for value in values]
    typical = median(deviations)
    if typical > 0:
        return MAD_TO_SIGMA * typical
    return MEAN_DEVIATION_TO_SIGMA * sum(deviations) / len(deviations)


def difference_sigma(values: Sequence[float]) -> float:
    """Return the standard deviation by differences of neighbours; a slow change adds little to it.

    von Neumann et al. (1941), "The Mean Square Successive Difference", Ann. Math. Stat. 12, with
    the median for robustness. The result is 0 for fewer than two values.
    """
    steps = [abs(after - before) for before, after in pairwise(values)]
    return MAD_TO_SIGMA * median(steps) / math.sqrt(2) if steps else 0.0


def lag1_correlation(*sides: Sequence[float], sure: float = math.inf) -> float:
    """Return the lag-1 correlation of clipped scores around the mean of their side, in [0, 0.6].

    Its standard error without correlation is 1/sqrt(n): Bartlett (1946), "On the Theoretical
    Specification of Sampling Properties of Autocorrelated Time Series", JRSS Suppl. 8. This error
    is subtracted. Otherwise a short series of pure noise would look correlated half of the time,
    and real changes would be reported late. From `sure` standard errors on, nothing is subtracted.
    """
    products = power = 0.0
    for side in sides:
        mean = sum(side) / len(side)
        power += sum((score - mean) ** 2 for score in side)
        products += sum((a - mean) * (b - mean) for a, b in pairwise(side))
    if power <= 0:
        return 0.0
    found, error = products / power, 1 / math.sqrt(sum(map(len, sides)))
    return min(MAX_LAG1, found if found > sure * error else max(0.0, found - error))


def measure(values: Sequence[float], *, floor: float = 0.0) -> Noise:
    """Return the noise of measured values; sigma is at least 1 % of the level and `floor`.

    The centre is one Huber step from the median. Raises ValueError without values.
    """
    if not values:
        raise ValueError("no comparable runs to measure noise from: check len(values) first")
    middle = median(values)
    sigma = max(
        mad_sigma(values),
        difference_sigma(values),
        RELATIVE_FLOOR * abs(middle),
        floor,
        SMALLEST,
    )
    scores = [clipped((value - middle) / sigma, HUBER_K) for value in values]
    return Noise(
        centre=middle + sigma * sum(scores) / len(scores),
        sigma=sigma,
        lag1=lag1_correlation(scores),
        n=len(values),
    )
