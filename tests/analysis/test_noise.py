"""Location, scale and resemblance of neighbours."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k6d.analysis.noise import (
    MAX_LAG1,
    Noise,
    difference_sigma,
    is_measured,
    lag1_correlation,
    mad_sigma,
    measure,
    measured,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
ORDINARY = st.floats(min_value=1e-3, max_value=1e6)


@pytest.mark.parametrize(
    ("values", "sigma"),
    [
        ([1, 2, 3, 4, 5], 1.4826),  # deviations 2 1 0 1 2: median 1
        ([1, 2, 3, 4, 1000], 1.4826),  # the same for one wild value
        ([7, 7, 7], 0.0),
        ([0, 0, 0, 4], 1.2533),  # median deviation 0: mean deviation 1
        ([5], 0.0),
    ],
)
def test_mad_sigma(values: list[float], sigma: float) -> None:
    """The median absolute deviation is scaled to sigma, the mean one where it is 0."""
    assert mad_sigma(values) == pytest.approx(sigma)


@pytest.mark.parametrize(
    ("values", "sigma"),
    [([1, 3, 1, 3], 1.4826 * 2 / math.sqrt(2)), ([4], 0.0), ([], 0.0), ([2, 2, 2], 0.0)],
)
def test_difference_sigma(values: list[float], sigma: float) -> None:
    """Neighbours differ by sqrt(2) sigma, typically."""
    assert difference_sigma(values) == pytest.approx(sigma)


def test_one_step_in_the_series_does_not_inflate_difference_sigma() -> None:
    """A change of level is one large difference among many small ones."""
    assert difference_sigma([10, 11, 10, 11, 10, 90, 91, 90, 91]) == pytest.approx(1.0484, abs=1e-3)


def test_lag1_of_alternating_scores_is_none() -> None:
    """Neighbours that differ more than chance don't make us less sure."""
    assert lag1_correlation([1, -1] * 10) == 0


def test_lag1_of_blocks_is_their_correlation_less_its_error() -> None:
    """Ten up, ten down: 18 products of +1, one of -1, over 20, less 1/sqrt(20), at most 0.6."""
    assert lag1_correlation([1.0] * 10 + [-1.0] * 10) == pytest.approx(
        min(MAX_LAG1, 17 / 20 - 0.22)
    )


def test_a_significant_lag1_counts_whole() -> None:
    """Each side of six: products 1 1 -1 1 1 over 6; two of them are 1.73 standard errors.

    Each is centred for itself, and no product spans them: two levels are no correlation.
    """
    sides = [1.0, 1.0, 1.0, -1.0, -1.0, -1.0], [9.0, 9.0, 9.0, 7.0, 7.0, 7.0]
    assert lag1_correlation(*sides) == pytest.approx(6 / 12 - 1 / math.sqrt(12))
    assert lag1_correlation(*sides, sure=1.7) == pytest.approx(6 / 12)
    assert lag1_correlation(*sides, sure=1.8) == pytest.approx(6 / 12 - 1 / math.sqrt(12))
    assert lag1_correlation([0.0] * 6, [9.0] * 6) == 0


def test_lag1_of_constant_scores_is_none() -> None:
    """Without variation there is nothing to resemble."""
    assert lag1_correlation([0.5] * 8) == 0


def test_measure_has_a_floor_of_one_per_cent() -> None:
    """Twenty equal results don't mean that the next one has to be equal too."""
    assert measure([200.0] * 20) == Noise(centre=200.0, sigma=2.0, lag1=0.0, n=20)


def test_measure_takes_the_callers_floor() -> None:
    """An error rate of 0 has no relative floor, so the caller's absolute one holds."""
    assert measure([0.0] * 20, floor=0.005).sigma == 0.005


def test_measure_of_nothing_says_what_to_do() -> None:
    """No runs is the caller's state "learning", not a number."""
    with pytest.raises(ValueError, match="no comparable runs"):
        measure([])


def test_standard_error_by_hand() -> None:
    """sigma 2, n 11: 2 * sqrt(1/1 + 0.1 + 0.09); lag 0.5 makes it sqrt(3) times as much."""
    plain = Noise(centre=0, sigma=2, lag1=0, n=11)
    alike = Noise(centre=0, sigma=2, lag1=0.5, n=11)
    assert plain.standard_error() == pytest.approx(2 * math.sqrt(1.19))
    assert alike.standard_error() == pytest.approx(2 * math.sqrt(1.19 * 3))
    assert plain.standard_error(3) < plain.standard_error()


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, 1e200])
def test_what_is_not_a_number_is_not_measured(value: float | None) -> None:
    """Missing, NaN, infinite and overflowing values are left out."""
    assert not is_measured(value)
    assert measured([1.0, value, 2.0]) == [1.0, 2.0]


@settings(deadline=None, max_examples=60)
@given(st.lists(ORDINARY, min_size=2, max_size=40), st.floats(min_value=1e-3, max_value=1e3))
def test_scaling_the_values_scales_the_noise(values: list[float], factor: float) -> None:
    """Seconds or milliseconds: the same judgement."""
    noise, scaled = measure(values), measure([value * factor for value in values])
    assert scaled.centre == pytest.approx(noise.centre * factor, rel=1e-6)
    assert scaled.sigma == pytest.approx(noise.sigma * factor, rel=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.lists(ORDINARY, min_size=3, max_size=40), st.floats(min_value=-1e6, max_value=1e6))
def test_shifting_the_values_shifts_scale_not(values: list[float], offset: float) -> None:
    """Variation doesn't depend on the level (the relative floor apart)."""
    moved = [value + offset for value in values]
    assert mad_sigma(moved) == pytest.approx(mad_sigma(values), abs=1e-6)
    assert difference_sigma(moved) == pytest.approx(difference_sigma(values), abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.lists(FINITE, min_size=1, max_size=40).map(measured).filter(bool))
def test_any_finite_values_have_a_noise(values: list[float]) -> None:
    """Sigma is positive and finite, whatever was measured."""
    noise = measure(values)
    assert 0 < noise.sigma < math.inf
    assert min(values) - 2 * noise.sigma <= noise.centre <= max(values) + 2 * noise.sigma
