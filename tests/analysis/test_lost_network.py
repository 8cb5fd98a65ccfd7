"""A network that this machine lost during a run excuses no failure of the target."""

from __future__ import annotations

from dataclasses import replace

import pytest

from k6d.analysis.verdict import judge_by_limits
from k6d.core.measurements import OFFLINE, Breakdown, Check, Threshold
from k6d.core.model import FindingKind, Outcome, Result, Severity
from k6d.settings import Limits
from support.results import endpoint, result

CHECK = Check(name="up", group="", passes=50, fails=50)


def _crossed(metric: str) -> Threshold:
    return Threshold(metric=metric, expression="p(95)<50", crossed=True, observed=90.0)


def _lost(count: int = 12, **changes: object) -> Result:
    """A run in which so many requests failed for want of this machine's network."""
    made = result(**changes)  # type: ignore[arg-type]
    apart = {OFFLINE: [endpoint("/", count=count, failed=count)]} if count else {}
    return replace(made, breakdown=Breakdown(apart=apart), load=made.summary.metrics)


@pytest.mark.parametrize(
    "changes",
    [
        {"checks": (CHECK,), "checks_passed": 50, "checks_failed": 50},
        {"thresholds": (_crossed("http_req_failed"),)},
        {"thresholds": (_crossed("checks{page:home}"),)},
        {"exceptions": 5, "first_exception": "TypeError: Cannot read property 'id' of null"},
    ],
)
def test_what_the_lost_network_may_explain_is_inconclusive(changes: dict[str, object]) -> None:
    """k6 counts the lost requests in checks, thresholds on failures, and exceptions."""
    result, verdict = judge_by_limits(_lost(**changes), limits=Limits())
    assert result.execution.outcome is Outcome.NO_NETWORK
    assert (verdict.severity, verdict.anomalies_detected) == (None, False)
    assert (
        "this machine lost its network during the run, so 12 requests failed" in verdict.issues[0]
    )


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"error_rate": 20.0, "failed_requests": 1200}, FindingKind.LIMIT),
        ({"response_time_avg": 3500.0}, FindingKind.LIMIT),
        ({"thresholds": (_crossed("http_req_duration"),)}, FindingKind.THRESHOLD),
    ],
)
def test_a_failure_of_the_target_is_told_with_the_doubt(
    changes: dict[str, object], kind: FindingKind
) -> None:
    """So is then what the network may explain; only that has the doubt."""
    checked = {"checks": (CHECK,), "checks_passed": 50, "checks_failed": 50}
    result, verdict = judge_by_limits(_lost(**(changes | checked)), limits=Limits())
    assert result.execution.outcome is Outcome.COMPLETED
    assert verdict.severity is Severity.HIGH
    doubts = {finding.kind: finding.doubt for finding in verdict.findings}
    assert doubts.keys() == {kind, FindingKind.CHECKS}
    assert doubts[kind] is None
    assert "lost its network" in (doubts[FindingKind.CHECKS] or "")
    assert "left out of error rates" in " ".join(verdict.doubts)


def test_a_run_without_findings_is_healthy_with_a_doubt() -> None:
    """Some requests are missing; the rest says that the target is well."""
    result, verdict = judge_by_limits(_lost(), limits=Limits())
    assert (result.execution.outcome, verdict.severity) == (Outcome.COMPLETED, None)
    assert "12 requests failed" in verdict.doubts[0]


def test_a_run_that_lost_nothing_is_judged_as_ever() -> None:
    """No doubt, and its failed checks are told."""
    found = _lost(0, checks=(CHECK,), checks_passed=50, checks_failed=50)
    result, verdict = judge_by_limits(found, limits=Limits())
    assert result is found
    assert verdict.severity is Severity.HIGH
    assert verdict.doubts == []
