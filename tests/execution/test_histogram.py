"""Native histograms: cases worked out by hand, laws that hold for any, and real quantiles."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k6d.execution.remote_write import Histogram

SCHEMAS = st.integers(min_value=-4, max_value=8)
HISTOGRAMS = st.builds(
    lambda schema, buckets, zero, total: Histogram(
        schema=schema, buckets=buckets, zero=zero, total=total
    ),
    SCHEMAS,
    st.dictionaries(st.integers(-300, 300), st.integers(1, 1000), max_size=8),
    st.integers(0, 50),
    st.floats(0, 1e6),
)
SHARES = st.floats(0, 1)


def test_bucket_bounds() -> None:
    """At schema 0 bucket i holds (2^(i-1), 2^i], bounds included above."""
    assert Histogram.of([1.0, 2.0, 2.1, 4.0], schema=0).buckets == {0: 1, 1: 1, 2: 2}


def test_quantile_by_hand() -> None:
    """Four values in (1, 2], evenly on a logarithmic scale; the half is between two of them."""
    made = Histogram(schema=0, buckets={1: 4}, total=6.0)
    assert made.quantile(0) == pytest.approx(2 ** (0.5 / 4))
    assert made.quantile(0.5) == pytest.approx((2 ** (1.5 / 4) + 2 ** (2.5 / 4)) / 2)
    assert made.quantile(1) == pytest.approx(2 ** (3.5 / 4))
    assert made.max_bound == 2.0


def test_zeros_and_emptiness() -> None:
    """Zeros are a quantile of 0; nothing has no quantile; one value is known exactly."""
    assert Histogram(zero=3).quantile(0.9) == 0.0
    assert Histogram(zero=3).max_bound == 0.0
    assert Histogram().quantile(0.5) is None
    assert Histogram().max_bound is None
    assert Histogram.of([0.123]).quantile(0.5) == 0.123


def test_different_schemas_meet_at_the_coarser() -> None:
    """Schema 1 buckets 3 and 4, (2^1, 2^1.5] and (2^1.5, 4], are schema 0 bucket 2, (2, 4]."""
    fine = Histogram(schema=1, buckets={3: 1, 4: 2, 5: 7, -1: 1})
    coarse = Histogram(schema=0, buckets={2: 10})
    both = {2: 13, 3: 7, 0: 1}
    assert (fine + coarse).buckets == both
    assert (coarse + fine).buckets == both
    assert (fine + coarse).schema == 0


@given(HISTOGRAMS, HISTOGRAMS, HISTOGRAMS)
def test_adding_is_associative_and_commutative(
    one: Histogram, two: Histogram, three: Histogram
) -> None:
    """The order in which histograms are added makes no difference."""
    assert (one + two) + three == one + (two + three)
    assert one + two == two + one
    assert (one + two).count == one.count + two.count


@given(HISTOGRAMS, HISTOGRAMS)
def test_subtracting_undoes_adding(one: Histogram, two: Histogram) -> None:
    """What was added is exactly what a difference gives back, at the schema they share."""
    shared = min(one.schema, two.schema)
    assert (one + two) - two == one.at(shared)


@given(HISTOGRAMS.filter(lambda made: made.count > 0), SHARES, SHARES)
def test_quantiles_are_monotone_and_bounded(made: Histogram, one: float, two: float) -> None:
    """A higher share never has a lower value, and none lies above the highest bucket."""
    if made.count == 1:
        return
    low, high = made.quantile(min(one, two)), made.quantile(max(one, two))
    assert low is not None
    assert high is not None
    assert made.max_bound is not None
    assert 0 <= low <= high * (1 + 1e-12)
    assert high <= made.max_bound * (1 + 1e-12)


@given(st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=60), SHARES)
def test_a_quantile_is_within_one_bucket_of_its_values(values: list[float], q: float) -> None:
    """It lies within 2^(1/8) of the two values that k6 would interpolate between."""
    made = Histogram.of(values)
    ordered = sorted(values)
    rank = q * (len(values) - 1)
    found = made.quantile(q)
    assert found is not None
    assert ordered[math.floor(rank)] / 2 ** (1 / 8) <= found * (1 + 1e-9)
    assert found <= ordered[math.ceil(rank)] * 2 ** (1 / 8) * (1 + 1e-9)


def test_smooth_latencies_within_two_percent() -> None:
    """Median, p90, p95 and p99 of log-normal latencies are within 2 % of the exact ones."""
    draw = random.Random(7)
    values = sorted(draw.lognormvariate(-4, 0.4) for _ in range(20_000))
    made = Histogram.of(values)
    assert made.mean == pytest.approx(sum(values) / len(values))
    for q in (0.5, 0.9, 0.95, 0.99):
        assert made.quantile(q) == pytest.approx(values[round(q * (len(values) - 1))], rel=0.02)


def test_a_quantile_between_two_far_values_lies_between_them() -> None:
    """Of 12 values with one slow, k6's p95 is 0.45 of the way from the 11th to the 12th."""
    made = Histogram.of([0.028] * 11 + [0.300])
    by_k6 = 0.028 + 0.45 * (0.300 - 0.028)
    assert made.quantile(0.95) == pytest.approx(by_k6, rel=0.06)
