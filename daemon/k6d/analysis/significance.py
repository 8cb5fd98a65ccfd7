"""Significance tests: Student's t, the rank test, and a correction for many series."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# The limit for continued fractions and bisection; it gives more digits than any decision needs.
STEPS: Final = 200
PRECISION: Final = 1e-12
TINY: Final = 1e-300


def student_tail(t: float, degrees: float) -> float:
    """P(|T| > t) of Student's t: the regularized incomplete beta I_x(degrees/2, 1/2).

    Abramowitz & Stegun (1964), 26.7.1.
    """
    x = degrees / (degrees + t * t)
    return _incomplete_beta(x, degrees / 2, 0.5)


@lru_cache(maxsize=4096)
def student_quantile(alpha: float, degrees: int) -> float:
    """The t that |T| exceeds with probability `alpha` (two-sided), by bisection."""
    low, high = 0.0, 1.0
    while student_tail(high, degrees) > alpha and high < 1e12:
        high *= 2
    for _ in range(STEPS):
        middle = (low + high) / 2
        if high - low <= PRECISION * high:
            break
        if student_tail(middle, degrees) > alpha:
            low = middle
        else:
            high = middle
    return high


def share_of(alpha: float, series: int) -> float:
    """The alpha of each of `series` independent tests that together have `alpha`.

    Sidak (1967), "Rectangular Confidence Regions for the Means of Multivariate Normal
    Distributions", JASA 62. The series of a run are correlated, so the result is conservative.
    """
    return float(-math.expm1(math.log1p(-alpha) / max(1, series)))


def rank_p_value(newer: Sequence[float], older: Sequence[float]) -> float:
    """Two-sided p value that `newer` and `older` come from one distribution, exact but for ties.

    Mann & Whitney (1947), "On a Test of Whether One of Two Random Variables Is Stochastically
    Larger than the Other", Ann. Math. Stat. 18. Ties count one half. The test uses only the order
    of the values. Outliers, or a second level at which runs often land, are therefore no change.
    It is meant for tens of values on each side. The distribution for a pair of sizes is cached;
    computing it takes some milliseconds.
    """
    fewest = fewest_wins(newer, sorted(older))
    return min(1.0, 2 * _rank_cumulative(len(newer), len(older))[math.ceil(fewest)])


def fewest_wins(newer: Sequence[float], ordered: Sequence[float]) -> float:
    """Mann and Whitney's U: the pairs in the rarer order, ties one half; `ordered` ascends."""
    wins = sum(bisect_left(ordered, new) + bisect_right(ordered, new) for new in newer) / 2
    return min(wins, len(newer) * len(ordered) - wins)


# More than the 728 pairs of sizes that are compared; 0.7 MiB in all.
@lru_cache(maxsize=1024)
def _rank_cumulative(newer: int, older: int) -> array[float]:
    """The share of all orders that give at most U = 0, 1, 2, ..., up to the middle.

    How many orders give each U are the coefficients of the Gaussian binomial: the product over i
    of (1 - q^(older + i)) / (1 - q^i); Andrews (1976), "The Theory of Partitions", ch. 3.
    """
    middle = math.ceil(newer * older / 2)
    counts = [1, *[0] * middle]
    for i in range(1, newer + 1):
        for wins in range(middle, older + i - 1, -1):
            counts[wins] -= counts[wins - older - i]
        for wins in range(i, middle + 1):
            counts[wins] += counts[wins - i]
    total = math.comb(newer + older, newer)
    return array("d", (count / total for count in accumulate(counts)))


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Regularized I_x(a, b) by Lentz's continued fraction, Abramowitz & Stegun (1964), 26.5.8."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast only below its mean
        return 1 - _incomplete_beta(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log_front + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _away_from_zero(1 + even * d)
        c = _away_from_zero(1 + even / c)
        fraction *= c * d
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / _away_from_zero(1 + odd * d)
        c = _away_from_zero(1 + odd / c)
        fraction *= c * d
        if abs(c * d - 1) < PRECISION:
            break
    return front * fraction


def _away_from_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
