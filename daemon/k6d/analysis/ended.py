"""Findings about the end of a run and about the script's exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.core.model import BROWSER, FAIL, INCONCLUSIVE, Finding, FindingKind, Outcome, Severity
from k6d.core.numbers import number
from k6d.core.text import one_line, plural

if TYPE_CHECKING:
    from k6d.core.model import Execution, Result

MAX_WORDS = 500
SEE_LOG = "Look at the log for the reason that the script gave."
OFFLINE = "this machine has no network, so nothing is known of the target"
START_BROWSER = (
    "Make Chromium start on this machine; K6_BROWSER_ARGS in k6.env gives it flags, such as "
    "no-sandbox."
)
MEND = "Mend the script; k6d runs it again when it is saved."
DIALED = "dial tcp"  # Go's words when a connection could not be made
# By the words of k6, or of k6d about its own settings.
ADVICE = {
    "couldn't be recognised as something k6 supports": "k6 finds modules by a path that begins "
    "with ./, ../ or /, or by a URL: correct it, or bundle the script before k6 runs it.",
    "unknown module: k6/x/": "This k6 has no such extension: build one that has it with xk6, and "
    "name it by k6.path.",
    "unknown module: k6/": "This version of k6 has no such module: use one that has it, or the "
    "name that the module has in this version.",
    "k6.secret_sources: ": "Mend the file or the setting, then run the script again: a change of "
    "either starts nothing.",
}


def find(result: Result) -> list[Finding]:
    """Return findings about the end, and about exceptions that did not end the run."""
    return [*_end(result), *_exceptions(result)]


def _end(result: Result) -> list[Finding]:
    execution = result.execution
    reason = f": {execution.error}" if execution.error else ""
    kind, severity, message, recommendation = FindingKind.ABORTED, Severity.HIGH, "", SEE_LOG
    if execution.cut_by_threshold:
        return []  # the threshold is a finding of its own
    match execution.outcome:
        case Outcome.SCRIPT_ERROR:
            kind = FindingKind.SCRIPT_ERROR
            message, recommendation = _script_error(result)
        case outcome if outcome in INCONCLUSIVE:
            kind, severity, message, recommendation = _inconclusive(outcome, reason)
        case Outcome.INCOMPLETE:
            kind, message = FindingKind.INCOMPLETE, f"the run is incomplete{reason}"
            recommendation = "Look at the table of runners; the run enters no baseline."
        case Outcome.TIMED_OUT:
            kind = FindingKind.TIMED_OUT
            message = (
                f"the run had not ended at its deadline of {number(execution.deadline_s or 0)} s "
                f"and was stopped"
            )
            recommendation = (
                "Look at the log for what it waited for; raise the timeout if it may take that "
                "long."
            )
        case Outcome.NO_DATA:
            kind, severity, message, recommendation = _no_data(execution.error)
        case Outcome.ABORTED if execution.cut_by_k6d:
            message, recommendation = execution.error or "", "Look at the target; it was spared."
        case Outcome.ABORTED if execution.error:
            message, recommendation = execution.error, "Look at the log for why it ended early."
        case _ if execution.exit_code == 110:  # execution.test.fail()
            message = f"the script marked its run as failed{reason}"
        case _:
            return []
    return [Finding(kind=kind, severity=severity, message=message, recommendation=recommendation)]


def _inconclusive(outcome: Outcome, reason: str) -> tuple[FindingKind, Severity, str, str]:
    """Return the finding on a run that says nothing of the target: its kind, severity, words."""
    kind, message, recommendation = {
        Outcome.K6_UNAVAILABLE: (
            FindingKind.K6_UNAVAILABLE,
            "inconclusive: nothing was tested",
            "Install k6; k6d runs the script when it finds it.",
        ),
        Outcome.NO_NETWORK: (
            FindingKind.NO_NETWORK,
            f"inconclusive: {OFFLINE}",
            "Mend this machine's network; k6d runs the script again by itself.",
        ),
        Outcome.MODULE_SERVER: (
            FindingKind.MODULE_SERVER,
            "inconclusive: the server of an imported module is unavailable",
            "Look at that server; k6d runs the script again by itself.",
        ),
        Outcome.NO_CAPACITY: (
            FindingKind.NO_CAPACITY,
            "inconclusive: the cluster had no room for all runners",
            "Add nodes or quota, or lower kubernetes.parallelism; k6d tries again by itself.",
        ),
        Outcome.CLUSTER: (
            FindingKind.CLUSTER,
            "inconclusive: nothing was tested on the cluster",
            "k6d doctor checks the cluster; k6d tries again by itself.",
        ),
    }[outcome]
    severity = Severity.CRITICAL if outcome is Outcome.K6_UNAVAILABLE else Severity.HIGH
    return kind, severity, f"{message}{reason}", recommendation


def _no_data(error: str | None) -> tuple[FindingKind, Severity, str, str]:
    """Return the finding on a run that measured nothing: its kind, severity, message and advice."""
    if error and DIALED in error:
        advice = "Check that the target is up and that the script's address is right."
        message = f"the target is unreachable: {error}"
        return FindingKind.UNREACHABLE, Severity.CRITICAL, message, advice
    advice = (
        "Look at the log: every iteration may have thrown before its first request; check that the "
        "target is up."
    )
    if error and error.startswith(BROWSER):
        advice = START_BROWSER
    message = f"nothing was measured: {error or 'the script ended without a request or a check'}"
    return FindingKind.NO_DATA, Severity.HIGH, message, advice


def _script_error(result: Result) -> tuple[str, str]:
    """Return what failed, in the words of k6 or, after `fail()`, of the script."""
    execution = result.execution
    words = one_line((execution.error or "").removeprefix(f"{FAIL}: "), MAX_WORDS)
    reason = f": {words}" if words else ""
    phase = _phase(execution)
    if phase:
        advice = f"Look at what {phase} needs from the target, and at its log."
        return f"{phase} failed{reason}", advice
    measured = bool(result.summary.metrics.iterations)
    advice = next((text for phrase, text in ADVICE.items() if phrase in words), MEND)
    return f"the script {'failed' if measured else 'cannot run'}{reason}", advice


def _phase(execution: Execution) -> str | None:
    """Return "setup()" or "teardown()" if the error's stack trace names it."""
    error = execution.error or ""
    return next((f"{name}()" for name in ("setup", "teardown") if f" at {name} (" in error), None)


def _exceptions(result: Result) -> list[Finding]:
    """Return a finding about exceptions in iterations; it is graver if every iteration threw."""
    outcome, first = result.execution.outcome, result.first_exception
    if not first or outcome not in (Outcome.COMPLETED, Outcome.ABORTED, Outcome.TIMED_OUT):
        return []
    iterations = result.summary.metrics.iterations or 0
    every = bool(iterations) and result.exceptions >= iterations
    words = one_line(first, MAX_WORDS)
    if first.startswith(FAIL):
        words = words.removeprefix(f"{FAIL}: ")
        what = f"the script gave up {plural(result.exceptions, 'iteration')} by fail()"
        advice = "The script's own verdict: look at what it asked of the target."
    else:
        what = f"the script threw {plural(result.exceptions, 'exception')}"
        advice = "Mend the script: what follows an exception in an iteration never ran."
    share = ", in every iteration" if every and iterations > 1 else ""
    return [
        Finding(
            kind=FindingKind.EXCEPTIONS,
            severity=Severity.HIGH if every else Severity.MEDIUM,
            metric="iterations",
            observed=result.exceptions,
            expected="0",
            message=f"{what}{share}, the first: {words}",
            recommendation=advice,
        )
    ]
