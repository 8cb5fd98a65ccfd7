"""What k6 did not give, and what is said in its place."""

from __future__ import annotations

from typing import Any

import pytest

from k6d.analysis.verdict import judge
from k6d.core.measurements import Breakdown, Metrics, RequestStats, Summary, Threshold
from k6d.core.model import Execution, Outcome, Result, Severity
from k6d.execution.gaps import gaps, with_crossed
from k6d.execution.local.k6 import Ended
from k6d.settings import Limits

SEEN = Summary(
    metrics=Metrics(
        total_requests=7, iterations=7, failed_requests=0, error_rate=0.0, response_time_avg=5.0
    )
)
CROSSED = "thresholds on metrics 'http_req_duration, http_reqs' have been crossed"
OPTIONS: dict[str, Any] = {
    "thresholds": {
        "http_req_duration": ["p(95)<1"],
        "http_reqs": [{"threshold": "count>9", "abortOnFail": True}, "rate>1"],
        "checks": ["rate>0.9"],
    }
}
ROW = RequestStats(
    name="a",
    method="GET",
    count=7,
    failed=0,
    unjudged=0,
    rate=1.0,
    error_rate=0.0,
    avg_ms=1.0,
    p50_ms=1.0,
    p90_ms=1.0,
    p95_ms=1.0,
    p99_ms=1.0,
    max_bucket_ms=1.0,
)


def _ended(code: int, *errors: str) -> Ended:
    return Ended(exit_code=code, elapsed_s=1.0, errors=list(errors))


def test_crossed_thresholds_are_known_without_the_summary() -> None:
    """By exit code 99, k6's words and the script's options; the verdict is high."""
    found = with_crossed(SEEN, _ended(99, CROSSED), OPTIONS)
    assert found.thresholds == [
        Threshold(metric="http_req_duration", expression="p(95)<1", crossed=True),
        Threshold(metric="http_reqs", expression="count>9 or rate>1", crossed=True),
    ]
    execution = Execution(outcome=Outcome.COMPLETED, exit_code=99)
    result = Result(execution=execution, summary=found, breakdown=Breakdown())
    verdict = judge(result, limits=Limits())
    assert verdict.severity is Severity.HIGH
    assert verdict.issues[0] == "threshold http_req_duration: p(95)<1 was crossed"


@pytest.mark.parametrize(
    ("thresholds", "metric", "expression"),
    [
        ({"checks": ["rate>0.9"]}, "checks", "rate>0.9"),
        ({"checks": ["rate>0.9"], "http_reqs": ["count>1"]}, "(not named by k6)", "exit code 99"),
    ],
)
def test_a_metric_that_k6_does_not_name(
    thresholds: dict[str, list[str]], metric: str, expression: str
) -> None:
    """The only one that it can be, or the exit code alone."""
    (found,) = with_crossed(SEEN, _ended(99), {"thresholds": thresholds}).thresholds
    assert found.metric == metric
    assert expression in found.expression


def test_what_the_summary_says_is_left_as_it_is() -> None:
    """Nothing is added to thresholds that are known, or where none was crossed."""
    known = Summary(
        metrics=Metrics(), thresholds=[Threshold(metric="a", expression="b", crossed=True)]
    )
    assert with_crossed(known, _ended(99, CROSSED), OPTIONS) is known
    assert with_crossed(SEEN, _ended(0), OPTIONS) is SEEN


@pytest.mark.parametrize(
    ("options", "summary", "rows", "code", "words"),
    [
        ({}, SEEN, [ROW], 0, []),
        ({}, None, [ROW], 0, ["k6 wrote no summary: totals, checks and thresholds are missing"]),
        ({}, None, [], -9, []),
        ({}, SEEN, [], 0, ["no histograms of http_req_duration: endpoints"]),
        ({}, Summary(metrics=Metrics(iterations=3)), [], 0, []),
        (OPTIONS, SEEN, [ROW], 99, ["does not say what became of 4 thresholds of the script"]),
        ({"systemTags": ["name", "status", "expected_response"]}, SEEN, [ROW], 0, []),
        ({"systemTags": ["name", "expected_response"]}, SEEN, [ROW], 0, ["status codes are"]),
        ({"systemTags": None, "thresholds": None}, SEEN, [ROW], 0, []),
    ],
)
def test_what_is_missing_is_said(
    options: dict[str, Any],
    summary: Summary | None,
    rows: list[RequestStats],
    code: int,
    words: list[str],
) -> None:
    """Where something was expected, and only there."""
    found = gaps(
        options=options,
        summary=summary,
        breakdown=Breakdown(endpoints=rows),
        ended=_ended(code),
    )
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))


def test_a_submetric_may_be_written_with_spaces() -> None:
    """k6's summary names it without them."""
    judged = Summary(
        metrics=Metrics(),
        thresholds=[Threshold(metric="http_reqs{name:a}", expression="count>1", crossed=False)],
    )
    options = {"thresholds": {"http_reqs{ name: a }": ["count>1"]}}
    assert gaps(options=options, summary=judged, breakdown=Breakdown(), ended=_ended(0)) == []
