"""What a series is compared with after improvements, regressions and their end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k6d.analysis.level import series_state
from support.pasts import QUIET

FAST, SLOW = list(QUIET), [value * 1.5 for value in QUIET]
VALUES = st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=60)


def test_nothing_yet() -> None:
    """No history is no baseline and no regression."""
    assert series_state([], worse=1).baseline == []
    assert series_state([None, None], worse=1).regressed is None


def test_a_steady_series_is_its_own_baseline() -> None:
    """Gaps and odd single runs stay in; they are what the noise is measured from."""
    values = [*FAST, None, 900.0, *FAST]
    state_before = series_state(values, worse=1)
    assert (state_before.baseline, state_before.regressed) == (values, None)


def test_a_lasting_improvement_moves_the_baseline() -> None:
    """From then on runs are compared with the better level only."""
    state_before = series_state([*SLOW, *FAST], worse=1)
    assert (state_before.baseline, state_before.regressed) == (FAST, None)


def test_a_lasting_regression_does_not_move_the_baseline() -> None:
    """However long it lasts: the runs before it are the normal."""
    state_before = series_state([*FAST, *(SLOW * 5)], worse=1)
    assert state_before.baseline == FAST
    assert state_before.regressed is not None
    assert (state_before.regressed.index, state_before.regressed.direction) == (10, 1)


def test_it_ends_when_the_series_comes_back() -> None:
    """The old level is the baseline again, with its new runs, and without the slow ones."""
    state_before = series_state([*FAST, *SLOW, *FAST], worse=1)
    assert state_before.regressed is None
    assert sorted(state_before.baseline) == sorted([*FAST, *FAST])


def test_it_gets_worse_still() -> None:
    """A second step up is no return: the first level stays the normal, since the first step."""
    state_before = series_state([*FAST, *SLOW, *(value * 3 for value in QUIET)], worse=1)
    assert state_before.baseline == FAST
    assert state_before.regressed is not None
    assert state_before.regressed.index == 10


def test_it_comes_back_to_better_than_before() -> None:
    """Then the better level is the normal."""
    fastest = [value / 2 for value in QUIET]
    state_before = series_state([*FAST, *SLOW, *fastest], worse=1)
    assert (state_before.baseline, state_before.regressed) == (fastest, None)


def test_partly_mended_is_not_mended() -> None:
    """From +50 % to +25 % is still a regression."""
    state_before = series_state([*FAST, *SLOW, *(value * 1.25 for value in QUIET)], worse=1)
    assert state_before.baseline == FAST
    assert state_before.regressed is not None


def test_throughput_is_worse_when_it_falls() -> None:
    """Direction matters."""
    assert series_state([*SLOW, *FAST], worse=-1).regressed is not None
    assert series_state([*FAST, *SLOW], worse=-1).regressed is None


def test_flagged_runs_never_excuse_the_next() -> None:
    """Two slow runs, told when they were new, are in no baseline, before a shift is even seen."""
    state_before = series_state([*FAST, 150.0, 151.0], worse=1, flagged={10, 11})
    assert state_before.baseline == [*FAST, None, None]
    assert state_before.regressed is None


def test_a_gap_does_not_move_the_index() -> None:
    """Runs without a value count; the index is that of the run."""
    values = [None, *FAST, None, None, *SLOW]
    regressed = series_state(values, worse=1).regressed
    assert regressed is not None
    assert values[regressed.index] == SLOW[0]


@settings(max_examples=100, deadline=None)
@given(VALUES, st.sampled_from([-1, 1]), st.sets(st.integers(0, 59)))
def test_nothing_breaks_it(values: list[float | None], worse: int, flagged: set[int]) -> None:
    """Whatever the numbers, the baseline is made of what was there, flagged ones excepted."""
    state_before = series_state(values, worse=worse, flagged=flagged)  # type: ignore[arg-type]
    allowed = [v for i, v in enumerate(values) if i not in flagged]
    assert all(v is None or any(v is known for known in allowed) for v in state_before.baseline)
    assert state_before.regressed is None or 0 <= state_before.regressed.index < len(values)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_do_not_matter(factor: float) -> None:
    """Seconds or microseconds: the same runs are regressed."""
    values = [value * factor for value in (*FAST, *SLOW)]
    regressed = series_state(values, worse=1).regressed
    assert regressed is not None
    assert regressed.index == 10
