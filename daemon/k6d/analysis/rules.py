"""Judges a result by fixed limits, independent of earlier runs.

The default limits are those of the original service. Each function takes the result and returns
its findings.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from k6d.core.metrics import METRICS
from k6d.core.model import Finding, FindingKind, Result, Severity
from k6d.core.numbers import against, against_threshold, ms
from k6d.core.text import group, one_line, plural

if TYPE_CHECKING:
    from k6d.core.measurements import Breakdown, RequestStats, Threshold
    from k6d.settings import Limits

# Little's law: requests in flight per VU = rate per VU x mean response time. If a VU spends less
# than this share of its time in requests, the script sleeps and the target is not slow.
BUSY_SHARE = 0.5
# An endpoint is named as the place of an error rate if it has this share of the failures.
MAIN_SHARE = 0.5
# k6's error codes of responses begin with these digits: 1404 is HTTP 404.
HTTP_ERRORS = ("14", "15")
MAX_REASON = 120
RESPONSE_TIMES = ("response_time_avg", "response_time_p95")


def find(result: Result, limits: Limits) -> list[Finding]:
    """All findings of the rules, unordered; each cause has one finding."""
    findings = [*_thresholds(result), *_checks(result, limits)]
    if total_failure := _total_failure(result):
        return [*findings, total_failure]
    return [
        *findings,
        *_error_rates(result, limits),
        *_response_times(result, limits),
        *_throughput(result, limits),
    ]


def _thresholds(result: Result) -> list[Finding]:
    return [
        Finding(
            kind=FindingKind.THRESHOLD,
            severity=Severity.HIGH,
            metric=threshold.metric,
            observed=threshold.observed,
            expected=threshold.expression,
            doubt=threshold.doubt,
            message=_crossed(threshold),
            recommendation="The script's own limit: find what slowed or failed, or change it.",
        )
        for threshold in result.summary.thresholds
        if threshold.crossed
    ]


def _crossed(threshold: Threshold) -> str:
    crossed = f"threshold {threshold.metric}: {threshold.expression} was crossed"
    if threshold.observed is None:
        return crossed
    return f"{crossed}, it was {against_threshold(threshold.observed, threshold.expression)}"


def _total_failure(result: Result) -> Finding | None:
    """The finding that all requests failed or none was answered; None if that was expected."""
    metrics, breakdown = result.judged, result.breakdown
    if not metrics.total_requests or metrics.error_rate not in (None, 100):
        return None
    total = metrics.total_requests
    silent = breakdown.status_codes.get("0", 0) >= total or metrics.response_time_avg is None
    if not silent and metrics.failed_requests != total:
        return None
    unknown = Counter({"no answer" if silent else "k6 was told not to say why": total})
    why, n = (_reasons(breakdown) or unknown).most_common(1)[0]
    share = "all" if n >= total else "most of" if 2 * n > total else f"{n:,} of"
    requests = f"{one_line(why, MAX_REASON)} for {share} {plural(total, 'request')}"
    return Finding(
        kind=FindingKind.UNREACHABLE if silent else FindingKind.LIMIT,
        severity=Severity.CRITICAL,
        metric="error_rate",
        observed=100.0,
        expected="< 100 %",
        unit="%",
        endpoint=breakdown.endpoints[0].title if len(breakdown.endpoints) == 1 else None,
        message=f"{'the target is unreachable' if silent else 'every request failed'}: {requests}",
        recommendation="Check that the target is up and that the script's address is right."
        if silent
        else "Look at the target's own log: it answers, but never with success.",
    )


def _reasons(breakdown: Breakdown) -> Counter[str]:
    """Failed requests by reason: the HTTP status, or k6's error where there was no answer.

    A script may tell k6 to leave out tags, so any of statuses, errors and error codes may be empty.
    """
    reasons = Counter(breakdown.errors)
    statuses = {code: n for code, n in breakdown.status_codes.items() if code != "0"}
    for code, n in breakdown.error_codes.items():
        if code.startswith(HTTP_ERRORS):
            statuses |= {} if breakdown.status_codes else {code[1:]: n}
        elif not breakdown.errors:
            reasons[f"k6's error code {code}"] = n
    reasons.update({f"HTTP {status}": n for status, n in statuses.items()})
    return reasons


def _error_rates(result: Result, limits: Limits) -> list[Finding]:
    """Findings for the overall error rate, and for endpoints with a graver one.

    An endpoint needs `limits.min_requests` requests to be judged.
    """
    metrics = result.judged
    endpoints = [e for e in result.breakdown.endpoints if e.failed]
    failed, rate = metrics.failed_requests, metrics.error_rate
    found: list[Finding] = []
    if failed and rate and (broken := limits.error_rate.broken(rate)):
        top = max(endpoints, key=lambda e: e.failed or 0, default=None)
        main = top if top and (top.failed or 0) > MAIN_SHARE * failed else None
        judged = round(100 * failed / rate)
        whole = judged == metrics.total_requests
        overall = _error_finding(broken, failed=failed, total=judged, endpoint=main, whole=whole)
        found.append(_with_reason(overall, result.breakdown, failed))
    for e in endpoints:
        broken_there = limits.error_rate.broken(e.error_rate or 0.0)
        if not broken_there or e.judged < limits.min_requests:
            continue
        if found and broken_there[0].rank <= found[0].severity.rank:
            continue
        at = e.failed or 0
        found.append(
            _error_finding(
                broken_there, failed=at, total=e.judged, endpoint=e, whole=not e.unjudged
            )
        )
    return found


def _with_reason(finding: Finding, breakdown: Breakdown, failed: int) -> Finding:
    """The finding with the reason of most failures, if one reason explains most of them."""
    reasons = _reasons(breakdown)
    for answered in [reason for reason in reasons if reason.startswith(("HTTP 2", "HTTP 3"))]:
        del reasons[answered]
    why, n = reasons.most_common(1)[0] if reasons else ("", 0)
    if 2 * n <= failed or reasons.total() > failed:
        return finding
    share = "all" if n == failed else "mostly"
    message = f"{finding.message}; {share} {one_line(why, MAX_REASON)}"
    return replace(finding, message=message)


def _error_finding(
    broken: tuple[Severity, float],
    *,
    failed: int,
    total: int,
    endpoint: RequestStats | None,
    whole: bool,
) -> Finding:
    """The finding for an error rate above its limit.

    `total` is the number of requests that k6 judged; `whole` is whether it judged all requests.
    """
    severity, limit = broken
    observed = 100 * failed / total
    seen, allowed = against(observed, limit, unit="%")
    sure = wilson_lower(failed, total) * 100 > limit
    judged = "requests" if whole else "judged requests"
    where = f", most of them at {endpoint.title}" if endpoint and endpoint.judged != total else ""
    if endpoint and endpoint.judged == total:
        where = f" at {endpoint.title}"
    return Finding(
        kind=FindingKind.LIMIT,
        severity=severity,
        metric="error_rate",
        endpoint=endpoint.title if endpoint else None,
        observed=observed,
        expected=f"≤ {allowed}",
        unit="%",
        confidence=0.95 if sure else 0.6,
        message=f"{seen} of the {judged} failed ({failed:,} of {total:,}){where}; "
        f"at most {allowed} expected",
        recommendation="Look at the status codes and at the target's log for the failing requests.",
    )


def wilson_lower(hits: int, total: int, z: float = 1.96) -> float:
    """The lower end of a share's 95 % interval (Wilson, JASA 22, 1927, p. 209)."""
    if total == 0:
        return 0.0
    share = hits / total
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (middle - spread) / (1 + z * z / total)


def _response_times(result: Result, limits: Limits) -> list[Finding]:
    """Findings for the average and p95 of all requests, the graver first."""
    found = []
    for metric in RESPONSE_TIMES:
        about = METRICS[metric]
        observed = getattr(result.judged, metric)
        if observed is None or not (broken := getattr(limits, metric).broken(observed)):
            continue
        slowest = max(
            (e for e in result.breakdown.endpoints if e.count >= limits.min_requests),
            key=lambda e: getattr(e, metric.replace("response_time_", "") + "_ms") or 0.0,
            default=None,
        )
        seen, allowed = against(observed, broken[1], unit=about.unit)
        where = f"; slowest: {slowest.title}, {ms(slowest.p95_ms)} at p95" if slowest else ""
        found.append(
            Finding(
                kind=FindingKind.LIMIT,
                severity=broken[0],
                metric=metric,
                endpoint=slowest.title if slowest else None,
                observed=observed,
                expected=f"≤ {allowed}",
                unit=about.unit,
                message=f"{about.title} {seen}, at most {allowed} expected{where}",
                recommendation="Profile the slow endpoint, or give it less load at once.",
            )
        )
    found.sort(key=lambda finding: finding.severity.rank, reverse=True)
    return found


def _throughput(result: Result, limits: Limits) -> list[Finding]:
    """A finding for few requests per second and VU, if VUs spend their time in requests."""
    metrics = result.judged
    rps, vus, avg = metrics.requests_per_second, metrics.virtual_users, metrics.response_time_avg
    if not rps or not vus or avg is None:
        return []
    each = rps / vus
    broken = limits.requests_per_second_per_vu.broken(each)
    if broken is None or each * avg / 1000 < BUSY_SHARE:
        return []
    seen, needed = against(each, broken[1])
    return [
        Finding(
            kind=FindingKind.LIMIT,
            severity=broken[0],
            metric="requests_per_second_per_vu",
            observed=each,
            expected=f"≥ {needed}/s",
            unit="/s",
            message=f"{seen} requests/s for each VU, at least {needed} expected: "
            f"VUs spend their time waiting for the target",
            recommendation="The target doesn't keep up with so many VUs; find what it waits for.",
        )
    ]


def _checks(result: Result, limits: Limits) -> list[Finding]:
    metrics = result.judged
    failed, passed = metrics.checks_failed or 0, metrics.checks_passed or 0
    if not failed:
        return []
    share = 100 * failed / (failed + passed)
    if not (broken := limits.failed_checks.broken(share)):
        return []
    top = max(result.summary.checks, key=lambda check: check.fails, default=None)
    which = ""
    if top and top.fails:
        which = f", most often “{group(top.group, top.name)}” ({plural(top.fails, 'time')})"
    seen, allowed = against(share, broken[1], unit="%")
    return [
        Finding(
            kind=FindingKind.CHECKS,
            severity=broken[0],
            metric="checks",
            observed=share,
            expected=f"≤ {allowed}",
            unit="%",
            message=f"{seen} of the checks failed ({failed:,} of {failed + passed:,})" + which,
            recommendation="Look at the answers that the check refuses; k6d show lists all checks.",
        )
    ]
