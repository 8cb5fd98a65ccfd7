"""Removes secrets from k6's results and logs, before the run is judged, stored or reported.

Numbers, outcomes, versions and the names of files and machines are not changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k6d.core.measurements import Breakdown, Log, Summary
    from k6d.core.model import Execution, Result
    from k6d.core.redact import Redactor
    from k6d.core.snapshot import Snapshot


def result_without_secrets(result: Result, redactor: Redactor) -> Result:
    """Redact a result: its errors as texts, and everything that a script named as names."""
    thrown = result.first_exception
    return replace(
        result,
        execution=_execution(result.execution, redactor),
        summary=_summary(result.summary, redactor),
        breakdown=_breakdown(result.breakdown, redactor),
        first_exception=redactor.text(thrown) if thrown else thrown,
        runners=[
            replace(one, error=redactor.text(one.error)) if one.error else one
            for one in result.runners
        ],
        scenarios={redactor.name(name): one for name, one in result.scenarios.items()},
    )


def log_without_secrets(log: Log, redactor: Redactor) -> Log:
    """Redact both parts of a log."""
    return replace(log, head=redactor.text(log.head), tail=redactor.text(log.tail))


def snapshot_without_secrets(snapshot: Snapshot, redactor: Redactor) -> Snapshot:
    """Redact the addresses of remote modules."""
    remote = {redactor.name(address): known for address, known in snapshot.remote.items()}
    return replace(snapshot, remote=remote)


def _execution(execution: Execution, redactor: Redactor) -> Execution:
    error = redactor.text(execution.error) if execution.error else execution.error
    return replace(execution, error=error, command=[redactor.name(w) for w in execution.command])


def _summary(summary: Summary, redactor: Redactor) -> Summary:
    name = redactor.name
    return replace(
        summary,
        checks=[replace(c, name=name(c.name), group=name(c.group)) for c in summary.checks],
        thresholds=[
            replace(t, metric=name(t.metric), expression=name(t.expression))
            for t in summary.thresholds
        ],
        k6_metrics={name(metric): values for metric, values in summary.k6_metrics.items()},
        custom_metrics=[name(metric) for metric in summary.custom_metrics],
    )


def _breakdown(breakdown: Breakdown, redactor: Redactor) -> Breakdown:
    """Redact the errors; `Capture` has redacted the names of the rows."""
    errors: dict[str, int] = {}
    for error, count in breakdown.errors.items():
        shown = redactor.text(error)
        errors[shown] = errors.get(shown, 0) + count
    return replace(
        breakdown,
        errors=errors,
        iterations={redactor.name(name): one for name, one in breakdown.iterations.items()},
        notes=[redactor.text(note) for note in breakdown.notes],
    )
