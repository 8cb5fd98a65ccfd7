"""Findings become a verdict."""

from __future__ import annotations

import itertools

import pytest

from k6d.analysis.judge import conclude, judge
from k6d.model import Breakdown, Execution, Finding, FindingKind, Outcome, Severity, Threshold
from k6d.settings import Limits
from results import endpoint, result

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


def test_an_aborted_run_is_doubted_not_blamed() -> None:
    """Stopped by us: what was measured counts, and it says so."""
    verdict = judge(result(execution=Execution(outcome=Outcome.ABORTED)), limits=DEFAULT)
    assert not verdict.anomalies_detected
    assert verdict.doubts == ["stopped before its end: what was measured until then is kept"]


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
