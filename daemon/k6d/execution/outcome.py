"""Decides the outcome of a run from k6's exit code and measurements."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from k6d.core.model import ABORTED_BY_SCRIPT, BROWSER, FAIL, THRESHOLDS_CROSSED, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k6d.core.measurements import Summary
    from k6d.execution.local.k6 import Ended

# Exit codes of k6 (errext/exitcodes/codes.go) after which its summary is a measurement: success,
# thresholds crossed, or marked as failed by the script.
MARKED_AS_FAILED = 110
MEASURED = (0, THRESHOLDS_CROSSED, MARKED_AS_FAILED)
# k6's last error when a threshold ended the run; its exit code is the same as for any crossed one.
ENDED_EARLY = "has abortOnFail enabled"
SIGNALLED = 105
STOPPED_BY_API = 103
TIMEOUTS = {100: "setup()", 101: "teardown()", 102: "the test"}
# Every run has these metrics, even if it measured nothing.
BARE_METRICS = frozenset(
    {"iterations", "iteration_duration", "vus", "vus_max", "data_sent", "data_received"}
    | {"dropped_iterations", "group_duration", "checks", "http_reqs"}
)
# k6 records these metrics even if nobody answers: each attempt to connect counts as a session.
ATTEMPTS = ("ws_", "grpc_")
_GO_FRAME = re.compile(r"^\s*at \S+ \(native\)$")
_FAIL_FRAME = ".Fail-fm (native)"
# k6 logs this when its browser ends; the reason follows in the next line.
_BROWSER_ENDED = re.compile(r"process with PID \d+ unexpectedly ended")
_NO_BROWSER = "launching browser: "


def classify(ended: Ended, summary: Summary) -> tuple[Outcome, str | None]:
    """Return the outcome and, if there is one, the reason in k6's words."""
    error = one_line(_telling(ended.errors))
    code = ended.exit_code
    if ended.timed_out:
        return Outcome.TIMED_OUT, error
    if ended.stopped:
        return Outcome.ABORTED, None
    if no_browser := _no_browser(error, code, summary):
        return Outcome.ABORTED if measured(summary) else Outcome.NO_DATA, no_browser
    if code in MEASURED:
        return _went_through(ended, summary, error)
    if code == ABORTED_BY_SCRIPT:
        words = (error or "").removeprefix("test aborted").removeprefix(":").strip()
        return Outcome.ABORTED, f"the script aborted its run{f': {words}' if words else ''}"
    if code in (SIGNALLED, STOPPED_BY_API):
        return Outcome.ABORTED, "k6 was stopped by somebody else before the end"
    if code < 0:
        return Outcome.ABORTED, f"k6 was killed by signal {-code}; was the machine out of memory?"
    if code in TIMEOUTS:
        return Outcome.SCRIPT_ERROR, f"{TIMEOUTS[code]} took too long: {error}"
    return Outcome.SCRIPT_ERROR, error or f"k6 ended with exit code {code}"


def _went_through(ended: Ended, summary: Summary, error: str | None) -> tuple[Outcome, str | None]:
    """Return the outcome of a run that k6 did not cut short, unless a threshold did."""
    if not measured(summary):
        return Outcome.NO_DATA, one_line(ended.first_exception) or error or _silence(summary)
    if ended.exit_code == THRESHOLDS_CROSSED and ENDED_EARLY in "".join(ended.errors[-1:]):
        return Outcome.ABORTED, one_line(ended.errors[-1])
    return Outcome.COMPLETED, error if ended.exit_code == MARKED_AS_FAILED else None


def _no_browser(error: str | None, code: int, summary: Summary) -> str | None:
    """Why the browser could not start, if that ended the run.

    k6 aborts the test itself then, with the exit code of a script's abort.
    """
    _, launching, why = (error or "").partition(_NO_BROWSER)
    ended_it = code == ABORTED_BY_SCRIPT or not measured(summary)
    return f"{BROWSER}: {why}" if launching and ended_it else None


def _telling(errors: Sequence[str]) -> str | None:
    """Return the first error that gives a reason, else the first error."""
    reasons = (error for error in errors if not _BROWSER_ENDED.search(error))
    return next(reasons, errors[0] if errors else None)


def measured(summary: Summary) -> bool:
    """Return whether k6 measured a request, a check, or a sample beyond BARE_METRICS.

    Attempts to connect by another protocol do not count if no byte came back.
    """
    metrics = summary.metrics
    if metrics.total_requests or metrics.checks_passed or metrics.checks_failed:
        return True
    telling = {name for name in _sampled(summary) if not name.startswith("http_req_")}
    if metrics.data_received_bytes == 0:
        telling = {name for name in telling if not name.startswith(ATTEMPTS)}
    return not telling <= BARE_METRICS


def _sampled(summary: Summary) -> set[str]:
    """Return the names of metrics with a sample; a gauge at 0 is left out: it may never be set."""
    return {
        name.partition("{")[0]
        for name, values in summary.k6_metrics.items()
        if any(values.values())
    }


def _silence(summary: Summary) -> str | None:
    """Return a message if all attempts to connect were unanswered."""
    tried = any(name.startswith(ATTEMPTS) for name in _sampled(summary))
    return "nobody answered, not a byte came back" if tried else None


def one_line(text: str | None) -> str | None:
    """Return k6's message on one line, with plain paths; None if there is no text.

    Stack frames of k6's Go code are left out. A message from `fail()` in the script comes first.
    """
    if not text:
        return None
    lines = text.replace("file://", "").splitlines()
    words = " ".join(" ".join(line.split()) for line in lines if not _GO_FRAME.search(line))
    by_fail = any(_FAIL_FRAME in line for line in lines)
    return words.replace("GoError: ", f"{FAIL}: " if by_fail else "", 1)
