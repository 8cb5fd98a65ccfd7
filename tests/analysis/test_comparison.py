"""A run against its history, series by series."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k6d.analysis import wording
from k6d.analysis.comparison import (
    Past,
    between,
    compare_all,
    confirmed_before,
    key_of,
    medians,
    worth_keeping,
)
from k6d.core.model import Comparison
from k6d.settings import Compare
from support.pasts import QUIET, lived, past, pasts
from support.records import make_run

P95 = "response_time_p95"
CART = "response_time_p95 GET /cart"
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def one(group: list[float], history: list[Past], key: str = P95, needed: int = 5) -> Comparison:
    """The only series of a run (and its re-runs) compared."""
    (found,) = compare_all([{key: value} for value in group], history, needed=needed)
    return found


@pytest.mark.parametrize("runs", range(5))
def test_learning(runs: int) -> None:
    """Below the needed runs nothing is judged, however wild, and it says how far it is."""
    found = one([900.0], pasts(response_time_p95=QUIET[:runs]))
    assert (found.state, found.runs, found.needed) == ("learning", runs, 5)
    assert (found.expected, found.visible_percent, found.seen, found.of) == (None, None, 0, 1)


@pytest.mark.parametrize(
    ("key", "value", "state"),
    [
        (P95, 109.0, "steady"),
        (P95, 112.0, "worse"),
        (P95, 50.0, "better"),
        ("requests_per_second", 130.0, "better"),
        ("requests_per_second", 70.0, "worse"),
        ("custom:speed:avg:>", 70.0, "worse"),
        ("custom:speed:avg:>", 130.0, "better"),
        ("custom:wait:avg:<", 130.0, "worse"),
    ],
)
def test_direction(key: str, value: float, state: str) -> None:
    """Up is worse for times, down for throughput and for what a threshold keeps above."""
    found = one([value], [past(i, {key: v}) for i, v in enumerate(QUIET)], key)
    assert (found.state, key_of(found)) == (state, key)


def test_figures() -> None:
    """Hand-computed: level 100, budget 10 % (the least change), 20 % up."""
    found = one([120.0], pasts(response_time_p95=[100.0] * 10))
    assert (found.expected, found.low, found.high) == (100, 90, 110)
    assert (found.change_percent, found.visible_percent, found.runs) == (20, 10, 10)
    assert (found.seen, found.of, found.since) == (1, 1, None)


@pytest.mark.parametrize(("rate", "state"), [(0.0, "steady"), (0.5, "steady"), (3.0, "worse")])
def test_errors_after_fifty_runs_without(rate: float, state: str) -> None:
    """Half a per cent is below the point of interest; three are told, without a percentage."""
    found = one([rate], [past(i, {"error_rate": 0.0}) for i in range(50)], "error_rate")
    assert (found.state, found.change_percent) == (state, None)


def test_a_new_endpoint_is_learning_and_disturbs_nobody() -> None:
    """It has no history; what has one is judged."""
    found = compare_all([{P95: 100.0, CART: 900.0}], pasts(response_time_p95=QUIET))
    assert [(c.endpoint, c.state, c.runs) for c in found] == [
        (None, "steady", 10),
        ("GET /cart", "learning", 0),
    ]


def test_runs_without_an_endpoint_are_gaps() -> None:
    """Only the runs that have it count."""
    gaps = [v if i % 2 else None for i, v in enumerate(QUIET * 2)]
    found = one([150.0], pasts(response_time_p95__GET__cart=gaps), CART)
    assert (found.state, found.runs) == ("worse", 10)


def test_a_regression_stays_since_its_first_run_and_needs_no_confirmation_again() -> None:
    """Forty runs on it is still the same regression, since the same run, never the new normal."""
    slow = [{P95: QUIET[i % 10] * 1.5} for i in range(40)]
    told = lived(pasts(response_time_p95=QUIET), *slow)
    states = [(c.state, c.since) for (c,) in told]
    assert states == [("worse", None), *[("worse", "r10")] * 39]
    assert [confirmed_before(c) for c in told] == [False, *[True] * 39]


def test_a_regression_that_is_mended_and_comes_back_is_new() -> None:
    """Mended: steady at once. Again: worse, to be confirmed afresh."""
    slow, fine = [{P95: 150.0 + i % 3} for i in range(6)], [{P95: v} for v in QUIET[:6]]
    told = lived(pasts(response_time_p95=QUIET), *slow, *fine, {P95: 150.0})
    assert [c.state for (c,) in told] == ["worse"] * 6 + ["steady"] * 6 + ["worse"]
    assert told[-1][0].since is None


def test_single_odd_runs_are_each_new() -> None:
    """One odd run, then normal ones, then another: both are told, neither has a since."""
    told = lived(pasts(response_time_p95=QUIET * 2), {P95: 150.0}, {P95: 100.0}, {P95: 150.0})
    assert [(c.state, c.since) for (c,) in told] == [
        *(("worse", None), ("steady", None), ("worse", None)),
    ]


def test_a_missing_run_does_not_end_a_regression() -> None:
    """An endpoint that had too few requests once is still regressed since the same run."""
    history = pasts(response_time_p95__GET__cart=QUIET)
    told = lived(history, {CART: 150.0}, {}, {CART: 151.0})
    assert (told[2][0].state, told[2][0].since) == ("worse", "r10")


def test_the_end_of_an_outage_is_no_regression() -> None:
    """Twelve runs of fast errors don't make 5 ms the level that 100 ms is compared with."""
    fine = [{P95: v, "error_rate": 0.0} for v in QUIET]
    broken = [{P95: 5.0, "error_rate": 60.0}] * 12
    history = [past(i, values) for i, values in enumerate(fine)]
    told = lived(history, *broken, *fine)
    errors = [states[1] for states in ([c.state for c in found] for found in told)]
    assert errors == ["worse"] * 12 + ["steady"] * 10
    assert [found[0].state for found in told[12:]] == ["steady"] * 10


def test_an_accepted_level_is_normal() -> None:
    """History from the accepted run on, with nothing flagged: what was worse is steady."""
    slow = [past(10 + i, {P95: v * 1.5}) for i, v in enumerate(QUIET)]
    assert one([150.0], slow).state == "steady"
    assert one([100.0], slow).state == "better"


def test_slow_drift_is_told_with_the_run_since_which_it_holds() -> None:
    """No single run is out of the band; the trend sees it."""
    drift = [100 * 1.006**i + (-1) ** i for i in range(40)]
    history = pasts(response_time_p95=[*(QUIET * 3), *drift])
    found = one([drift[-1]], history)
    assert found.state == "worse"
    assert found.since is not None
    assert int(found.since[1:]) >= 30


@pytest.mark.parametrize(
    ("group", "state", "seen"),
    [
        ([150.0, 151.0, 149.0], "worse", 3),
        ([150.0, 151.0, 100.0], "worse", 2),
        ([150.0, 101.0, 100.0], "steady", 1),
        ([150.0, 151.0], "worse", 2),
        ([300.0, 100.0], "steady", 1),  # their mean is far out, but one of two is no majority
        ([50.0, 51.0, 100.0], "better", 2),
    ],
)
def test_confirmation_by_most_of_the_group(group: list[float], state: str, seen: int) -> None:
    """The median of the run and its re-runs decides; it counts how many say so themselves."""
    found = one(group, pasts(response_time_p95=QUIET))
    assert (found.state, found.seen, found.of) == (state, seen, len(group))


def test_a_rerun_without_the_endpoint_does_not_count() -> None:
    """Seen 2 of 2, not 2 of 3."""
    history = pasts(response_time_p95__GET__cart=QUIET)
    (found,) = compare_all([{CART: 150.0}, {}, {CART: 152.0}], history)
    assert (found.observed, found.seen, found.of) == (151.0, 2, 2)


def test_the_group_stands_for_the_run_by_its_medians() -> None:
    """Series of the first run only."""
    group = [{P95: 1.0, CART: 5.0}, {P95: 3.0}, {P95: 2.0, "error_rate": 1.0}]
    assert medians(group) == {P95: 2.0, CART: 5.0}


def test_more_series_ask_for_more_evidence() -> None:
    """The chance of a false alarm is that of the run: the band widens with the series."""
    noisy = [v * (1 + 0.05 * (-1) ** i) for i, v in enumerate(QUIET)]
    keys = [f"{P95} GET /{i}" for i in range(40)]
    history = [past(i, dict.fromkeys(keys, v)) for i, v in enumerate(noisy)]
    many = compare_all([dict.fromkeys(keys, 100.0)], history)[0]
    few = compare_all([{keys[0]: 100.0}], history)[0]
    assert (many.visible_percent or 0) > (few.visible_percent or 0) > 10


def test_between_two_runs() -> None:
    """What moved by more than the noise that the newer run's baseline knows."""
    band = Comparison(
        metric=P95, endpoint=None, unit="ms", state="steady", observed=120.0, expected=100.0,
        visible_percent=10.0,
    )  # fmt: skip
    after = make_run(series={P95: 120.0, "error_rate": 2.0, CART: 5.0}, comparisons=[band])
    before = make_run(series={P95: 100.0, "error_rate": 0.0})
    found = {key_of(c): c for c in between(after, before)}
    assert found.keys() == {P95, "error_rate"}
    assert (found[P95].state, found[P95].change_percent, found[P95].high) == ("worse", 20, 110)
    unknown = found["error_rate"]
    assert (unknown.state, unknown.needed, unknown.change_percent) == ("learning", 0, None)
    assert between(before, after)[0].state == "learning"


def test_between_two_runs_with_a_baseline_of_zero() -> None:
    """Errors that never were: no percentage, but the band says what is noise."""
    band = Comparison(
        metric="error_rate", endpoint=None, unit="%", state="worse", observed=8.0, expected=0.0,
        low=0.0, high=1.0,
    )  # fmt: skip
    before = make_run(series={"error_rate": 0.0})
    for rate, state in ((8.0, "worse"), (0.9, "steady")):
        after = make_run(series={"error_rate": rate}, comparisons=[band])
        (found,) = between(after, before)
        assert (found.state, found.high) == (state, 1.0)


def test_confirmed_before_means_all_that_is_worse() -> None:
    """A new regression beside an old one is confirmed."""
    old = one([150.0], lived_history())
    new = one([150.0], pasts(response_time_p95=QUIET))
    assert confirmed_before([old])
    assert not confirmed_before([old, new])
    assert not confirmed_before([])


def lived_history() -> list[Past]:
    """A history whose last run was worse already."""
    worse = past(10, {P95: 150.0}, worse=frozenset({P95}))
    return [*pasts(response_time_p95=QUIET), worse]


def test_what_is_kept_is_bounded_and_misses_no_change() -> None:
    """The first ones, and whatever is not steady."""
    steady = [one([100.0], pasts(response_time_p95=QUIET)) for _ in range(100)]
    worse = one([150.0], pasts(response_time_p95=QUIET))
    kept = worth_keeping([*steady, worse])
    assert len(kept) == 49
    assert kept[-1] is worse


@settings(max_examples=60, deadline=None)
@given(st.lists(FINITE, max_size=30), st.lists(FINITE, min_size=1, max_size=3))
def test_nothing_breaks_it(values: list[float], group: list[float]) -> None:
    """Any finite numbers give a state, and counts that add up."""
    found = one(group, pasts(response_time_p95=values))
    assert found.state in {"learning", "steady", "worse", "better", "unmeasured"}
    assert 0 <= found.seen <= found.of == len(group)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(min_value=50, max_value=200), min_size=5, max_size=30),
    st.floats(min_value=50, max_value=400),
    st.sampled_from([2.0**-8, 2.0**8]),
)
def test_units_do_not_matter(values: list[float], newest: float, factor: float) -> None:
    """The state is the same in seconds and in milliseconds (throughput has no least change)."""
    key = "requests_per_second"
    plain = one([newest], [past(i, {key: v}) for i, v in enumerate(values)], key)
    scaled = [past(i, {key: v * factor}) for i, v in enumerate(values)]
    assert one([newest * factor], scaled, key).state == plain.state


@pytest.mark.long
def test_the_cost_grows_evenly_with_series_and_runs() -> None:
    """Ten times the series of twice the history cost about 20 times as much CPU, not 100."""
    chance = random.Random(1)

    def cost(series: int, count: int) -> float:
        keys = [f"{P95} GET /{i}" for i in range(series)]
        runs = [{key: 100 * chance.lognormvariate(0, 0.06) for key in keys} for _ in range(count)]
        history = [past(i, run) for i, run in enumerate(runs[:-1])]
        began = time.process_time()
        compare_all([runs[-1]], history)
        return time.process_time() - began

    small, large = (min(cost(*size) for _ in range(3)) for size in ((10, 60), (100, 120)))
    assert large < 60 * small


def test_what_is_not_judged_changes_and_is_never_worse() -> None:
    """A setup that takes 5 s instead of 50 ms is a remark, confirmed by nobody."""
    history = pasts(setup_avg=[50.0, 51.0, 50.5, 49.5, 50.2, 50.1])
    (found,) = compare_all([{"setup_avg": 5000.0}], history)
    assert found.state == "changed"
    compare = Compare()
    sizes = wording.Sizes(percent=compare.percent, points=compare.points)
    assert wording.findings([found], history, {}, sizes=sizes) == []
    (remark,) = wording.remarks([found])
    assert remark.startswith("average of setup()'s requests 5,000 ms, was 50")


CPU = "target:checkout CPU:%:<"


@pytest.mark.parametrize(
    ("value", "alerting", "state"),
    [
        (85.0, False, "changed"),
        (85.0, True, "worse"),
        (20.0, True, "better"),
        (41.0, True, "steady"),
    ],
)
def test_a_number_of_the_target_alarms_if_asked_to(
    value: float, alerting: bool, state: str
) -> None:
    """By itself it is shown as changed."""
    history = [past(n, {CPU: value * 0.4}) for n, value in enumerate(QUIET)]
    (found,) = compare_all([{CPU: value}], history, alerting={CPU} if alerting else set())
    assert (found.metric, found.unit, found.state) == (CPU, "%", state)
    assert found.expected == pytest.approx(40.0)
    assert key_of(found) == CPU


def test_numbers_of_the_target_do_not_widen_other_bands() -> None:
    """Fifty of them, and the p95 is judged as without any; they are all kept."""
    many = {f"target:number {n}::<": 1.0 for n in range(50)}
    history = [past(n, {P95: value, **many}) for n, value in enumerate(QUIET)]
    alone = compare_all([{P95: 105.0}], [past(n, {P95: v}) for n, v in enumerate(QUIET)])
    among = compare_all([{P95: 105.0, **many}], history)
    assert among[0] == alone[0]
    assert len(worth_keeping(among)) == 51


def test_a_lasting_change_of_the_target_says_since_when() -> None:
    """Although it never alarmed."""
    history = [past(n, {CPU: value * 0.4}) for n, value in enumerate(QUIET)]
    history += [past(n, {CPU: 85.0 + n % 2}, worse=frozenset({CPU})) for n in range(10, 16)]
    (found,) = compare_all([{CPU: 85.0}], history)
    assert (found.state, found.since) == ("changed", "r10")
