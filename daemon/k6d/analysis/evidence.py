"""Weighs whether the newest runs have another level than the runs before them.

Two explanations are compared by their likelihood:

- The level has changed. The newest runs scatter around a level of their own.
- The level is the same. The newest runs scatter around the old level, up to the small deviation
  that neighbouring runs have in common (the state of the machine and of the network).

In both, single runs scatter by Student's t with four degrees of freedom, not by a normal
distribution. So an odd run weighs little, and runs that agree with each other weigh much: two runs
at 9 sigma count as much as six runs at 2.3 sigma. Lange, Little & Taylor (1989), "Robust
Statistical Modeling Using the t Distribution", JASA 84.

How much a run scatters is measured in three ways: over all runs, around their two levels; over the
last runs before the change, because noise comes in bursts; and by blocks of neighbours, because a
level that wanders needs a larger change.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Final

from k6d.analysis.noise import (
    CENTRE_VARIANCE,
    CORRELATED,
    HUBER_K,
    RELATIVE_FLOOR,
    SHARED,
    SMALLEST,
    clipped,
    lag1_correlation,
    mad_sigma,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Degrees of freedom of the scatter: Lange, Little & Taylor (1989) recommend 4.
TAIL: Final = 4.0
# The scale of Student's t in standard deviations by the median absolute deviation: 0.741 is the
# upper quartile of t with 4 degrees of freedom.
SCALE: Final = 1 / (1.4826 * 0.741)
# Runs before the change that show a burst of noise, and how far one run counts there, in sigma.
LATELY: Final = 10
LATELY_CLIP: Final = 3.0
# Length of the blocks of neighbours; and the assumed SHARED counts as much as so many blocks.
BLOCK: Final = 5
PRIOR_BLOCKS: Final = 8.0
# A level never repeats better than this, in sigma.
LEAST_SHARED: Final = 0.15
# A sigma from n robust, dependent runs is known as well as one from 0.3 n normal ones. With fewer
# than 17 runs, the rank test sets the limit.
WORTH: Final = 0.3
FEW: Final = 17
# Values farther away count as this far, in scales; squares must not overflow.
FARTHEST: Final = 1e6
_STEPS: Final = 8
_ENOUGH: Final = 1e-3


def evidence(older: Sequence[float], newer: Sequence[float], *, floor: float = 0.0) -> float:
    """Return how much better another level explains `newer`, in units of log likelihood.

    A value of 5 means that the new level is e^5 = 148 times as likely, after corrections for the
    number of runs that sigma is measured from, and for the correlation of neighbours. `floor` is
    the smallest relevant change, in the unit of the series. `older` has at least one run.
    """
    before, after = median(older), median(newer)
    sigma = _sigma(older, newer, before=before, after=after, floor=floor)
    scale = SCALE * sigma
    scores = [clipped((value - before) / sigma, HUBER_K) for value in older]
    centre = before + sigma * sum(scores) / len(scores)
    away = [clipped((value - centre) / scale, FARTHEST) for value in newer]
    own = _location(away, start=clipped((after - centre) / scale, FARTHEST))
    changed = _log_likelihood(away, own)
    allowed = (CENTRE_VARIANCE / len(older) + _shared(scores)) / SCALE**2
    unchanged = max(
        _log_likelihood(away, same) - same**2 / (2 * allowed)
        for same in (
            _location(away, start=0.0, allowed=allowed),
            _location(away, start=own, allowed=allowed),
        )
    )
    beside = [clipped((value - after) / sigma, HUBER_K) for value in newer]
    lag1 = max(lag1_correlation(scores), lag1_correlation(scores, beside, sure=CORRELATED))
    ratio = max(0.0, changed - unchanged) * (1 - lag1) / (1 + lag1)
    return _with_unknown_sigma(ratio, runs=len(older))


def _sigma(
    older: Sequence[float], newer: Sequence[float], *, before: float, after: float, floor: float
) -> float:
    """Return the scatter of single runs around their levels, as a standard deviation.

    The scale is the maximum of the likelihood of Student's t, by iterated weights. Two levels were
    fitted, so n / (n - 2) corrects its square.
    """
    scatter = [*(value - before for value in older), *(value - after for value in newer)]
    n = len(scatter)
    least = max(RELATIVE_FLOOR * abs(before), floor, SMALLEST)
    rough = max(mad_sigma(scatter), least)
    squares = [clipped(one / rough, FARTHEST) ** 2 for one in scatter]

    def better(scale: float) -> float:
        tail = TAIL * scale * scale
        weighed = [square / (tail + square) for square in squares]
        return max(scale * math.sqrt((TAIL + 1) * sum(weighed) / n), _ENOUGH)

    sigma = max(rough * _settled(better, SCALE) / SCALE * math.sqrt(n / (n - 2)), least)
    lately = [clipped((value - before) / sigma, LATELY_CLIP) for value in older[-LATELY:]]
    return sigma * max(1.0, math.sqrt(sum(one * one for one in lately) / len(lately)))


def _settled(better: Callable[[float], float], start: float) -> float:
    """Apply `better` until the value changes by a thousandth, or for a few steps."""
    for _ in range(_STEPS):
        found = better(start)
        if abs(found - start) < _ENOUGH * abs(start):
            return found
        start = found
    return start


def _location(away: Sequence[float], *, start: float, allowed: float = math.inf) -> float:
    """Return the most likely level; one around 0 with the variance `allowed`, if it is given."""

    def better(level: float) -> float:
        weights = [(TAIL + 1) / (TAIL + (x - level) ** 2) for x in away]
        found = sum(w * x for w, x in zip(weights, away, strict=True))
        return found / (sum(weights) + 1 / allowed)

    return _settled(better, start)


def _log_likelihood(away: Sequence[float], level: float) -> float:
    """Return the log likelihood of Student's t, without its constant."""
    return -(TAIL + 1) / 2 * sum(math.log1p((x - level) ** 2 / TAIL) for x in away)


def _shared(scores: Sequence[float]) -> float:
    """Return the variance that neighbouring runs have in common, in sigma^2.

    If runs are independent, the variance of means of five is a fifth of that of single runs. What
    is above that is shared. Few runs say little about it, so the result is a mean of the measured
    value and the assumed SHARED, weighted by the number of blocks.
    """
    n, assumed = len(scores), SHARED**2
    if n < 3 * BLOCK:
        return assumed
    mean = sum(scores) / n
    single = sum((score - mean) ** 2 for score in scores) / (n - 1)
    if single <= 0:
        return assumed
    sums = [0.0]
    for score in scores:
        sums.append(sums[-1] + score - mean)
    squares = [((sums[i + BLOCK] - sums[i]) / BLOCK) ** 2 for i in range(n - BLOCK + 1)]
    blocks = sum(squares) / len(squares) * n / (n - BLOCK)
    measured, weight = blocks / single - 1 / BLOCK, n / BLOCK
    both = (PRIOR_BLOCKS * assumed + weight * measured) / (PRIOR_BLOCKS + weight)
    return max(LEAST_SHARED**2, both)


def _with_unknown_sigma(ratio: float, *, runs: int) -> float:
    """Return the log likelihood ratio as it would be if sigma were fitted, too.

    For normal noise with d degrees of freedom this is d/2 ln(1 + 2 ratio / d), the step from the
    normal to Student's t distribution. The fewer runs there are, the less a large ratio means.
    """
    degrees = WORTH * max(runs, FEW)
    return degrees / 2 * math.log1p(2 * ratio / degrees)
