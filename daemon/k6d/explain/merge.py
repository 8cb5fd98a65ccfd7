"""Merge the AI's explanation into the verdict of the rules; pure functions.

The rules decide. The AI adds issues and recommendations, which are marked as its own. It can raise
a severity by one step, with a recorded reason, and never lowers one. If the rules found nothing, an
issue of the AI is a suspicion; with `ai.suspicions_alarm` it makes the run anomalous with severity
low.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from k6d.core.model import Severity

if TYPE_CHECKING:
    from k6d.core.model import Explanation, Verdict

SUSPICION = "AI suspects: "
ADVICE = "AI: "
RULES, AI, BOTH = "rules", "AI", "both"


def merge(
    verdict: Verdict, explanation: Explanation, *, suspicions_alarm: bool = False
) -> tuple[Verdict, Explanation]:
    """The merged verdict, and the explanation with the changes that it caused.

    `verdict` is that of the rules alone. An unavailable explanation changes nothing.
    """
    if explanation.unavailable is not None:
        return replace(verdict, source=RULES), replace(explanation, source=RULES)
    source = _source(verdict, explanation)
    raised = _raised(verdict, explanation)
    alarm = suspicions_alarm and bool(explanation.issues) and not verdict.anomalies_detected
    suspected = Severity.LOW if alarm else verdict.severity
    merged = replace(
        verdict,
        anomalies_detected=verdict.anomalies_detected or alarm,
        severity=raised or suspected,
        confidence=(explanation.confidence or 0.0) if alarm else verdict.confidence,
        issues=verdict.issues + [SUSPICION + text for text in explanation.issues],
        recommendations=verdict.recommendations + [ADVICE + t for t in explanation.recommendations],
        source=source,
    )
    return merged, replace(
        explanation,
        source=source,
        raised_from=verdict.severity if raised else None,
        raised_because=explanation.raised_because if raised else None,
        alarmed_over=verdict.confidence if alarm else None,
    )


def of_the_rules(verdict: Verdict, explanation: Explanation | None) -> Verdict:
    """The verdict as it was before `explanation` was merged into it."""
    if explanation is None or explanation.source == RULES:
        return verdict
    issues = {SUSPICION + text for text in explanation.issues}
    advice = {ADVICE + text for text in explanation.recommendations}
    healthy = explanation.alarmed_over
    return replace(
        verdict,
        anomalies_detected=verdict.anomalies_detected and healthy is None,
        severity=(explanation.raised_from or verdict.severity) if healthy is None else None,
        confidence=verdict.confidence if healthy is None else healthy,
        issues=[text for text in verdict.issues if text not in issues],
        recommendations=[text for text in verdict.recommendations if text not in advice],
        source=RULES,
    )


def _source(verdict: Verdict, explanation: Explanation) -> str:
    """The author of the analysis: "AI" when only the AI has issues, else "both"."""
    return AI if explanation.issues and not verdict.issues else BOTH


def _raised(verdict: Verdict, explanation: Explanation) -> Severity | None:
    """The next worse severity, if the AI's is worse and its reason is verified; else None."""
    severity, opinion = verdict.severity, explanation.severity
    if severity is None or opinion is None or not explanation.raised_because:
        return None
    return list(Severity)[severity.rank + 1] if opinion.rank > severity.rank else None
