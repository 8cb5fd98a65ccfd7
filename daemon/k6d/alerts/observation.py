"""What one run says about its script."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from k6d.alerts.records import Observation
from k6d.analysis.comparison import key_of
from k6d.core.model import LEARNING, WORSE, FindingKind, Outcome, Trigger, other_options
from k6d.storage.record import is_test_id, started

if TYPE_CHECKING:
    from k6d.core.model import Finding, Run

MAX_PROBLEMS = 200
EDITS = (Trigger.ADDED, Trigger.CHANGED)
DELIBERATE = (*EDITS, Trigger.MANUAL, Trigger.RECOVERY)
ERRORS = ("error_rate", "http_req_failed")


def observe(run: Run) -> Observation:
    """Return the result of the run as incidents need it.

    It is neither healthy nor anomalous if a person or k6d stopped the run, or if k6 refused the
    options given beside the script.
    """
    verdict = run.anomaly_analysis
    refused = run.ad_hoc and run.execution.outcome is Outcome.SCRIPT_ERROR
    states = {key_of(c): c.state for c in run.comparisons}
    others = LEARNING if set(states.values()) == {LEARNING} else ""  # a run keeps the first only
    calm = not run.generator.reasons and not run.generator.doubts
    # An older k6d wrote no such flag; it kept what was not settled out of baselines.
    unsettled = verdict.unsettled or (calm and WORSE in states.values() and not run.comparable)
    first = min(
        [run.test_id, *(f.since for f in verdict.findings if f.since and is_test_id(f.since))]
    )
    problems = {_key(finding): finding.message for finding in verdict.findings[:MAX_PROBLEMS]}
    return Observation(
        run=run.test_id,
        at=run.timestamp + timedelta(seconds=run.execution_time),
        script=run.script,
        severity=None if refused else verdict.severity,
        healthy=not verdict.anomalies_detected
        and not unsettled
        and run.execution.outcome is Outcome.COMPLETED,
        problems=problems,
        cause=_cause(run),
        deliberate=run.trigger in DELIBERATE,
        edited=run.trigger in EDITS,
        series={key: run.comparable and states.get(key, others) != LEARNING for key in run.series},
        overrides=other_options(run.overrides),
        first=first,
        began=run.timestamp if first == run.test_id else started(first),
        unsettled=unsettled,
    )


def _key(finding: Finding) -> str:
    return "|".join((finding.kind, finding.metric or "", finding.endpoint or ""))


def _cause(run: Run) -> str | None:
    """Return the common cause of this failure and those of other scripts: their target."""
    findings = run.anomaly_analysis.findings
    if not findings:
        return None
    worst = findings[0]
    unreachable = worst.kind is FindingKind.UNREACHABLE
    if not unreachable and worst.metric not in ERRORS:
        return None
    failing = (row for row in run.breakdown.endpoints if row.failed or unreachable)
    hosts = {_host(endpoint.name) for endpoint in failing}
    host = hosts.pop() if len(hosts) == 1 else ""
    if host:
        return f"target {host}"
    return "target unreachable" if unreachable else None


def _host(url: str) -> str:
    scheme, found, rest = url.partition("://")
    return rest.partition("/")[0].partition("?")[0] if found and scheme.startswith("http") else ""
