"""The fast rule for the newest value."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k6d.analysis.prediction_interval import compare

QUIET = [100.0, 101.0, 99.0, 100.0, 102.0, 98.0, 100.0, 101.0, 99.0, 100.0]
FINITE = st.floats(allow_nan=False, allow_infinity=False)
ORDINARY = st.floats(min_value=1.0, max_value=1e5)


@pytest.mark.parametrize(
    ("newest", "worse", "state", "direction"),
    [
        (100.0, 1, "steady", 0),
        (109.0, 1, "steady", 0),  # below the 10 % that matter
        (130.0, 1, "worse", 1),
        (130.0, -1, "better", 1),
        (130.0, 0, "changed", 1),
        (70.0, 1, "better", -1),
        (70.0, -1, "worse", -1),
        (-100.0, -1, "worse", -1),
        (1e30, 1, "worse", 1),
        (None, 1, "unmeasured", 0),
        (math.nan, 1, "unmeasured", 0),
        (math.inf, 1, "unmeasured", 0),
    ],
)
def test_states(newest: float | None, worse: int, state: str, direction: int) -> None:
    """Direction decides between worse and better; what can't be judged says so."""
    result = compare(newest, QUIET, worse=worse)  # type: ignore[arg-type]  # -1, 0, 1 in the table
    assert (result.state, result.direction) == (state, direction)


@pytest.mark.parametrize("n", range(5))
def test_too_few_runs_are_learning(n: int) -> None:
    """Fewer than the needed runs is neither healthy nor an alarm, however wild the value."""
    result = compare(1e9, QUIET[:n], worse=1)
    assert (result.state, result.n, result.needed) == ("learning", n, 5)
    assert result.low is result.high is result.visible_pct is None


def test_missing_runs_do_not_count_as_history() -> None:
    """Gaps, NaN and infinities are not comparable runs."""
    assert compare(1.0, [1.0, None, math.nan, 1.0, math.inf, 1.0]).n == 3


def test_the_noise_budget_is_where_the_alarm_begins() -> None:
    """A change just inside visible_pct is steady, one just outside is told."""
    budget = compare(100.0, QUIET).visible_pct
    assert budget == pytest.approx(10, abs=2)
    assert budget is not None
    assert compare(100 * (1 + (budget - 0.2) / 100), QUIET).state == "steady"
    assert compare(100 * (1 + (budget + 0.2) / 100), QUIET).state == "changed"


def test_noisier_history_sees_less() -> None:
    """Four times the spread makes the budget larger, by the numbers."""
    noisy = [100 + 4 * (value - 100) for value in QUIET]
    assert compare(118.0, QUIET).state == "changed"
    assert compare(118.0, noisy).state == "steady"
    assert (compare(100, noisy).visible_pct or 0) > (compare(100, QUIET).visible_pct or 0)


def test_many_series_make_each_more_careful() -> None:
    """A hundred series in a run share the run's risk of 1 %."""
    noisy = [100 + 4 * (value - 100) for value in QUIET]
    one, many = compare(100, noisy), compare(100, noisy, series=100)
    assert (many.visible_pct or 0) > (one.visible_pct or 0)


def test_re_runs_are_judged_by_their_median_and_see_more() -> None:
    """Two of three normal runs overrule an odd one; three bad ones are surer than one."""
    noisy = [100 + 4 * (value - 100) for value in QUIET]
    assert compare([140.0, 100.0, 101.0], QUIET).state == "steady"
    assert compare([140.0, None, 139.0], QUIET).state == "changed"
    assert (compare([100.0] * 3, noisy).visible_pct or 0) < (compare(100.0, noisy).visible_pct or 0)


def test_no_errors_ever_then_a_few_needs_the_floor() -> None:
    """An error rate of 0 for 50 runs: 0.2 % is below a floor of 1 %, 3 % is not."""
    never = [0.0] * 50
    assert compare(0.002, never, worse=1, floor=0.01).state == "steady"
    assert compare(0.03, never, worse=1, floor=0.01).state == "worse"
    assert compare(0.002, never, worse=1).state == "worse"
    assert compare(0.03, never, worse=1, floor=0.01).change_pct is None


def test_an_odd_run_in_the_history_hides_nothing() -> None:
    """One run at fifty times the level doesn't widen the interval."""
    assert compare(130.0, [*QUIET, 5000.0], worse=1).state == "worse"


def test_a_habit_is_not_odd() -> None:
    """A script that lands at 150 every fourth run may do so again, but not at 250."""
    twofold = [100.0, 101.0, 99.0, 150.0] * 6
    assert compare(151.0, twofold, worse=1).state == "steady"
    assert compare(250.0, twofold, worse=1).state == "worse"


@pytest.mark.parametrize(
    ("newest", "history", "state"),
    [
        (0.0, [60.0, 80.0, 100.0, 120.0, 140.0] * 4, "worse"),  # fell by 40 at most, now by 100
        (1.0, [60.0, 80.0, 100.0, 120.0, 140.0] * 4, "steady"),  # the noise alone decides
        (0.0, [60.0, 80.0, 100.0, 120.0, 140.0] * 3, "steady"),  # 15 runs know no lowest
        (0.0, [20.0, 80.0, 100.0, 120.0, 180.0] * 4, "steady"),  # came near it by itself
    ],
)
def test_nothing_is_odd_where_there_always_was_something(
    newest: float, history: list[float], state: str
) -> None:
    """A fall to exactly 0, half as far again as any of twenty runs fell, needs no narrow noise."""
    result = compare(newest, history, worse=-1)
    assert result.state == state
    assert result.state == "steady" or result.low == 60.0


@settings(deadline=None, max_examples=80)
@given(st.lists(st.none() | FINITE, max_size=30), st.none() | FINITE)
def test_any_finite_values_get_an_answer(history: list[float | None], newest: float | None) -> None:
    """No input makes it fail, and the interval contains what is expected."""
    result = compare(newest, history, worse=1, floor=0.1)
    if result.low is not None and result.high is not None and result.expected is not None:
        assert result.low <= result.expected <= result.high
        assert 0 <= (result.p_value or 0) <= 1


@settings(deadline=None, max_examples=60)
@given(st.lists(ORDINARY, min_size=5, max_size=30), ORDINARY, st.sampled_from([0.25, 2.0, 1024.0]))
def test_units_do_not_matter(history: list[float], newest: float, factor: float) -> None:
    """All values times a factor: the same state, percentage and p value."""
    plain = compare(newest, history, worse=1)
    scaled = compare(newest * factor, [value * factor for value in history], worse=1)
    assert scaled.state == plain.state
    assert scaled.change_pct == pytest.approx(plain.change_pct, rel=1e-6, abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.lists(ORDINARY, min_size=5, max_size=30), ORDINARY)
def test_up_and_down_mirror(history: list[float], newest: float) -> None:
    """Negated values give the opposite direction and nothing else."""
    plain, mirrored = compare(newest, history), compare(-newest, [-value for value in history])
    assert mirrored.direction == -plain.direction
    assert mirrored.state == plain.state


@settings(deadline=None, max_examples=60)
@given(st.lists(ORDINARY, min_size=5, max_size=30), ORDINARY, st.floats(1.0, 1e6))
def test_a_constant_on_top_never_makes_an_alarm(
    history: list[float], newest: float, more: float
) -> None:
    """The same changes of a larger level are smaller changes: told less, never otherwise."""
    plain = compare(newest, history)
    lifted = compare(newest + more, [value + more for value in history])
    assert lifted.direction in (plain.direction, 0)
