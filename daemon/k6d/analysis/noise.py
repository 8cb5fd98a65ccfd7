"""How much a series of results varies when nothing has changed.

`measure` reduces the comparable runs to a `Noise`: where the level is, how far one run strays from
it, and how much neighbouring runs resemble each other. Both rules judge with it: `baseline` the
newest run, `trend` the newest few. Everything is robust: an odd run among the comparable ones moves
the answer little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
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

# Load tests seldom repeat to better than 1 %; a smaller figure is luck (or rounding) of a few runs.
RELATIVE_FLOOR: Final = 0.01

# Values farther out than this many sigma pull the centre no more than one at this distance.
# Huber (1981), "Robust Statistics", ch. 1.7: 1.5 keeps 96 % of the mean's efficiency.
HUBER_K: Final = 1.5

# Variance of that centre, in sigma^2 / n, for normal noise (1 / 0.96) and heavier tails.
CENTRE_VARIANCE: Final = 1.1

# The part of the noise that neighbouring runs share (the machine's hour, the network's day): more
# runs in a row don't average it away. 0.3 sigma: nine per cent of the variance, the size at which
# a burst of a busy neighbour stops looking like a release. Error component model, Box, Hunter &
# Hunter (2005), "Statistics for Experimenters", ch. 9.
SHARED: Final = 0.3

# A lag-1 correlation above this is a trend, which no factor repairs.
MAX_LAG1: Final = 0.6

# Standard errors from which a correlation is no chance: 5 %, one-sided.
CORRELATED: Final = 1.645

# Past this size, squares and sums overflow; no measurement is this large, so it is no measurement.
LARGEST: Final = 1e150
SMALLEST: Final = 1e-150


@dataclass(frozen=True, slots=True)
class Noise:
    """Level and variation of `n` comparable runs, in the unit of the series; `lag1` in [0, 0.6]."""

    centre: float
    sigma: float
    lag1: float
    n: int

    def standard_error(self, runs: int = 1) -> float:
        """Standard deviation of (mean of `runs` new runs - centre) if nothing has changed.

        sigma^2 (1/runs + 1.1/n + shared^2), times (1 + r)/(1 - r) where neighbours resemble each
        other: the variance of a mean of autocorrelated values, Box, Jenkins & Reinsel (1994),
        "Time Series Analysis", ch. 2.1.
        """
        variance = 1 / runs + CENTRE_VARIANCE / self.n + SHARED**2
        return self.sigma * math.sqrt(variance * (1 + self.lag1) / (1 - self.lag1))

    def clipped(self, value: float, limit: float) -> float:
        """Distance of `value` from the centre in sigma, at most `limit` to either side."""
        return max(-limit, min(limit, (value - self.centre) / self.sigma))


def is_measured(value: float | None) -> bool:
    """Whether this is a number to judge: neither missing, nor NaN, infinite or absurdly large."""
    return value is not None and abs(value) < LARGEST


def measured(values: Iterable[float | None]) -> list[float]:
    """The values that can be judged, in order."""
    return [value for value in values if value is not None and is_measured(value)]


def mad_sigma(values: Sequence[float]) -> float:
    """Standard deviation by the median absolute deviation; stands up to half the values being odd.

    Hampel (1974), "The Influence Curve and Its Role in Robust Estimation", JASA 69. Where more than
    half the values are equal (an error rate of mostly 0) the median is 0 and says nothing: the mean
    absolute deviation then, Iglewicz & Hoaglin (1993), "How to Detect and Handle Outliers", ch. 3.
    """
    centre = median(values)
    deviations = [abs(value - centre) for value in values]
    typical = median(deviations)
    if typical > 0:
        return MAD_TO_SIGMA * typical
    return MEAN_DEVIATION_TO_SIGMA * sum(deviations) / len(deviations)


def difference_sigma(values: Sequence[float]) -> float:
    """Standard deviation by the differences of neighbours, which a slow change does not inflate.

    von Neumann et al. (1941), "The Mean Square Successive Difference", Ann. Math. Stat. 12, with
    the median for robustness. 0 for fewer than two values.
    """
    steps = [abs(after - before) for before, after in pairwise(values)]
    return MAD_TO_SIGMA * median(steps) / math.sqrt(2) if steps else 0.0


def lag1_correlation(*sides: Sequence[float], sure: float = math.inf) -> float:
    """Lag-1 correlation of clipped scores around the mean of their own side, in [0, 0.6].

    Bartlett (1946), "On the Theoretical Specification of Sampling Properties of Autocorrelated Time
    Series", JRSS Suppl. 8: where there is none, its standard error is 1/sqrt(n). Less that error:
    else a short series of pure noise would look correlated half of the time, and real changes would
    be reported late. From `sure` standard errors on it is no chance, and counts whole.
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
    """Noise of one or more measured values; sigma is at least 1 % of the level and `floor`.

    The centre is one Huber step from the median. Raises ValueError for no values.
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
    rough = Noise(centre=middle, sigma=sigma, lag1=0.0, n=len(values))
    scores = [rough.clipped(value, HUBER_K) for value in values]
    return Noise(
        centre=middle + sigma * sum(scores) / len(scores),
        sigma=sigma,
        lag1=lag1_correlation(scores),
        n=len(values),
    )


def around_shift(noise: Noise, older: Sequence[float], newer: Sequence[float]) -> Noise:
    """The same noise, with the correlation of neighbours on both sides of a possible shift.

    Around two levels neighbours are independent again; in a wave or on a slope they resemble each
    other on both sides, which few older runs alone don't show.
    """
    middle = median(newer)
    left = [noise.clipped(value, HUBER_K) for value in older]
    right = [noise.clipped(value - middle + noise.centre, HUBER_K) for value in newer]
    lag1 = lag1_correlation(left, right, sure=CORRELATED)
    return replace(noise, lag1=max(noise.lag1, lag1))
