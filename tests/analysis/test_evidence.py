"""How much the newest runs speak for another level."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k6d.analysis.change_point import EVIDENCE, shifts
from k6d.analysis.evidence import evidence

QUIET = [100.0, 103.0, 98.0, 101.0, 96.0, 99.0, 104.0, 97.0, 102.0, 100.0] * 4
FINITE = st.floats(min_value=-1e150, max_value=1e150)


def test_runs_that_agree_weigh_more_than_runs_that_scatter() -> None:
    """Three runs near 120 are a level; three odd runs at 108, 120 and 132 are less of one."""
    assert evidence(QUIET, [120.0, 121.0, 119.0]) > 1.5 * evidence(QUIET, [108.0, 120.0, 132.0])


def test_six_small_deviations_weigh_as_much_as_two_large_ones() -> None:
    """Six runs at +8 % and two at +30 %, in noise of 3 %, are enough; one more or less decides."""
    small = [108.0, 107.0, 109.0, 108.5, 107.5, 108.0]
    assert evidence(QUIET, small) > EVIDENCE
    assert evidence(QUIET, [130.0, 131.0]) > EVIDENCE
    assert evidence(QUIET, small[:2]) < EVIDENCE
    assert evidence(QUIET, [108.0, 131.0]) < EVIDENCE


def test_a_burst_of_noise_before_asks_for_more() -> None:
    """If the last ten runs scattered more, the same change weighs less."""
    restless = [*QUIET[:-10], *(100 + 3 * (value - 100) for value in QUIET[-10:])]
    change = [112.0, 111.0, 113.0, 112.0]
    assert evidence(restless, change) < 0.8 * evidence(QUIET, change)


def test_a_level_that_wanders_asks_for_more() -> None:
    """The same values in blocks of five: means of neighbours differ, so a change is less news."""
    wandering = [value for start in range(0, 40, 5) for value in sorted(QUIET)[start : start + 5]]
    order = [3, 0, 6, 1, 7, 4, 2, 5]
    wandering = [v for block in order for v in wandering[5 * block : 5 * block + 5]]
    change = [110.0, 109.0, 111.0, 110.0, 109.5]
    assert evidence(wandering, change) < 0.6 * evidence(QUIET, change)


def test_few_runs_of_history_ask_for_more() -> None:
    """The noise of twenty runs is known less well than that of forty."""
    change = [112.0, 111.0, 113.0, 112.0]
    assert evidence(QUIET[:20], change) < evidence(QUIET, change)


def test_a_slow_wave_is_no_change() -> None:
    """Eight falling and eight rising runs are a wave; the same in another order are two levels."""
    falling, rising = [98.0, 96, 91, 88, 83, 77, 70, 66], [46.0, 48, 50, 56, 60, 63, 66, 73]
    level, step = [98.0, 77, 91, 66, 88, 70, 96, 83], [46.0, 66, 50, 73, 56, 63, 48, 60]
    assert evidence(falling, rising) < 0.6 * evidence(level, step)


def test_equal_runs_use_the_floor() -> None:
    """From 0 to less than the floor is no evidence; to ten times the floor it is."""
    assert evidence([0.0] * 20, [0.5] * 5, floor=1.0) < EVIDENCE
    assert evidence([0.0] * 20, [10.0] * 5, floor=1.0) > EVIDENCE


def test_a_burst_that_ends_is_found_in_few_of_many_series() -> None:
    """Two odd runs in a row, 5 sigma away, in one of ten series at most are taken for a level."""
    found = 0
    for seed in range(60):
        source = random.Random(seed)
        values = [100 + source.gauss(0, 3) for _ in range(60)]
        values[40:42] = [115 + source.gauss(0, 3), 115 + source.gauss(0, 3)]
        found += bool(shifts(values))
    assert found <= 6


@settings(deadline=None, max_examples=100)
@given(st.lists(FINITE, min_size=1, max_size=70), st.lists(FINITE, min_size=2, max_size=14))
def test_any_finite_values_have_evidence(older: list[float], newer: list[float]) -> None:
    """No input makes it fail; the result is a number, never negative."""
    found = evidence(older, newer)
    assert math.isfinite(found)
    assert found >= 0


@settings(deadline=None, max_examples=50)
@given(st.floats(0.7, 1.5), st.sampled_from([0.25, 1024.0]))
def test_units_and_directions_do_not_matter(step: float, factor: float) -> None:
    """The same runs in other units, or mirrored, have the same evidence."""
    newer = [value * step for value in QUIET[:6]]
    plain = evidence(QUIET, newer)
    scaled = evidence([value * factor for value in QUIET], [value * factor for value in newer])
    mirrored = evidence([-value for value in QUIET], [-value for value in newer])
    assert scaled == pytest.approx(plain, abs=1e-6)
    assert mirrored == pytest.approx(plain, abs=1e-6)
