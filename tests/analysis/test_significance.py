"""Quantiles and p values against printed tables and counting by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k6d.analysis.significance import rank_p_value, share_of, student_quantile, student_tail


@pytest.mark.parametrize(
    ("alpha", "degrees", "t"),
    [(0.05, 1, 12.706), (0.05, 10, 2.228), (0.001, 4, 8.610), (0.001, 30, 3.646), (0.5, 5, 0.727)],
)
def test_student_quantile(alpha: float, degrees: int, t: float) -> None:
    """The values of any printed table of Student's t, two-sided."""
    assert student_quantile(alpha, degrees) == pytest.approx(t, abs=1e-3)


@pytest.mark.parametrize(("t", "tail"), [(0.0, 1.0), (1e100, 0.0)])
def test_student_tail_at_its_ends(t: float, tail: float) -> None:
    """No distance is no surprise; an endless one is all surprise."""
    assert student_tail(t, 7) == pytest.approx(tail)


@pytest.mark.parametrize(
    ("newer", "older", "p"),
    [
        ([9], [1, 2, 3], 2 / 4),  # 1 of 4 places
        ([8, 9], [1, 2, 3], 2 / 10),  # 1 of C(5,2) = 10 orders
        ([1, 2, 3], [7, 8, 9], 2 / 20),
        ([8, 9, 10], range(7), 2 / 120),
        ([1, 3], [2], 1.0),  # U = 1 of 0..2: not surprising at all
        ([5, 5], [5, 5, 5], 1.0),
    ],
)
def test_rank_p_value(newer: list[float], older: list[float], p: float) -> None:
    """Complete separation is one order out of C(n + m, n), on either side."""
    assert rank_p_value(newer, older) == pytest.approx(p)


@pytest.mark.parametrize(
    ("alpha", "series", "each"),
    [(0.01, 1, 0.01), (0.05, 2, 0.0253206), (0.01, 30, 0.000334955), (0.01, 0, 0.01)],
)
def test_share_of(alpha: float, series: int, each: float) -> None:
    """1 - (1 - alpha)^(1/series)."""
    assert share_of(alpha, series) == pytest.approx(each, rel=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=8),
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    st.randoms(),
)
def test_rank_p_value_knows_only_the_values(
    newer: list[int], older: list[int], random: object
) -> None:
    """Order within a side, and which side is called newer, make no difference."""
    p = rank_p_value(newer, older)
    assert 0 < p <= 1
    assert rank_p_value(sorted(newer), sorted(older)) == p
    assert rank_p_value(older, newer) == pytest.approx(p)


@settings(deadline=None, max_examples=60)
@given(st.floats(1e-9, 0.9), st.integers(1, 200))
def test_quantile_and_tail_agree(alpha: float, degrees: int) -> None:
    """The tail beyond the quantile is alpha."""
    t = student_quantile(alpha, degrees)
    if t < 1e12:
        assert student_tail(t, degrees) == pytest.approx(alpha, rel=1e-3)
