"""Exit codes of k6 and what was measured, as outcomes."""

from __future__ import annotations

import pytest

from k6d.execution.k6 import Ended
from k6d.execution.outcome import classify, measured
from k6d.model import Metrics, Outcome, Summary

MEASURED = Summary(metrics=Metrics(total_requests=7, iterations=7))
EMPTY = Summary(metrics=Metrics(total_requests=0, iterations=7))
# What k6 reports of a run that did nothing but iterate.
IDLE = {
    "iterations": {"count": 7, "rate": 1},
    "iteration_duration": {"avg": 0.1, "count": 7},
    "data_sent": {"count": 0, "rate": 0},
    "http_req_duration": {"avg": 0, "count": 0},
    "vus": {"value": 1, "min": 1, "max": 1},
}


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        (0, Outcome.COMPLETED, None),
        (99, Outcome.COMPLETED, None),
        (110, Outcome.COMPLETED, "k6 says why"),
        (97, Outcome.SCRIPT_ERROR, "k6 says why"),
        (98, Outcome.SCRIPT_ERROR, "k6 says why"),
        (100, Outcome.SCRIPT_ERROR, "setup() took too long: k6 says why"),
        (101, Outcome.SCRIPT_ERROR, "teardown() took too long: k6 says why"),
        (102, Outcome.SCRIPT_ERROR, "the test took too long: k6 says why"),
        (103, Outcome.ABORTED, "k6 was stopped by somebody else before the end"),
        (104, Outcome.SCRIPT_ERROR, "k6 says why"),
        (105, Outcome.ABORTED, "k6 was stopped by somebody else before the end"),
        (107, Outcome.SCRIPT_ERROR, "k6 says why"),
        (108, Outcome.ABORTED, "k6 says why"),
        (109, Outcome.SCRIPT_ERROR, "k6 says why"),
        (2, Outcome.SCRIPT_ERROR, "k6 says why"),
        (-9, Outcome.ABORTED, "k6 was killed by signal 9; was the machine out of memory?"),
    ],
)
def test_every_exit_code_has_an_outcome(code: int, outcome: Outcome, reason: str | None) -> None:
    """Codes after which the summary is a measurement complete the run; the others say why not."""
    ended = Ended(exit_code=code, elapsed_s=1, errors=["k6 says\n\twhy", "and more"])
    assert classify(ended, MEASURED) == (outcome, reason)


@pytest.mark.parametrize("code", [0, 99, 110])
def test_without_a_sample_nothing_was_measured(code: int) -> None:
    """Exit 0 with nothing measured is no pass; the first exception is the likely reason."""
    threw = "Error: boom\n\tat file:///s/a.js:1:2"
    ended = Ended(exit_code=code, elapsed_s=1, exceptions=3, first_exception=threw)
    assert classify(ended, EMPTY) == (Outcome.NO_DATA, "Error: boom at /s/a.js:1:2")


def test_who_stopped_it_matters_more_than_the_code() -> None:
    """A deadline and a stop of ours come first, whatever the code."""
    late = Ended(exit_code=105, elapsed_s=1, timed_out=True)
    stopped = Ended(exit_code=105, elapsed_s=1, stopped=True)
    assert classify(late, EMPTY)[0] is Outcome.TIMED_OUT
    assert classify(stopped, MEASURED) == (Outcome.ABORTED, None)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, False),
        ({"my_trend": {"avg": 0, "count": 0}}, False),
        ({"my_trend": {"avg": 3, "count": 1}}, True),
        ({"my_gauge": {"value": 5, "min": 5, "max": 5}}, True),
        ({"my_rate": {"passes": 0, "fails": 2, "value": 0}}, True),
        ({"grpc_req_duration": {"avg": 3, "count": 1}}, True),
        ({"ws_sessions": {"count": 2, "rate": 1}}, True),
    ],
)
def test_a_sample_of_any_metric_is_a_measurement(
    more: dict[str, dict[str, float]], expected: bool
) -> None:
    """A script that speaks gRPC or keeps its own metrics measures without an HTTP request."""
    summary = Summary(metrics=Metrics(total_requests=0), k6_metrics=IDLE | more)
    assert measured(summary) is expected


def test_a_check_is_a_measurement() -> None:
    """Checks alone count, passed or failed."""
    assert measured(Summary(metrics=Metrics(checks_failed=1)))
    assert measured(Summary(metrics=Metrics(checks_passed=1)))
