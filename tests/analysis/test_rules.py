"""The rules, one by one, on results made for them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from k6d.analysis.rules import find, wilson_lower
from k6d.core.measurements import Breakdown, Check, Threshold
from k6d.core.model import Execution, Finding, FindingKind, Outcome, Result, Severity
from k6d.core.text import plural
from k6d.settings import Limits
from support.results import endpoint, result

DEFAULT = Limits()


def _only(found: Result, limits: Limits = DEFAULT) -> Finding:
    (finding,) = find(found, limits)
    assert finding.message
    assert finding.recommendation.endswith(".")
    return finding


def _failing(failed: int, *endpoints: tuple[str, int, int]) -> Result:
    """6,000 requests of which so many failed; endpoints as name, count, failed."""
    rows = [endpoint(name, count=count, failed=bad) for name, count, bad in endpoints]
    return result(
        error_rate=100 * failed / 6000, failed_requests=failed, breakdown=Breakdown(endpoints=rows)
    )


def test_a_healthy_result_has_no_findings() -> None:
    """Nothing is made of nothing."""
    assert find(result(), DEFAULT) == []


@pytest.mark.parametrize(
    ("failed", "severity"),
    [
        (300, None),  # 5 % is allowed
        (301, Severity.MEDIUM),
        (600, Severity.MEDIUM),
        (601, Severity.HIGH),
        (5999, Severity.HIGH),
    ],
)
def test_the_error_rate_has_two_bounds(failed: int, severity: Severity | None) -> None:
    """Above 5 % medium, above 10 % high: the original service's."""
    found = find(_failing(failed), DEFAULT)
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_an_error_rate_is_observed_expected_and_placed() -> None:
    """The finding holds the numbers and names the endpoint with most of the failures."""
    finding = _only(_failing(750, ("/cart", 1000, 700), ("/home", 5000, 50)))
    assert (finding.kind, finding.metric) == (FindingKind.LIMIT, "error_rate")
    assert (finding.observed, finding.expected, finding.unit) == (12.5, "≤ 10 %", "%")
    assert finding.endpoint == "GET /cart"
    assert finding.message == (
        "12.5 % of the requests failed (750 of 6,000), most of them at GET /cart; "
        "at most 10 % expected"
    )


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({"status_codes": {"200": 5250, "404": 750}}, "all HTTP 404"),
        ({"status_codes": {"200": 5250, "404": 300, "503": 450}}, "mostly HTTP 503"),
        (
            {"status_codes": {"0": 750}, "errors": {"dial: i/o timeout": 750}},
            "all dial: i/o timeout",
        ),
        ({"status_codes": {"200": 5000, "404": 1000}}, ""),  # some of them were expected
        ({"status_codes": {"404": 375, "503": 375}}, ""),
    ],
)
def test_an_error_rate_says_what_most_failures_were(counts: dict[str, Any], reason: str) -> None:
    """Where that is plain."""
    failing = _failing(750)
    found = _only(replace(failing, breakdown=replace(failing.breakdown, **counts)))
    assert found.message.endswith(f"at most 10 % expected{f'; {reason}' if reason else ''}")


def test_failures_everywhere_are_placed_nowhere() -> None:
    """No endpoint has most of them, so none is named."""
    finding = _only(_failing(900, ("/a", 3000, 450), ("/b", 3000, 450)))
    assert finding.endpoint is None


def test_an_endpoint_fails_within_a_healthy_whole() -> None:
    """1 % of all is fine, but all of /pay's is not; too few requests are not judged."""
    finding = _only(_failing(60, ("/pay", 50, 50), ("/rare", 19, 10), ("/home", 5931, 0)))
    assert (finding.endpoint, finding.severity) == ("GET /pay", Severity.HIGH)
    assert (finding.observed, finding.message[:36]) == (100, "100 % of the requests failed (50 of ")


@pytest.mark.parametrize(
    ("hits", "total", "expected"),
    [
        # By hand: (p + z²/2n − z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n), z = 1.96.
        (0, 10, 0.0),
        (5, 10, 0.236590),
        (10, 10, 0.722460),
        (1, 100, 0.001767),
        (600, 6000, 0.092654),
        (0, 0, 0.0),
    ],
)
def test_the_wilson_interval_is_as_computed_by_hand(hits: int, total: int, expected: float) -> None:
    """Its lower end, for few and for many."""
    assert wilson_lower(hits, total) == pytest.approx(expected, abs=2e-5)


def test_few_requests_make_a_rate_less_sure() -> None:
    """Just above the bound is doubtful; far above is not, even with few requests."""
    near = _only(result(error_rate=10.5, failed_requests=21, total_requests=200))
    far = _only(result(error_rate=50.0, failed_requests=15, total_requests=30))
    assert (near.confidence, far.confidence) == (0.6, 0.95)


def _all_failed(breakdown: Breakdown, n: int = 8) -> Finding:
    return _only(
        result(
            error_rate=100.0,
            failed_requests=n,
            total_requests=n,
            response_time_avg=9000.0,
            response_time_p95=9000.0,
            breakdown=breakdown,
        )
    )


def test_a_target_that_refuses_is_unreachable() -> None:
    """Critical, with k6's words, and nothing else is found beside it."""
    refused = Breakdown(
        status_codes={"0": 8}, error_codes={"1212": 8}, errors={"dial: connection refused": 8}
    )
    finding = _all_failed(refused)
    assert (finding.kind, finding.severity) == (FindingKind.UNREACHABLE, Severity.CRITICAL)
    assert finding.message == (
        "the target is unreachable: dial: connection refused for all 8 requests"
    )


def test_reasons_that_none_has_most_of_are_counted() -> None:
    """Whatever bytes k6 quotes, on one line and not too long."""
    odd = {"malformed HTTP response\n\x1b" + "x" * 200: 3}
    finding = _all_failed(Breakdown(status_codes={"0": 8}, errors=odd))
    assert finding.message.startswith("the target is unreachable: malformed HTTP response xxx")
    assert finding.message.endswith("x… for 3 of 8 requests")


def test_a_target_that_answers_500_is_reachable() -> None:
    """Critical too, and says what it answered, and where if there is one place."""
    rows = [endpoint("/a", count=8, failed=8)]
    codes = {"500": 6, "503": 2}
    finding = _all_failed(Breakdown(endpoints=rows, status_codes=codes))
    assert (finding.kind, finding.severity) == (FindingKind.LIMIT, Severity.CRITICAL)
    assert finding.message == "every request failed: HTTP 500 for most of 8 requests"
    assert finding.endpoint == "GET /a"


def test_total_failure_needs_no_breakdown() -> None:
    """Where the stream was lost, the totals alone tell."""
    assert "every request failed" in _all_failed(Breakdown()).message


@pytest.mark.parametrize(
    ("avg", "p95", "severity", "metric"),
    [
        (2000, 5000, None, None),
        (2001, 2500, Severity.MEDIUM, "response_time_avg"),
        (3001, 4000, Severity.HIGH, "response_time_avg"),
        (100, 5001, Severity.HIGH, "response_time_p95"),
        (None, None, None, None),
    ],
)
def test_slow_answers_are_a_finding(
    avg: float | None, p95: float | None, severity: Severity | None, metric: str | None
) -> None:
    """Average above 2 s medium, 3 s high; p95 above 5 s high; what nobody measured is not slow."""
    found = find(result(response_time_avg=avg, response_time_p95=p95), DEFAULT)
    assert [(one.severity, one.metric) for one in found] == (
        [(severity, metric)] if severity else []
    )


def test_of_two_slow_numbers_the_graver_comes_first() -> None:
    """Limits that are broken together are all listed."""
    found = find(result(response_time_avg=2500, response_time_p95=6000), DEFAULT)
    assert [(one.severity, one.metric) for one in found] == [
        (Severity.HIGH, "response_time_p95"),
        (Severity.MEDIUM, "response_time_avg"),
    ]


def test_an_endpoint_that_fails_worse_than_the_whole_is_a_finding_beside_it() -> None:
    """6 % of all is medium; all of one endpoint is high."""
    rows = (("/pay", 360, 360), ("/home", 5640, 0))
    found = find(_failing(360, *rows), DEFAULT)
    assert [(f.severity, f.endpoint) for f in found] == [
        (Severity.MEDIUM, "GET /pay"),
        (Severity.HIGH, "GET /pay"),
    ]


def test_the_slowest_endpoint_is_named() -> None:
    """By the quantity that broke its limit, among those with enough requests."""
    rows = [
        endpoint("/slow", count=1000, p95_ms=8000),
        endpoint("/rare", count=3, p95_ms=9000),
        endpoint("/fast", count=5000),
    ]
    finding = _only(result(response_time_p95=6000, breakdown=Breakdown(endpoints=rows)))
    assert finding.endpoint == "GET /slow"
    assert finding.message == (
        "p95 response time 6,000 ms, at most 5,000 ms expected; slowest: GET /slow, 8,000 ms at p95"
    )


@pytest.mark.parametrize(
    ("avg_ms", "rps", "found"),
    [
        (40.0, 0.5, False),  # ten VUs that sleep 20 s between requests: 0.2 % of their time is ours
        (19_000.0, 0.5, True),  # 0.05/s a VU × 19 s = 95 % of its time waiting
        (19_000.0, 1.1, False),  # above the bound
        (9_000.0, 0.5, False),  # 45 %: mostly asleep
        (11_000.0, 0.5, True),  # 55 %
    ],
)
def test_low_throughput_counts_only_while_vus_wait(
    avg_ms: float, rps: float, *, found: bool
) -> None:
    """Little's law: a script that sleeps by design is healthy, a slow target is not."""
    limits = Limits.model_validate({"response_time_avg": False, "response_time_p95": False})
    got = find(result(response_time_avg=avg_ms, requests_per_second=rps), limits)
    assert [one.metric for one in got] == (["requests_per_second_per_vu"] if found else [])


def test_crossed_thresholds_are_high_and_tell_what_was() -> None:
    """Each one; kept ones are no finding."""
    crossed = Threshold(
        metric="http_req_duration", expression="p(95)<1", crossed=True, observed=7.8
    )
    kept = Threshold(metric="checks", expression="rate>0.9", crossed=False)
    finding = _only(result(thresholds=(crossed, kept)))
    assert (finding.kind, finding.severity) == (FindingKind.THRESHOLD, Severity.HIGH)
    assert finding.message == "threshold http_req_duration: p(95)<1 was crossed, it was 7.8"
    close = _only(result(thresholds=(replace(crossed, expression="p(95)<7.8", observed=7.8001),)))
    assert close.message.endswith("p(95)<7.8 was crossed, it was 7.8001")
    assert (finding.observed, finding.expected) == (7.8, "p(95)<1")


@pytest.mark.parametrize(
    ("failed", "severity"), [(0, None), (1, Severity.MEDIUM), (11, Severity.HIGH)]
)
def test_failed_checks_are_found(failed: int, severity: Severity | None) -> None:
    """Any is medium, above 10 % high; the worst check is named."""
    checks = (
        Check(name="has a price", group="::cart::add", passes=100 - failed, fails=failed),
        Check(name="is 200", group="", passes=0, fails=0),
    )
    found = find(result(checks=checks, checks_passed=100 - failed, checks_failed=failed), DEFAULT)
    assert [one.severity for one in found] == ([severity] if severity else [])
    if severity:
        assert f"“cart › add › has a price” ({plural(failed, 'time')})" in found[0].message


def test_a_crossed_threshold_is_told_of_any_run() -> None:
    """Also where nothing was measured: that no request came is what it says."""
    crossed = Threshold(metric="http_reqs", expression="count>1", crossed=True)
    for outcome in Outcome:
        found = find(result(execution=Execution(outcome=outcome), thresholds=(crossed,)), DEFAULT)
        assert [one.kind for one in found] == [FindingKind.THRESHOLD]


@pytest.mark.parametrize(
    ("metrics", "words", "expected"),
    [
        (
            {"error_rate": 5.0004, "failed_requests": 50_004, "total_requests": 1_000_000},
            "5.0004 % of the requests failed (50,004 of 1,000,000); at most 5 % expected",
            "≤ 5 %",
        ),
        (
            {"error_rate": 100 * 5999 / 6000, "failed_requests": 5999},
            "99.98 % of the requests failed (5,999 of 6,000); at most 10 % expected",
            "≤ 10 %",
        ),
        (
            {"response_time_avg": 3000.4},
            "average response time 3,000.4 ms, at most 3,000 ms expected",
            "≤ 3,000 ms",
        ),
        (
            {"response_time_p95": 12_345.0},
            "p95 response time 12.3 s, at most 5 s expected",
            "≤ 5 s",
        ),
        (
            {"requests_per_second": 0.99996, "response_time_avg": 10_000.0},
            "0.099996 requests/s for each VU, at least 0.1 expected",
            "≥ 0.1/s",
        ),
        (
            {"checks_passed": 1, "checks_failed": 5999},
            "99.98 % of the checks failed (5,999 of 6,000)",
            "≤ 10 %",
        ),
    ],
)
def test_no_rounding_contradicts_the_verdict(
    metrics: dict[str, float], words: str, expected: str
) -> None:
    """What is shown stands on its side of the limit that is shown, and of 100 %."""
    found = find(result(**metrics), DEFAULT)
    assert found[-1].message.startswith(words)
    assert found[-1].expected == expected


def test_every_rule_can_be_switched_off() -> None:
    """A limit without a number finds nothing."""
    names = set(Limits.model_fields) - {"min_requests"}
    off = Limits.model_validate(dict.fromkeys(names, False))
    bad = result(
        error_rate=50.0,
        failed_requests=3000,
        response_time_avg=60_000.0,
        response_time_p95=60_000.0,
        requests_per_second=0.1,
        checks_failed=5,
        breakdown=Breakdown(endpoints=[endpoint("/a", count=6000, failed=3000)]),
    )
    assert len(find(bad, DEFAULT)) == 5
    assert find(bad, off) == []


def test_every_number_of_a_finding_is_finite() -> None:
    """Zero requests, zero VUs and missing metrics divide nothing by zero."""
    for metrics in (
        {"total_requests": 0, "failed_requests": 0, "error_rate": None},
        {"virtual_users": 0},
        {"requests_per_second": None},
        {"checks_passed": None, "checks_failed": 1},
    ):
        for finding in find(result(**metrics), DEFAULT):
            assert finding.observed is None or math.isfinite(finding.observed)
