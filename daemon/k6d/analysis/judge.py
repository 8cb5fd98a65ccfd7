"""Findings become a verdict: worst first, with what could not be judged said beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.analysis import limits as limit_rules
from k6d.model import FindingKind, Outcome, Result, Verdict
from k6d.units import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k6d.model import Finding
    from k6d.settings import Limits


def judge(result: Result, *, limits: Limits) -> Verdict:
    """The verdict on one result. An aborted run that did nothing wrong is doubted, not judged."""
    return conclude(limit_rules.find(result, limits), _doubts(result, limits))


def conclude(findings: Sequence[Finding], doubts: Sequence[str]) -> Verdict:
    """Worst first; of equals the one nearest to the cause. The first speaks for the run."""
    kinds = list(FindingKind)
    ordered = sorted(findings, key=lambda f: (-f.severity.rank, kinds.index(f.kind), -f.confidence))
    lead = ordered[0] if ordered else None
    healthy_confidence = 0.5 if doubts else 0.95
    return Verdict(
        anomalies_detected=lead is not None,
        severity=lead.severity if lead else None,
        issues=[finding.message for finding in ordered],
        recommendations=list(dict.fromkeys(finding.recommendation for finding in ordered)),
        confidence=lead.confidence if lead else healthy_confidence,
        findings=ordered,
        doubts=list(doubts),
    )


def _doubts(result: Result, limits: Limits) -> list[str]:
    execution, metrics = result.execution, result.summary.metrics
    doubts = []
    if execution.outcome is Outcome.ABORTED and not execution.error:
        doubts.append("stopped before its end: what was measured until then is kept")
    total = metrics.total_requests
    if total and total < limits.min_requests and execution.outcome is Outcome.COMPLETED:
        doubts.append(f"only {plural(total, 'request')}: too few to judge rates and quantiles")
    return doubts
