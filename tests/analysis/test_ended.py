"""How an execution ended, and what the script threw or said itself."""

from __future__ import annotations

import pytest

from k6d.analysis.ended import find
from k6d.core.model import Execution, FindingKind, Outcome, Severity
from support.results import result


@pytest.mark.parametrize(
    ("outcome", "kind", "severity", "words"),
    [
        (
            Outcome.SCRIPT_ERROR,
            FindingKind.SCRIPT_ERROR,
            Severity.HIGH,
            "the script cannot run: why",
        ),
        (
            Outcome.K6_UNAVAILABLE,
            FindingKind.K6_UNAVAILABLE,
            Severity.CRITICAL,
            "nothing was tested: why",
        ),
        (Outcome.TIMED_OUT, FindingKind.TIMED_OUT, Severity.HIGH, "deadline of 90 s"),
        (Outcome.NO_DATA, FindingKind.NO_DATA, Severity.HIGH, "nothing was measured: why"),
        (Outcome.ABORTED, FindingKind.ABORTED, Severity.HIGH, "why"),
    ],
)
def test_an_execution_that_went_wrong_is_a_finding(
    outcome: Outcome, kind: FindingKind, severity: Severity, words: str
) -> None:
    """With k6's own words."""
    execution = Execution(outcome=outcome, error="why", deadline_s=90)
    nothing = dict.fromkeys(("total_requests", "failed_requests", "iterations", "error_rate"))
    (finding,) = find(result(execution=execution, **nothing))
    assert (finding.kind, finding.severity) == (kind, severity)
    assert words in finding.message


def test_a_target_that_takes_no_connection_is_unreachable() -> None:
    """gRPC's connect() throws then, before anything is measured."""
    said = "connection error: dialing: dial tcp 127.0.0.1:1: connect: connection refused"
    execution = Execution(outcome=Outcome.NO_DATA, error=said)
    (finding,) = find(result(execution=execution))
    assert (finding.kind, finding.severity) == (FindingKind.UNREACHABLE, Severity.CRITICAL)
    assert finding.message == f"the target is unreachable: {said}"


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            'The moduleSpecifier "fixtures/help" couldn\'t be recognised as something k6 supports.',
            "bundle the script",
        ),
        ("unknown module: k6/x/sql", "with xk6"),
        ("unknown module: k6/websockets", "This version of k6"),
        ("SyntaxError: s.js: Line 1:3 Unexpected token", "k6d runs it again"),
    ],
)
def test_a_script_that_k6_refuses_gets_the_advice_that_helps(error: str, advice: str) -> None:
    """By k6's words."""
    execution = Execution(outcome=Outcome.SCRIPT_ERROR, error=error)
    (finding,) = find(result(execution=execution, iterations=None))
    assert advice in finding.recommendation


def test_a_script_that_failed_after_measuring_did_run() -> None:
    """An exception in teardown: it failed, but nobody says that it cannot run."""
    execution = Execution(outcome=Outcome.SCRIPT_ERROR, error="Error: td", exit_code=107)
    (finding,) = find(result(execution=execution))
    assert finding.message == "the script failed: Error: td"


def test_being_stopped_is_no_finding() -> None:
    """Ctrl-C and SIGTERM are nobody's fault."""
    assert find(result(execution=Execution(outcome=Outcome.ABORTED))) == []


def test_a_script_may_call_its_run_failed() -> None:
    """execution.test.fail() is exit 110: measured, and yet bad."""
    failed = Execution(outcome=Outcome.COMPLETED, exit_code=110, error="test marked as failed: no")
    (finding,) = find(result(execution=failed))
    assert finding.severity is Severity.HIGH
    assert "marked its run as failed: test marked as failed: no" in finding.message


def test_exceptions_in_iterations_are_a_finding_of_their_own() -> None:
    """Counted, the first quoted on one line; with no data they are the reason given there."""
    (finding,) = find(result(exceptions=3, first_exception="Error: boom\n\tat f"))
    assert (finding.kind, finding.severity) == (FindingKind.EXCEPTIONS, Severity.MEDIUM)
    assert finding.message == "the script threw 3 exceptions, the first: Error: boom at f"
    no_data = Execution(outcome=Outcome.NO_DATA, error="Error: boom at f")
    found = find(result(execution=no_data, exceptions=3, first_exception="Error: boom"))
    assert [one.kind for one in found] == [FindingKind.NO_DATA]


@pytest.mark.parametrize(
    ("exceptions", "severity"), [(5999, Severity.MEDIUM), (6000, Severity.HIGH)]
)
def test_a_script_that_throws_in_every_iteration_does_not_work(
    exceptions: int, severity: Severity
) -> None:
    """Then nothing of what it is for was tested."""
    (finding,) = find(result(exceptions=exceptions, first_exception="Error: boom"))
    assert finding.severity is severity
    assert ("in every iteration" in finding.message) is (severity is Severity.HIGH)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("fail(): no account at setup (/s/a.js:2:3)", "setup() failed: no account at setup (/s/a."),
        ("Error: got 401 at setup (/s/a.js:2:3)", "setup() failed: Error: got 401 at setup (/s/"),
        ("fail(): left at teardown (/s/a.js:2:3)", "teardown() failed: left at teardown (/s/a.js"),
    ],
)
def test_a_phase_that_fails_says_so(error: str, words: str) -> None:
    """In the words of the script."""
    execution = Execution(outcome=Outcome.SCRIPT_ERROR, exit_code=107, error=error)
    (finding,) = find(result(execution=execution))
    assert finding.message.startswith(words)
    assert execution.told_by_script is error.startswith("fail()")


def test_what_the_script_said_by_fail_is_no_exception() -> None:
    """Its own words, and no advice to mend it."""
    said = "fail(): not logged in at default (/s/a.js:3:4)"
    (finding,) = find(result(exceptions=2, first_exception=said))
    assert finding.message == (
        "the script gave up 2 iterations by fail(), the first: "
        "not logged in at default (/s/a.js:3:4)"
    )
    assert "Mend" not in finding.recommendation
