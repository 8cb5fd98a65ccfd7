"""Comparisons in words: one finding for each cause."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from k6d.analysis import wording
from k6d.analysis.comparison import Past, compare_all
from k6d.core.mark import Mark
from k6d.core.model import Comparison, Finding, FindingKind, Severity
from k6d.settings import Limit
from support.pasts import QUIET, lived, past, pasts
from support.records import NOON

SIZES = wording.Sizes(
    percent=Limit(low=0, medium=20, high=50), points=Limit(low=0, medium=5, high=10)
)
P95 = "response_time_p95"
NAMES = ("cart", "home", "pay", "search", "user")


def comparison(metric: str, endpoint: str | None = None, **changes: object) -> Comparison:
    """Worse by half: 150 ms against 100 ms."""
    unit = {"error_rate": "%", "failed_checks": "%", "requests_per_second": "/s"}
    worse = Comparison(
        metric=metric,
        endpoint=endpoint,
        unit=unit.get(metric, "" if metric.startswith("custom:") else "ms"),
        state="worse",
        observed=150.0,
        expected=100.0,
        low=90.0,
        high=110.0,
        change_percent=50.0,
        visible_percent=10.0,
        runs=10,
        needed=5,
        seen=3,
        of=3,
    )
    return replace(worse, **changes)  # type: ignore[arg-type]


def find(*comparisons: Comparison) -> list[Finding]:
    """The findings, without history."""
    return wording.findings(comparisons, [], {}, sizes=SIZES)


def five(*worse: str, overall: str = "steady", metric: str = P95) -> list[Comparison]:
    """A metric overall and of five endpoints, of which some are worse."""
    places = [
        comparison(metric, f"GET /{name}", state="worse" if name in worse else "steady")
        for name in NAMES
    ]
    return [comparison(metric, state=overall), *places]


def test_the_marks_before_a_change_stand_beside_it() -> None:
    """Those between the run before and the first slow one, with their distance; no other."""
    history = [
        Past(test_id=f"r{n}", timestamp=NOON + timedelta(hours=n), series={}, files={})
        for n in range(3)
    ]
    marks = [
        Mark(id="a", at=NOON - timedelta(hours=9), text="before"),
        Mark(id="b", at=NOON + timedelta(minutes=116), text="checkout 2.14"),
        Mark(id="c", at=NOON + timedelta(minutes=150), text="later"),
    ]
    happened = wording.Happened(script="shop.js", at=NOON + timedelta(hours=3), marks=marks)
    worse = [comparison(P95, since="r2")]
    (finding,) = wording.findings(worse, history, {}, sizes=SIZES, happened=happened)
    assert "; since run r2 on 22 Nov, 14:00 UTC, 4 min after “checkout 2.14”" in finding.message
    assert finding.changed == "4 min after “checkout 2.14”"
    assert finding.recommendation.startswith("Look at what was deployed")
    (new,) = wording.findings([comparison(P95)], history, {}, sizes=SIZES, happened=happened)
    assert new.changed == "30 min after “later”"
    quiet = wording.Happened(script="shop.js", at=NOON + timedelta(hours=3), marks=marks[:1])
    (plain,) = wording.findings(worse, history, {}, sizes=SIZES, happened=quiet)
    assert plain == wording.findings(worse, history, {}, sizes=SIZES)[0]


def test_response_times_stand_beside_errors() -> None:
    """Those of the failing endpoint with their numbers; the finding is as severe as the worst."""
    failing = comparison(
        "error_rate", "GET /pay", observed=8.0, expected=0.0, change_percent=None, of=1
    )
    slow = comparison(P95, "GET /pay", observed=212.0, expected=100.0, change_percent=112.0)
    (alone,) = find(failing)
    assert (alone.severity, alone.message) == (
        Severity.MEDIUM,
        "error rate of GET /pay 8 %, was 0 %; not confirmed",
    )
    (found,) = find(failing, slow, comparison(P95))
    assert (found.metric, found.endpoint, found.severity) == (
        "error_rate",
        "GET /pay",
        Severity.HIGH,
    )
    assert found.message == (
        "error rate of GET /pay 8 %, was 0 %, and p95 212 ms, was 100 ms (+112 %)"
        "; also overall p95; not confirmed"
    )


def test_nothing_worse_is_no_finding() -> None:
    """Neither learning nor steady nor better is one."""
    states = ("learning", "steady", "better")
    assert find(*(comparison(P95, state=state) for state in states)) == []


def test_the_endpoint_that_got_worse_is_named() -> None:
    """One of five, though the overall p95 rose with it; in whole words and in fields."""
    (found,) = find(*five("pay", overall="worse"))
    assert found.message == (
        "p95 of GET /pay 150 ms, was 100 ms (+50 %); also overall p95; confirmed 3 of 3"
    )
    assert (found.kind, found.severity) == (FindingKind.REGRESSION, Severity.MEDIUM)
    assert (found.metric, found.endpoint, found.observed) == (P95, "GET /pay", 150.0)
    assert (found.expected, found.unit, found.confirmed) == ("90 ms to 110 ms", "ms", "3 of 3")
    assert found.since is found.changed is None


def test_the_worst_of_some_endpoints_leads() -> None:
    """By how much it changed, not by how slow it is."""
    slow = comparison(P95, "GET /big", observed=9000.0, expected=7000.0, change_percent=28.6)
    (found,) = find(slow, comparison(P95, "GET /small", change_percent=80.0), *five("cart"))
    assert found.endpoint == "GET /small"
    assert "also p95 of GET /big, p95 of GET /cart" in found.message


def test_everywhere_is_nowhere_in_particular() -> None:
    """When most of five endpoints are worse, the overall figure speaks, p95 first."""
    several = five("cart", "home", "pay", overall="worse")
    (found,) = find(comparison("response_time_avg", change_percent=90.0), *several)
    assert (found.metric, found.endpoint) == (P95, None)
    assert found.message.startswith("p95 150 ms, was 100 ms (+50 %); also overall average, ")
    assert "and 1 more" in found.message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ((3.0, -5.0, 140.0, 10.0, 60.0), ", mostly at GET /pay (+140 %)"),
        ((3.0, -5.0, 140.0, 10.0, 80.0), ""),
        ((-3.0, -5.0, -1.0, -2.0, -9.0), ""),
    ],
)
def test_where_an_overall_change_is_when_no_endpoint_is_beyond_its_noise(
    changes: tuple[float, ...], said: str
) -> None:
    """The one that changed by far the most is named; none where several did."""
    overall, *places = five(overall="worse")
    moved = [replace(c, change_percent=p) for c, p in zip(places, changes, strict=True)]
    (found,) = find(overall, *moved)
    assert found.message == f"p95 150 ms, was 100 ms (+50 %){said}; confirmed 3 of 3"
    assert found.endpoint is None


def test_two_of_five_are_places() -> None:
    """Less than most: the worse of them is named."""
    (found,) = find(*five("cart", "home", overall="worse"))
    assert found.endpoint == "GET /cart"


def test_errors_explain_latency_and_latency_throughput() -> None:
    """One cause, one finding."""
    throughput = comparison("requests_per_second", observed=50.0, change_percent=-50.0)
    errors = comparison("error_rate", observed=4.0, expected=0.0, change_percent=None)
    custom = comparison("custom:checkout:p(95):<")
    (alone,) = find(throughput)
    assert alone.message.startswith("throughput 50/s, was 100/s (-50 %)")
    assert [f.metric for f in find(throughput, *five("pay"))] == [P95]
    assert [f.metric for f in find(throughput, *five("pay"), errors, custom)] == ["error_rate"]
    assert [f.metric for f in find(*five("pay"), custom)] == [P95, "custom:checkout:p(95):<"]


def test_several_custom_metrics() -> None:
    """By their own names: there is nothing they are the overall of."""
    custom = [comparison(f"custom:{name}:avg:<") for name in ("a", "b")]
    (found,) = find(*custom)
    assert found.message == "a avg 150, was 100 (+50 %); also b avg; confirmed 3 of 3"


@pytest.mark.parametrize(
    ("rate", "severity"),
    [(1.5, Severity.LOW), (5.5, Severity.MEDIUM), (12.0, Severity.HIGH)],
)
def test_errors_from_nothing(rate: float, severity: Severity) -> None:
    """Severity by points; there is no percentage of 0."""
    (found,) = find(comparison("error_rate", observed=rate, expected=0.0, change_percent=None))
    assert found.message.startswith(f"error rate {rate:g} %, was 0 %; confirmed")
    assert found.severity is severity


def test_the_worst_endpoint_by_errors_is_that_with_most_points() -> None:
    """Thirty points up from nothing are worse than two up from one, though that is +200 %."""
    some = comparison("error_rate", "GET /a", observed=3.0, expected=1.0, change_percent=200.0)
    many = comparison("error_rate", "GET /b", observed=30.0, expected=0.0, change_percent=None)
    (found,) = find(some, many)
    assert (found.endpoint, found.severity) == ("GET /b", Severity.HIGH)


def test_latency_severity_by_percent() -> None:
    """Low up to 20 %, medium up to 50 %, high beyond."""
    severities = [find(comparison(P95, change_percent=p))[0].severity for p in (15.0, 30.0, 60.0)]
    assert severities == [Severity.LOW, Severity.MEDIUM, Severity.HIGH]


def test_how_sure_it_is() -> None:
    """More re-runs that agree, more confidence; none is said."""
    unconfirmed = find(comparison(P95, seen=1, of=1))[0]
    two, three = (find(comparison(P95, seen=n))[0] for n in (2, 3))
    assert unconfirmed.confidence < two.confidence < three.confidence
    assert unconfirmed.message.endswith("(+50 %); not confirmed")
    assert unconfirmed.confirmed is None
    assert two.message.endswith("; confirmed 2 of 3")


def test_what_changed_with_this_run() -> None:
    """The files that differ from the last comparable run, by two parts of their path."""
    history = [past(i, {P95: v}, files={"cart.js": "1"}) for i, v in enumerate(QUIET)]
    files = {"cart.js": "1", "shop/lib/cart.js": "2"}
    compared = compare_all([{P95: 150.0}], history)
    (found,) = wording.findings(compared, history, files, sizes=SIZES)
    assert found.changed == "lib/cart.js changed with this run"
    assert "; lib/cart.js changed with this run" in found.message
    (same,) = wording.findings(compared, history, {"cart.js": "1"}, sizes=SIZES)
    assert same.changed is None
    assert found.recommendation != same.recommendation


@pytest.mark.parametrize(
    ("after", "changed"),
    [
        ({"a.js": "1", "b.js": "2"}, None),
        ({"../new/a.js": "1", "../new/b.js": "2"}, None),
        ({"../new/a.js": "1", "../new/b.js": "3"}, "new/b.js, b.js"),
        ({"a.js": "1"}, "b.js"),
        ({"a.js": "1", "b.js": "2", "c.csv": "3"}, "c.csv"),
        ({}, None),
    ],
)
def test_a_file_that_only_moved_did_not_change(after: dict[str, str], changed: str | None) -> None:
    """Edited, removed and added ones did."""
    history = [past(i, {P95: v}, files={"a.js": "1", "b.js": "2"}) for i, v in enumerate(QUIET)]
    compared = compare_all([{P95: 150.0}], history)
    (found,) = wording.findings(compared, history, after, sizes=SIZES)
    assert found.changed == (changed and f"{changed} changed with this run")


def test_a_module_from_a_server_changed_if_both_runs_know_it() -> None:
    """Runs that older versions of k6d stored do not know such modules."""
    url, here = "https://modules.example/lib.js", {"shop.js": "x"}
    for before, changed in ((here | {url: "1"}, True), (here, False)):
        history = [past(i, {P95: v}, files=before) for i, v in enumerate(QUIET)]
        compared = compare_all([{P95: 150.0}], history)
        (found,) = wording.findings(compared, history, here | {url: "2"}, sizes=SIZES)
        words = "modules.example/lib.js changed with this run"
        assert found.changed == (words if changed else None)


def test_since_which_run_and_what_changed_then() -> None:
    """The run is named with its time, and the files that changed with it, not those of today."""
    fine = [past(i, {P95: v}, files={"lib/cart.js": "1"}) for i, v in enumerate(QUIET)]
    slow = [
        past(i, {P95: 150.0}, worse=frozenset({P95}), files={"lib/cart.js": "2"}) for i in (10, 11)
    ]
    history = [*fine, *slow]
    compared = compare_all([{P95: 151.0}], history)
    (found,) = wording.findings(compared, history, {"lib/cart.js": "3"}, sizes=SIZES)
    assert found.message == (
        "p95 151 ms, was 100 ms (+51 %); since run r10 on 13 Nov, 00:05 UTC, "
        "when lib/cart.js changed"
    )
    assert (found.since, found.changed) == ("r10", "lib/cart.js changed with that run")
    assert found.confidence == 0.95


def test_improvements_are_told() -> None:
    """In words, without a finding."""
    better = comparison(P95, state="better", observed=50.0, change_percent=-50.0)
    assert wording.improvements([better]) == ["p95 50 ms, was 100 ms (-50 %)"]
    assert find(better) == []


def test_failing_fast_is_no_improvement() -> None:
    """Quick errors are not praised."""
    better = comparison(P95, state="better", observed=5.0, change_percent=-95.0)
    errors = comparison("error_rate", observed=60.0, expected=0.0, change_percent=None)
    assert wording.improvements([better, errors]) == []


def test_noise_is_what_the_re_runs_did_not_repeat() -> None:
    """With the values of all."""
    history = pasts(response_time_p95=QUIET)
    group = [{P95: 150.0}, {P95: 101.0}, {P95: 99.0}]
    alone, together = compare_all(group[:1], history), compare_all(group, history)
    assert wording.noise(alone, together, group) == ["p95 was 150 ms, then 101 ms, 99 ms: noise"]
    assert wording.noise(alone, alone, group[:1]) == []


def test_doubt_while_learning() -> None:
    """The least known series tells how far it is."""
    compared = compare_all([{P95: 1.0, "error_rate": 0.0}], pasts(response_time_p95=QUIET[:3]))
    assert wording.doubts(compared) == ["learning, 0 of 5 comparable runs"]


def test_doubt_about_a_new_series_alone() -> None:
    """A check that was added is learning; the response times of years are not."""
    compared = compare_all([{P95: 100.0, "failed_checks": 0.0}], pasts(response_time_p95=QUIET))
    assert wording.doubts(compared) == ["learning failed checks, 0 of 5 comparable runs"]


def test_doubt_about_a_coarse_baseline() -> None:
    """A noise budget above a quarter is said, a smaller one isn't."""
    wild = pasts(response_time_p95=[60.0, 140.0, 90.0, 110.0, 70.0, 130.0, 100.0, 80.0])
    (doubt,) = wording.doubts(compare_all([{P95: 100.0}], wild))
    assert doubt.startswith("p95 must move ≥ ")
    assert doubt.endswith(" % to be seen; a longer run shows smaller changes")
    assert not wording.doubts(compare_all([{P95: 100.0}], pasts(response_time_p95=QUIET)))


def test_a_regression_of_one_of_five_over_its_life() -> None:
    """Told once as new, then with its run; other endpoints stay silent."""
    keys = [f"{P95} GET /{name}" for name in NAMES]
    history = [past(i, dict.fromkeys(keys, v)) for i, v in enumerate(QUIET)]
    slow = dict.fromkeys(keys, 100.0) | {keys[2]: 160.0}
    first, second = lived(history, slow, slow)
    (new,) = find(*first)
    assert new.message == "p95 of GET /pay 160 ms, was 100 ms (+60 %); not confirmed"
    known = [*history, past(10, slow, worse=frozenset({keys[2]}))]
    (old,) = wording.findings(second, known, {}, sizes=SIZES)
    assert old.message.endswith("; since run r10 on 13 Nov, 00:05 UTC")


CPU = "target:checkout CPU:%:<"
QUEUE = "target:queue::<"


def target(metric: str = CPU, state: str = "changed", **changes: object) -> Comparison:
    """A number of the target: 85 % against 40 %."""
    unit = metric.rsplit(":", 2)[1]
    numbers = {"observed": 85.0, "expected": 40.0, "low": 35.0, "high": 45.0}
    return comparison(
        metric, state=state, unit=unit, **{**numbers, "change_percent": 112.5, **changes}
    )


def test_the_targets_own_numbers_stand_beside_a_regression() -> None:
    """One finding, with what of the target changed at the same time; a steady one is left out."""
    (found,) = find(comparison(P95), target(), target("target:disk:%:<", "steady"))
    assert found.metric == P95
    assert "; the target's checkout CPU 85 %, was 40 %; confirmed 3 of 3" in found.message
    many = [target(f"target:n{n}:%:<", observed=50.0 + n) for n in range(5)]
    (found,) = find(comparison(P95), *many)
    assert "; the target's n4 54 %, was 40 %, n3 53 %, was 40 %, n2 52 %" in found.message
    assert " and 2 more;" in found.message


def test_a_number_of_the_target_alone_is_a_remark() -> None:
    """Unless its entry asks for an alert: then it is a finding, of its own or beside another."""
    assert find(target()) == []
    (line,) = wording.remarks([target(since="r7")])
    assert line == "the target's checkout CPU 85 %, was 40 %, since run r7: alone no alert"
    assert wording.remarks([comparison(P95), target()]) == [], "it stands in the finding"
    (found,) = find(target(state="worse"), target(QUEUE))
    assert (found.severity, found.metric) == (Severity.HIGH, CPU)
    assert found.message == "checkout CPU 85 %, was 40 %; confirmed 3 of 3"
    assert "the target deployed" in found.recommendation
    (found,) = find(comparison(P95), target(state="worse"))
    assert found.metric == P95
    assert "the target's checkout CPU 85 %" in found.message


def test_a_new_number_of_the_target_makes_no_doubt() -> None:
    """The run is judged by its own numbers, which are learned."""
    assert wording.doubts([comparison(P95), target(state="learning", runs=1)]) == []
