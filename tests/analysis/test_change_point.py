"""Shifts of level, followed run by run."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k6d.analysis.change_point import Level, follow, shifts

FINITE = st.floats(allow_nan=False, allow_infinity=False)
CYCLE = [100.0, 101.0, 99.0, 100.0, 102.0, 98.0, 100.0, 101.0, 99.0, 100.0]
STEP = CYCLE * 2 + [value * 1.2 for value in CYCLE]


def noisy(level: float, runs: int, *, seed: int, spread: float = 0.03) -> list[float]:
    """Runs around a level with a normal spread."""
    source = random.Random(seed)
    return [level * (1 + source.gauss(0, spread)) for _ in range(runs)]


def test_a_step_is_found_with_its_first_run() -> None:
    """+20 % at run 20, quiet noise: told two runs later, with both levels."""
    shift = shifts(STEP)[-1]
    assert (shift.index, shift.found, shift.direction) == (20, 22, 1)
    assert shift.before == 100
    assert shift.after == pytest.approx(120, abs=2)
    assert shift.change_pct == pytest.approx(20, abs=2)
    assert shift.evidence >= 5
    assert shift.p_value <= 0.0025


def test_a_step_down_is_the_mirror() -> None:
    """Downwards works alike, so throughput needs no rule of its own."""
    shift = shifts([-value for value in STEP])[-1]
    assert (shift.index, shift.direction, shift.before) == (20, -1, -100)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [5.0],
        [5.0, 50.0],
        [100.0] * 60,
        [0.0] * 60,
        CYCLE * 6,
        [*CYCLE, 400.0, *CYCLE, 300.0, *CYCLE],  # odd runs, one at a time
        [*CYCLE, 1e100, 1e100, *CYCLE],  # two in a row are no level yet
        [*CYCLE, *[value * 1.02 for value in CYCLE]],  # too small to matter
        [96.0, 98, 95, 91, 88, 78, 66, 59, 52, 48, 46, 46, 50, 56, 63, 66, 73, 77],  # a slow wave
        [None] * 20,
        [math.nan, math.inf] * 10,
    ],
)
def test_no_shift(values: list[float | None]) -> None:
    """Constant, noisy, empty and odd single runs are no change of level."""
    assert shifts(values) == []


def test_two_steps_are_two_levels() -> None:
    """The second step is judged against the first new level, not against the past."""
    values = [*CYCLE, *CYCLE, *[v * 1.2 for v in CYCLE * 2], *[v * 1.5 for v in CYCLE]]
    assert [shift.index for shift in shifts(values)] == [20, 40]


def test_six_runs_of_history_are_enough_for_a_clear_step() -> None:
    """Six against six is the shortest comparison with six runs of history: p = 2 / 924."""
    shift = shifts([*CYCLE[:6], 150.0, 151.0, 149.0, 150.0, 152.0, 148.0])[-1]
    assert (shift.index, shift.found) == (6, 11)
    assert shift.p_value == pytest.approx(2 / 924)


def test_missing_runs_keep_their_place() -> None:
    """Indexes count runs without a result too."""
    values: list[float | None] = [None, *STEP[:10], math.nan, *STEP[10:]]
    assert [shift.index for shift in shifts(values)] == [22]


def test_a_first_error_that_stays_is_a_shift_from_zero() -> None:
    """From a constant 0 there is no percentage, but a direction."""
    shift = shifts([0.0] * 20 + [0.05, 0.04, 0.05, 0.06], floor=0.01)[-1]
    assert (shift.index, shift.change_pct, shift.direction) == (20, None, 1)


def test_the_floor_hides_what_is_too_small() -> None:
    """A lasting 0.5 % of errors is no news where the caller cares for 1 %."""
    assert shifts([0.0] * 20 + [0.005] * 8, floor=0.01) == []


def test_a_drift_is_reported_in_time() -> None:
    """Two per cent a run for 30 runs is told before it ends."""
    values = CYCLE * 3 + [100 * 1.02**i for i in range(1, 31)]
    shift = shifts(values)[-1]
    assert shift.direction == 1


def test_false_alarms_on_normal_noise_are_rare() -> None:
    """60 series of 100 runs without a change: at most 3 shifts in 6,000 runs."""
    assert sum(len(shifts(noisy(100, 100, seed=seed))) for seed in range(60)) <= 3


def test_a_step_of_six_sigma_is_found_within_five_runs() -> None:
    """+20 % at 3 % noise after 20 runs: at least 38 of 40, never before it happened."""
    hits = 0
    for seed in range(40):
        found = shifts(noisy(100, 20, seed=seed) + noisy(120, 6, seed=1000 + seed))
        hits += any(abs(shift.index - 20) <= 1 and shift.found >= 20 for shift in found)
    assert hits >= 38


def test_follow_is_the_same_as_the_whole_series() -> None:
    """Run by run, keeping only the level, gives what all runs at once give."""
    level, found = Level(), []
    for value in STEP:
        level = follow(level, value)
        found.append(level.shift)
    assert [shift for shift in found if shift] == shifts(STEP)
    assert (level.seen, level.start) == (30, 20)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.none() | FINITE, max_size=40))
def test_any_finite_values_can_be_followed(values: list[float | None]) -> None:
    """No input makes it fail; a level begins no later than the last run."""
    assert all(0 < shift.index < len(values) for shift in shifts(values))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([0.25, 2.0, 1024.0]), st.floats(0.6, 1.6))
def test_units_do_not_matter(seed: int, factor: float, step: float) -> None:
    """The same runs in other units give the same shifts."""
    values = noisy(100, 25, seed=seed) + noisy(100 * step, 8, seed=seed + 1)
    plain, scaled = shifts(values), shifts([value * factor for value in values])
    assert [(s.index, s.found, s.direction) for s in plain] == [
        (s.index, s.found, s.direction) for s in scaled
    ]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=10, max_size=40))
def test_negating_mirrors_every_shift(values: list[float]) -> None:
    """Up and down are treated alike, ties included."""
    mirrored = shifts([-value for value in values])
    assert [(s.index, -s.direction) for s in shifts(values)] == [
        (s.index, s.direction) for s in mirrored
    ]
