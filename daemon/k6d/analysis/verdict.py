"""Makes the verdict from the findings: worst first, one for each cause, with all doubts."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from k6d.analysis import (
    browser_pages,
    dropped,
    ended,
    expected,
    grpc_calls,
    handshakes,
    lost_network,
    runners,
)
from k6d.analysis import rules as limit_rules
from k6d.analysis.own_trouble import doubted
from k6d.analysis.spikes import Second, find_spikes
from k6d.core.model import INCONCLUSIVE, Finding, FindingKind, Outcome, Result, Severity, Verdict
from k6d.core.numbers import against
from k6d.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k6d.analysis.spikes import Spike
    from k6d.core.model import Execution
    from k6d.settings import Limits

COMPARATIVE = (FindingKind.LIMIT, FindingKind.REGRESSION, FindingKind.SPIKE)
LASTING_S = 5
LEAST_COUNT = re.compile(r"\s*count\s*(>=?|={2,3})\s*([0-9.eE+-]+)")
TIMES, ERRORS, THROUGHPUT = "response times", "errors", "throughput"
SPIKES = {
    "slow": ("response_time_p95", "p95", "ms"),
    "errors": ("error_rate", "failed requests", "/s"),
    "collapse": ("requests_per_second", "throughput", "/s"),
}


def judge(
    result: Result,
    *,
    limits: Limits,
    regressions: Sequence[Finding] = (),
    doubts: Sequence[str] = (),
) -> Verdict:
    """The verdict on a result; an aborted run without findings gets a doubt."""
    if result.execution.outcome in INCONCLUSIVE:
        return _inconclusive(result, limits)
    result, hints = expected.without(result)
    spikes = _spikes(result)
    step_s = result.breakdown.timeline.resolution_s
    lasting = [_spike(found) for found in spikes if _lasts(found, step_s)]
    findings = [
        *ended.find(result),
        *limit_rules.find(result, limits),
        *dropped.find(result),
        *handshakes.find(result, limits),
        *grpc_calls.find(result, limits),
        *browser_pages.find(result, limits),
        *runners.find(result),
        *lasting,
        *regressions,
    ]
    if early := _too_early(findings, result.execution):
        doubts = [
            *doubts,
            *(f"{f.message}: the run ended before that, so not judged" for f in early),
        ]
        findings = [f for f in findings if f not in early]
    findings = lost_network.doubted(doubted(findings, result.generator), result)
    findings = one_cause(findings)
    too_few = _endpoints_unjudged(findings, result, limits)
    verdict = conclude(findings, [*_doubts(result, limits), *too_few, *doubts])
    brief = [_spike(found).message for found in spikes if not _lasts(found, step_s)]
    return replace(verdict, remarks=[*hints, *brief])


def judge_by_limits(result: Result, *, limits: Limits) -> tuple[Result, Verdict]:
    """The result and the verdict on it by limits.

    The outcome becomes "no network" if the loss of this machine's network may explain all findings.
    """
    verdict = judge(result, limits=limits)
    concluded = lost_network.with_outcome(result, verdict)
    return concluded, verdict if concluded is result else judge(concluded, limits=limits)


def _inconclusive(result: Result, limits: Limits) -> Verdict:
    """The verdict on a run that says nothing about the target; crossed thresholds are doubts."""
    others = limit_rules.find(result, limits)
    crossed = [f.message for f in others if f.kind is FindingKind.THRESHOLD]
    verdict = conclude(ended.find(result), [f"{said}: not judged" for said in crossed])
    return replace(verdict, anomalies_detected=False, severity=None, confidence=0.0)


def one_cause(findings: Sequence[Finding]) -> list[Finding]:
    """The findings with one for each cause; broken limits always stay.

    Errors explain slowness, and slowness explains fewer requests. A regression or spike that
    another finding explains is left out unless it is graver.
    """
    by_family: dict[str, list[Finding]] = {}
    for finding in findings:
        if family := _family(finding):
            by_family.setdefault(family, []).append(finding)
    reported: list[Finding] = []
    for family in (ERRORS, TIMES, THROUGHPUT):
        graver = [
            finding
            for finding in _most_telling(by_family.get(family, []))
            if finding.kind is FindingKind.LIMIT
            or all(finding.severity.rank > other.severity.rank for other in reported)
        ]
        reported += graver
    return [finding for finding in findings if not _family(finding)] + reported


def _most_telling(findings: Sequence[Finding]) -> list[Finding]:
    """The findings of one family that are reported: the gravest kind.

    Of equally grave kinds, a regression goes before broken limits, because it knows the values
    before, and both go before a spike. All broken limits are reported, one regression or one spike.
    """
    if not findings:
        return []
    order = (FindingKind.REGRESSION, FindingKind.LIMIT, FindingKind.SPIKE)
    first = min(findings, key=lambda f: (-f.severity.rank, order.index(f.kind)))
    if first.kind is not FindingKind.LIMIT:
        return [first]
    return [finding for finding in findings if finding.kind is FindingKind.LIMIT]


def _family(finding: Finding) -> str | None:
    if finding.kind not in COMPARATIVE or finding.metric is None:
        return None
    if finding.metric in ("error_rate", "failed_checks"):
        return ERRORS
    if finding.metric.startswith("response_time"):
        return TIMES
    return THROUGHPUT if finding.metric.startswith(("requests_per_second", "dropped")) else None


def _too_early(findings: Sequence[Finding], execution: Execution) -> list[Finding]:
    """Crossed thresholds on counts that a run which ended early had no time to reach.

    If a threshold ended the run and there is no other crossed one, that threshold counts.
    """
    if execution.outcome not in (Outcome.ABORTED, Outcome.TIMED_OUT):
        return []
    crossed = [f for f in findings if f.kind is FindingKind.THRESHOLD]
    early = [f for f in crossed if _can_still_grow(f)]
    return [] if execution.cut_by_threshold and early == crossed else early


def _can_still_grow(finding: Finding) -> bool:
    """Whether a crossed threshold on a count is one that more time may have met."""
    found = LEAST_COUNT.match(finding.expected or "")
    if found is None:
        return False
    sign, bound = found.groups()
    below = finding.observed is not None and finding.observed < float(bound)
    return sign.startswith(">") or below


def _lasts(spikes: Sequence[Spike], step_s: int) -> bool:
    """Whether spikes are worth an alarm; one or two slow seconds happen by chance."""
    return any(
        spike.shape == "step" or spike.length_s >= max(LASTING_S, 2 * step_s) for spike in spikes
    )


def _spikes(result: Result) -> list[list[Spike]]:
    """Slow seconds, bursts of errors and collapses of throughput inside the run, by kind.

    The time line of a long run has intervals of several seconds; each counts as one second.
    """
    if result.execution.outcome is not Outcome.COMPLETED:
        return []
    line = result.breakdown.timeline
    step = line.resolution_s
    columns = zip(
        line.t, line.requests_per_second, line.errors_per_second, line.p95_ms, line.vus, strict=True
    )
    mixes = result.mixes if len(result.mixes) == len(line.t) else [None] * len(line.t)
    stretches = [
        Second(
            t_s=t // step,
            rps=math.nan if rps is None else rps * step,
            errors=math.nan if rps is None else (errors or 0.0) * step,
            p95_ms=p95,
            vus=vus,
            mix=mix,
        )
        for (t, rps, errors, p95, vus), mix in zip(columns, mixes, strict=True)
    ]
    found: dict[str, list[Spike]] = {}
    for spike in find_spikes(stretches):
        found.setdefault(spike.kind, []).append(_in_seconds(spike, step))
    return list(found.values())


def _in_seconds(spike: Spike, step_s: int) -> Spike:
    """A spike in seconds; it was counted in intervals of `step_s` seconds, by their ends."""
    each = 1 if spike.kind == "slow" else step_s
    return replace(
        spike,
        start_s=(spike.start_s - 1) * step_s + 1,
        length_s=spike.length_s * step_s,
        observed=spike.observed / each,
        expected=spike.expected / each,
    )


def _spike(spikes: Sequence[Spike]) -> Finding:
    """The finding about the spikes of one kind; it describes the longest."""
    longest = max(spikes, key=lambda spike: spike.length_s)
    metric, title, unit = SPIKES[longest.kind]
    lasting = longest.shape == "step"
    how = "from then on" if lasting else f"for {plural(longest.length_s, 'second')}"
    seen, before = against(longest.observed, longest.expected, unit=unit)
    more = f" ({len(spikes)} times in the run)" if len(spikes) > 1 else ""
    return Finding(
        kind=FindingKind.SPIKE,
        severity=Severity.MEDIUM if lasting else Severity.LOW,
        metric=metric,
        observed=longest.observed,
        expected=before,
        unit=unit,
        confidence=0.8,
        message=f"{title} {seen} at second {longest.start_s} {how}, was {before} before{more}",
        recommendation="Look at what the target did at that second: a restart, a pause, a job?",
    )


def conclude(findings: Sequence[Finding], doubts: Sequence[str]) -> Verdict:
    """The verdict with its findings, the worst first; of equals, the nearest to the cause first.

    The run has the severity and the confidence of the first.
    """
    kinds = list(FindingKind)
    ordered = sorted(
        findings,
        key=lambda f: (
            -f.severity.rank,
            kinds.index(f.kind),
            -f.confidence,
        ),
    )
    lead = max(ordered, key=lambda f: f.severity.rank, default=None)
    return Verdict(
        anomalies_detected=lead is not None,
        severity=lead.severity if lead else None,
        issues=[finding.message for finding in ordered],
        recommendations=list(dict.fromkeys(finding.recommendation for finding in ordered)),
        confidence=lead.confidence if lead else 0.5 if doubts else 0.95,
        findings=ordered,
        doubts=list(doubts),
    )


def _endpoints_unjudged(findings: Sequence[Finding], result: Result, limits: Limits) -> list[str]:
    """A doubt when a regression names no endpoint, because each has too few requests."""
    found = result.breakdown
    counts = [one.count for one in (*found.endpoints, *found.grpc_methods, *found.pages)]
    unnamed = any(f.kind is FindingKind.REGRESSION and not f.endpoint for f in findings)
    if not unnamed or len(counts) < 2 or max(counts) >= limits.min_requests:
        return []
    return [f"each endpoint had fewer than {limits.min_requests} requests: none is judged alone"]


def _doubts(result: Result, limits: Limits) -> list[str]:
    execution, metrics = result.execution, result.judged
    doubts = []
    if execution.cut_by_threshold:
        doubts.append("a threshold with abortOnFail ended it early: no other run compares with it")
    elif execution.outcome is Outcome.ABORTED and not execution.error:
        doubts.append("stopped before its end: what was measured until then is kept")
    total = metrics.total_requests
    if total and total < limits.min_requests and execution.outcome is Outcome.COMPLETED:
        doubts.append(f"only {plural(total, 'request')}: too few to judge rates and quantiles")
    return [*doubts, *lost_network.doubts(result), *result.generator.doubts]
