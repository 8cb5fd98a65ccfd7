"""The rules decide; the AI adds, and raises by one step at most."""

from __future__ import annotations

from dataclasses import replace

import pytest

from k6d.core.model import Explanation, Severity, Verdict
from k6d.explain.merge import merge, of_the_rules
from support.records import make_anomaly

HEALTHY = Verdict(anomalies_detected=False, confidence=0.95)
ISSUE = "GET /cart slows down before it fails."
ADVICE = "Look at the pool."


def _opinion(severity: Severity | None, reason: str | None = "the errors grow") -> Explanation:
    return Explanation(
        source="AI",
        summary="It fails.",
        issues=[ISSUE],
        recommendations=[ADVICE],
        severity=severity,
        confidence=0.6,
        raised_because=reason,
    )


def test_both() -> None:
    """What the AI adds comes after what the rules found, and says whose it is."""
    rules = make_anomaly()
    verdict, explanation = merge(rules, _opinion(Severity.HIGH))
    assert verdict.source == explanation.source == "both"
    assert verdict.issues == [*rules.issues, f"AI suspects: {ISSUE}"]
    assert verdict.recommendations == [*rules.recommendations, f"AI: {ADVICE}"]
    assert verdict.findings == rules.findings
    assert verdict.severity is rules.severity
    assert explanation.raised_from is explanation.raised_because is None


def test_unavailable_changes_nothing() -> None:
    """The rules' verdict stands as it is."""
    rules = make_anomaly()
    verdict, explanation = merge(rules, Explanation(unavailable="no key"))
    assert verdict == rules
    assert explanation.source == verdict.source == "rules"


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("opinion", [None, *Severity])
@pytest.mark.parametrize("reason", ["the errors grow", None])
def test_severity_goes_up_by_one_step_at_most_and_never_down(
    severity: Severity, opinion: Severity | None, reason: str | None
) -> None:
    """For every pair: one step up if the AI thinks it worse and says why, else unchanged."""
    verdict, explanation = merge(
        replace(make_anomaly(), severity=severity), _opinion(opinion, reason)
    )
    worse = opinion is not None and opinion.rank > severity.rank and reason is not None
    assert verdict.severity is list(Severity)[severity.rank + worse]
    assert explanation.raised_from is (severity if worse else None)
    assert explanation.raised_because == (reason if worse else None)


@pytest.mark.parametrize("severity", [None, *Severity])
def test_a_suspicion_does_not_alarm(severity: Severity | None) -> None:
    """A run that the rules find healthy stays healthy, whatever the AI says."""
    verdict, explanation = merge(HEALTHY, _opinion(severity))
    assert not verdict.anomalies_detected
    assert verdict.severity is None
    assert verdict.confidence == 0.95
    assert verdict.issues == [f"AI suspects: {ISSUE}"]
    assert verdict.source == explanation.source == "AI"


def test_a_suspicion_alarms_where_that_is_set() -> None:
    """Then it is of the lowest severity, one step above none, with the AI's confidence."""
    verdict, explanation = merge(HEALTHY, _opinion(Severity.CRITICAL), suspicions_alarm=True)
    assert verdict.anomalies_detected
    assert verdict.severity is Severity.LOW
    assert verdict.confidence == 0.6
    assert verdict.source == explanation.source == "AI"


def test_nothing_suspected_alarms_nobody() -> None:
    """Without an issue there is no suspicion, even of an AI that calls the run critical."""
    opinion = replace(_opinion(Severity.CRITICAL), issues=[])
    verdict, explanation = merge(HEALTHY, opinion, suspicions_alarm=True)
    assert not verdict.anomalies_detected
    assert verdict.severity is None
    assert explanation.source == "both"


@pytest.mark.parametrize("rules", [make_anomaly(), HEALTHY], ids=["anomalous", "healthy"])
@pytest.mark.parametrize("opinion", [None, *Severity])
@pytest.mark.parametrize("alarm", [True, False])
def test_the_rules_verdict_can_be_had_back(
    rules: Verdict, opinion: Severity | None, alarm: bool
) -> None:
    """Explaining a run again starts from what the rules found, not from the last explanation."""
    verdict, explanation = merge(rules, _opinion(opinion), suspicions_alarm=alarm)
    assert of_the_rules(verdict, explanation) == rules
    assert of_the_rules(rules, None) == rules
