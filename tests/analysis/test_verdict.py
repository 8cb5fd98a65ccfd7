"""Findings become a verdict."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from k6d.analysis.verdict import conclude, judge, one_cause
from k6d.core.measurements import Breakdown, Generator, Threshold, Timeline
from k6d.core.model import INCONCLUSIVE, Execution, Finding, FindingKind, Outcome, Severity
from k6d.settings import Limits
from support.results import endpoint, result

DEFAULT = Limits()


def _finding(kind: FindingKind, severity: Severity, confidence: float = 1.0) -> Finding:
    return Finding(
        kind=kind,
        severity=severity,
        message=f"{severity} {kind} {confidence}",
        recommendation=f"mend {kind}",
        confidence=confidence,
    )


def test_worst_first_then_nearest_to_the_cause_then_surest_in_whatever_order_they_come() -> None:
    """The first speaks for the run: its severity and its confidence are the verdict's."""
    ordered = [
        _finding(FindingKind.LIMIT, Severity.CRITICAL, 0.9),
        _finding(FindingKind.SCRIPT_ERROR, Severity.HIGH),
        _finding(FindingKind.THRESHOLD, Severity.HIGH),
        _finding(FindingKind.EXCEPTIONS, Severity.MEDIUM, 0.9),
        _finding(FindingKind.EXCEPTIONS, Severity.MEDIUM, 0.5),
        _finding(FindingKind.LIMIT, Severity.LOW),
    ]
    for shuffled in itertools.permutations(ordered):
        verdict = conclude(shuffled, [])
        assert verdict.findings == ordered
    assert verdict.issues == [finding.message for finding in ordered]
    assert (verdict.anomalies_detected, verdict.severity) == (True, Severity.CRITICAL)
    assert verdict.confidence == 0.9


def test_a_recommendation_is_given_once() -> None:
    """In the order of the findings."""
    twice = [_finding(FindingKind.LIMIT, severity) for severity in (Severity.LOW, Severity.HIGH)]
    verdict = conclude([*twice, _finding(FindingKind.CHECKS, Severity.MEDIUM)], [])
    assert verdict.recommendations == ["mend limit broken", "mend failed checks"]


def test_no_finding_is_healthy_and_doubt_lowers_the_confidence() -> None:
    """Doubts are said beside the verdict."""
    sure, unsure = conclude([], []), conclude([], ["too few"])
    assert (sure.anomalies_detected, sure.severity, sure.issues) == (False, None, [])
    assert sure.confidence > unsure.confidence
    assert unsure.doubts == ["too few"]


@pytest.mark.parametrize(("requests", "doubted"), [(1, True), (19, True), (20, False)])
def test_few_requests_are_doubted(requests: int, *, doubted: bool) -> None:
    """Fewer than the limit's `min_requests` say little of rates and quantiles."""
    verdict = judge(result(total_requests=requests), limits=DEFAULT)
    assert verdict.doubts == (
        [f"only {requests} request{'s' * (requests > 1)}: too few to judge rates and quantiles"]
        if doubted
        else []
    )


@pytest.mark.parametrize(
    ("counts", "doubted"), [((19, 19), True), ((19, 20), False), ((19,), False), ((), False)]
)
def test_a_regression_without_an_endpoint_says_that_each_had_few_requests(
    counts: tuple[int, ...], *, doubted: bool
) -> None:
    """With one endpoint, the whole run is that endpoint."""
    rows = tuple(endpoint(f"GET /{at}", count=count) for at, count in enumerate(counts))
    slower = _finding(FindingKind.REGRESSION, Severity.MEDIUM)
    run = result(breakdown=Breakdown(endpoints=rows), total_requests=100)
    verdict = judge(run, limits=DEFAULT, regressions=[slower])
    said = "each endpoint had fewer than 20 requests: none is judged alone"
    assert verdict.doubts == ([said] if doubted else [])
    assert judge(run, limits=DEFAULT).doubts == []


def test_an_aborted_run_is_doubted_not_blamed() -> None:
    """Stopped by us: what was measured counts, and it says so."""
    verdict = judge(result(execution=Execution(outcome=Outcome.ABORTED)), limits=DEFAULT)
    assert not verdict.anomalies_detected
    assert verdict.doubts == ["stopped before its end: what was measured until then is kept"]


SLOW = Threshold(metric="http_req_duration", expression="p(95)<5", crossed=True, observed=7)
FEW = Threshold(metric="http_reqs", expression="count > 1000", crossed=True, observed=26)
ERRORS = Threshold(metric="errs", expression="count==0", crossed=True, observed=13)
UNMET = Threshold(metric="orders", expression="count===20", crossed=True, observed=13)


@pytest.mark.parametrize(
    ("outcome", "exit_code", "crossed", "judged"),
    [
        (Outcome.COMPLETED, 99, (SLOW, FEW), (SLOW, FEW)),
        (Outcome.ABORTED, 99, (SLOW, FEW), (SLOW,)),
        (Outcome.ABORTED, 99, (FEW,), (FEW,)),  # the one that ended it
        (Outcome.ABORTED, 105, (SLOW, FEW), (SLOW,)),
        (Outcome.ABORTED, 105, (FEW,), ()),
        (Outcome.ABORTED, 105, (ERRORS,), (ERRORS,)),  # a counter never falls
        (Outcome.ABORTED, 105, (UNMET,), ()),
    ],
)
def test_a_run_that_was_cut_short_is_not_blamed_for_its_counts(
    outcome: Outcome, exit_code: int, crossed: tuple[Threshold, ...], judged: tuple[Threshold, ...]
) -> None:
    """They are told as a doubt: the whole run might have reached them."""
    cut = Execution(outcome=outcome, exit_code=exit_code)
    verdict = judge(result(execution=cut, thresholds=crossed), limits=DEFAULT)
    assert {f.metric for f in verdict.findings} == {threshold.metric for threshold in judged}
    doubt = "threshold http_reqs: count > 1000 was crossed, it was 26: the run ended before "
    doubted = any(said.startswith(doubt) for said in verdict.doubts)
    assert doubted is (FEW in crossed and FEW not in judged)


def test_an_unreachable_target_leads_and_its_thresholds_follow() -> None:
    """The cause comes before what follows from it."""
    crossed = Threshold(metric="http_req_failed", expression="rate<0.01", crossed=True, observed=1)
    refused = Breakdown(
        endpoints=[endpoint("/", count=50, failed=50)],
        status_codes={"0": 50},
        error_codes={"1212": 50},
    )
    verdict = judge(
        result(
            error_rate=100.0,
            failed_requests=50,
            total_requests=50,
            thresholds=(crossed,),
            breakdown=refused,
        ),
        limits=DEFAULT,
    )
    assert [one.kind for one in verdict.findings] == [
        *(FindingKind.UNREACHABLE, FindingKind.THRESHOLD)
    ]
    assert verdict.severity is Severity.CRITICAL


def _comparative(
    kind: FindingKind, metric: str, severity: Severity = Severity.MEDIUM, **fields: Any
) -> Finding:
    return replace(_finding(kind, severity), metric=metric, message=f"{kind} {metric}", **fields)


LATE = _comparative(FindingKind.REGRESSION, "response_time_p95")
FAILING = _comparative(FindingKind.REGRESSION, "error_rate")
FEWER = _comparative(FindingKind.REGRESSION, "requests_per_second")


@pytest.mark.parametrize(
    ("findings", "kept"),
    [
        ([], []),
        ([FEWER], [FEWER]),
        ([FEWER, LATE], [LATE]),
        ([FEWER, LATE, FAILING], [FAILING]),
    ],
)
def test_one_cause(findings: list[Finding], kept: list[Finding]) -> None:
    """Errors explain slowness, slowness explains fewer requests."""
    for shuffled in itertools.permutations(findings):
        assert one_cause(shuffled) == kept


def test_what_rests_on_no_comparison_is_always_kept() -> None:
    """k6's thresholds, exceptions, failed checks and custom metrics stand beside the cause."""
    others = [_finding(kind, Severity.LOW) for kind in (FindingKind.THRESHOLD, FindingKind.CHECKS)]
    custom = _comparative(FindingKind.REGRESSION, "custom:wait:avg:<")
    assert one_cause([LATE, *others, custom, FAILING]) == [*others, custom, FAILING]


def test_of_one_family_the_gravest_speaks_and_of_equals_the_regression() -> None:
    """A regression knows a before; a graver limit outweighs it, and limits of places all stay."""
    limit = _comparative(FindingKind.LIMIT, "response_time_p95")
    assert one_cause([limit, LATE]) == [LATE]
    grave_late = _comparative(FindingKind.REGRESSION, "response_time_p95", Severity.HIGH)
    assert one_cause([FAILING, grave_late]) == [FAILING, grave_late]  # graver than its cause
    both = [
        _comparative(FindingKind.LIMIT, metric) for metric in ("error_rate", "response_time_avg")
    ]
    assert one_cause(both) == both  # limits that are broken together are all told
    grave = [
        _comparative(FindingKind.LIMIT, "response_time_p95", Severity.HIGH, endpoint=place)
        for place in ("GET /a", "GET /b")
    ]
    assert one_cause([*grave, LATE]) == grave


OWN = "k6 itself took 80 % of this machine's CPUs, which were full"


def test_what_k6_itself_lacked_softens_times_and_nothing_else() -> None:
    """Slow findings become low ones with the doubt beside them; errors stay as they are."""
    slow = replace(
        result(
            response_time_avg=9000.0,
            response_time_p95=20_000.0,
            error_rate=50.0,
            failed_requests=3000,
        ),
        generator=Generator(reasons=[OWN]),
    )
    verdict = judge(slow, limits=DEFAULT)
    told = {(f.kind, f.metric): (f.severity, bool(f.doubt)) for f in verdict.findings}
    assert told == {
        (FindingKind.LIMIT, "error_rate"): (Severity.HIGH, False),
        (FindingKind.LIMIT, "response_time_avg"): (Severity.LOW, True),
        (FindingKind.LIMIT, "response_time_p95"): (Severity.LOW, True),
        (FindingKind.GENERATOR, None): (Severity.LOW, False),
    }
    assert verdict.issues[0].startswith("50 % of the requests failed")
    calm = judge(replace(result(), generator=Generator(reasons=[OWN])), limits=DEFAULT)
    assert [f.kind for f in calm.findings] == [FindingKind.GENERATOR]


@pytest.mark.parametrize(("lag_ms", "severity"), [(20.0, Severity.HIGH), (400.0, Severity.LOW)])
def test_a_wait_for_cpus_excuses_no_more_than_it_can_explain(
    lag_ms: float, severity: Severity
) -> None:
    """20 ms before each turn make no average of 3.5 s."""
    waited = Generator(k6_lag_ms=lag_ms, reasons=["k6 waited 20 ms for a CPU each time"])
    slow = replace(result(response_time_avg=3500.0), generator=waited)
    found = next(f for f in judge(slow, limits=DEFAULT).findings if f.metric)
    assert (found.metric, found.severity) == ("response_time_avg", severity)
    assert found.doubt


def test_a_busy_neighbour_excuses_nothing() -> None:
    """It is said as a doubt of the whole."""
    said = "other programs kept this machine's CPUs full"
    slow = replace(result(response_time_avg=3500.0), generator=Generator(doubts=[said]))
    verdict = judge(slow, limits=DEFAULT)
    assert (verdict.severity, said in verdict.doubts) == (Severity.HIGH, True)
    assert [f.doubt for f in verdict.findings] == [None]


@pytest.mark.parametrize(
    ("metric", "doubted"),
    [
        ("http_req_duration", True),
        ("http_req_waiting{name:/cart}", True),
        ("http_reqs", True),
        ("iteration_duration", True),
        ("http_req_failed", False),
        ("http_req_failed{name:/cart}", False),
        ("checks", False),
        ("dropped_iterations", False),
        ("my_own_metric", False),
    ],
)
def test_a_crossed_threshold_is_high_whatever_k6_lacked(metric: str, *, doubted: bool) -> None:
    """Of times and throughput the doubt stands beside it."""
    crossed = Threshold(metric=metric, expression="p(95)<5", crossed=True, observed=25.9)
    known = result()
    saturated = replace(
        known,
        summary=replace(known.summary, thresholds=[crossed]),
        generator=Generator(reasons=[OWN]),
    )
    verdict = judge(saturated, limits=DEFAULT)
    assert [f.kind for f in verdict.findings] == [FindingKind.THRESHOLD, FindingKind.GENERATOR]
    assert verdict.severity is Severity.HIGH
    assert bool(verdict.findings[0].doubt) is doubted


def _minute(slow: range) -> Breakdown:
    """A minute of 100 requests a second and 20 ms, but for some seconds of 900 ms."""
    line = Timeline(
        t=list(range(1, 61)),
        vus=[10] * 60,
        requests_per_second=[100.0] * 60,
        errors_per_second=[0.0] * 60,
        p95_ms=[900.0 if t in slow else 20.0 + t % 3 for t in range(1, 61)],
    )
    return Breakdown(timeline=line)


def test_a_slow_second_is_a_remark_and_many_are_a_finding() -> None:
    """A brief one is told and alarms nobody."""
    brief = judge(result(breakdown=_minute(range(30, 32))), limits=DEFAULT)
    assert not brief.anomalies_detected
    assert brief.remarks == ["p95 900 ms at second 30 for 2 seconds, was 21 ms before"]
    lasting = judge(result(breakdown=_minute(range(30, 45))), limits=DEFAULT)
    (found,) = lasting.findings
    assert (found.kind, found.observed, lasting.remarks) == (FindingKind.SPIKE, 900.0, [])
    assert found.message.startswith("p95 900 ms at second 30 ")


def test_a_long_run_is_judged_by_stretches() -> None:
    """Of twenty minutes a point is two seconds: the start, length and rates are in seconds."""
    stretches = range(2, 1201, 2)
    slow, failing = range(601, 631), range(901, 921)
    line = Timeline(
        resolution_s=2,
        t=list(stretches),
        vus=[10] * 600,
        requests_per_second=[100.0] * 600,
        errors_per_second=[30.0 if t in failing else 0.0 for t in stretches],
        p95_ms=[900.0 if t in slow else 20.0 + t % 3 for t in stretches],
    )
    verdict = judge(result(breakdown=Breakdown(timeline=line)), limits=DEFAULT)
    (found,) = verdict.findings  # errors explain the rest
    assert found.message == ("failed requests 30/s at second 901 from then on, was 0/s before")
    calm = replace(line, errors_per_second=[0.0] * 600)
    (found,) = judge(result(breakdown=Breakdown(timeline=calm)), limits=DEFAULT).findings
    assert found.message.startswith("p95 900 ms at second 601 ")
    assert (found.observed, found.kind) == (900.0, FindingKind.SPIKE)


def test_an_aborted_run_has_no_spikes() -> None:
    """Runs are judged that came to their end."""
    aborted = Execution(outcome=Outcome.ABORTED)
    slow = _minute(range(30, 45))
    assert not judge(result(execution=aborted, breakdown=slow), limits=DEFAULT).findings


@pytest.mark.parametrize("outcome", sorted(INCONCLUSIVE))
def test_a_fault_of_this_machine_is_inconclusive(outcome: Outcome) -> None:
    """No anomaly, whatever looks wrong with the target; a crossed threshold is a doubt."""
    crossed = Threshold(metric="http_req_failed", expression="rate<0.01", crossed=True)
    dead = result(
        execution=Execution(outcome=outcome, error="the reason"),
        breakdown=Breakdown(status_codes={"0": 6000}),
        thresholds=(crossed,),
        error_rate=100.0,
        failed_requests=6000,
    )
    verdict = judge(dead, limits=DEFAULT)
    assert (verdict.anomalies_detected, verdict.severity, verdict.confidence) == (False, None, 0.0)
    (finding,) = verdict.findings
    assert finding.kind == outcome
    assert finding.message.startswith("inconclusive: ")
    assert finding.message.endswith("the reason")
    assert "again" in finding.recommendation or "k6d runs the script" in finding.recommendation
    (doubt,) = verdict.doubts
    assert doubt == "threshold http_req_failed: rate<0.01 was crossed: not judged"
