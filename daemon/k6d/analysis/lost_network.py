"""Runs in which this machine lost its network: what that may explain, and what it cannot.

The requests that failed for it stand apart, so error rates and response times are the target's.
k6's own counts have them: checks, thresholds on failures, exceptions. If nothing else was found,
nothing is known of the target.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from k6d.analysis.own_trouble import is_speed
from k6d.core.model import FindingKind, Outcome
from k6d.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k6d.core.model import Finding, Result, Verdict

# Failed requests cause these, and k6 counts all of them.
FOLLOWS = (FindingKind.CHECKS, FindingKind.EXCEPTIONS, FindingKind.ABORTED)


def with_outcome(result: Result, verdict: Verdict) -> Result:
    """The result, without a network if that may explain all that was found."""
    if not result.breakdown.lost_requests or not verdict.findings:
        return result
    if not all(map(_may_explain, verdict.findings)):
        return result
    execution = replace(result.execution, outcome=Outcome.NO_NETWORK, error=_lost(result))
    return replace(result, execution=execution)


def doubted(findings: Sequence[Finding], result: Result) -> list[Finding]:
    """The findings; what the lost network may explain gets that doubt, and keeps its severity."""
    if not result.breakdown.lost_requests:
        return list(findings)
    doubt = f"{_lost(result)}: this may come of it"
    return [replace(f, doubt=f.doubt or doubt) if _may_explain(f) else f for f in findings]


def doubts(result: Result) -> list[str]:
    """What the verdict leaves out."""
    if not result.breakdown.lost_requests:
        return []
    return [
        f"{_lost(result)}; they are left out of error rates and response times, and the run is not "
        "compared with others"
    ]


def _lost(result: Result) -> str:
    lost = plural(result.breakdown.lost_requests, "request")
    return f"this machine lost its network during the run, so {lost} failed"


def _may_explain(finding: Finding) -> bool:
    if finding.kind in (FindingKind.THRESHOLD, FindingKind.SPIKE):
        return not is_speed(finding) or finding.metric == "requests_per_second"
    return finding.kind in FOLLOWS
