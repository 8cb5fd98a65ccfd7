"""Write the message about a change of an incident: what, where, since when, and what to do."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from k6d.alerts.records import Announcement, Change, Chart, Incident, Message, Point
from k6d.core import mark
from k6d.core.frozen import frozen
from k6d.core.metrics import METRICS
from k6d.core.model import FindingKind, Trigger
from k6d.core.numbers import against, count, in_unit, ms, percent, rate, seconds
from k6d.core.text import one_line, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from k6d.core.mark import Mark
    from k6d.core.model import Finding, Run, Severity
    from k6d.core.snapshot import Snapshot

MAX_LINE = 240
MAX_FINDINGS = 5
MAX_POINTS = 40
ERRORS = ("error_rate", "http_req_failed", "failed_checks", "checks")
CHARTED = ("response_time_avg", "response_time_p95", "error_rate", "requests_per_second")
# What a metric of k6 is called in the index of runs.
ALIASES = {METRICS[name].k6: name for name in ("response_time_p95", "error_rate")}


@frozen
class Context:
    """The data for a message besides the run.

    `history` holds index documents of the script, newest first. `previous` is the newest healthy
    run before the incident, or the newest failing run before its end. `dashboard` holds the label
    and the address of the link. `marks` are those between `previous` and the incident's start.
    """

    data: Path
    scripts: Path
    history: Sequence[dict[str, Any]] = ()
    previous: Run | None = None
    tags: list[str] | None = None
    dashboard: tuple[str, str] | None = None
    marks: Sequence[Mark] = ()


def compose(announcement: Announcement, run: Run, context: Context) -> Message:
    """Return the message about a change of an incident, whose newest run is `run`."""
    over = announcement.change is Change.RESOLVED
    verdict = run.anomaly_analysis
    findings = [] if over else [f for f in verdict.findings if f.message]
    issues = [f.message for f in findings] or ([] if over else verdict.issues)
    return replace(
        _outline(announcement, issues, context),
        facts=[
            (label, one_line(text, MAX_LINE))
            for label, text in _facts(announcement, run, context, findings)
            if text
        ],
        commands=_commands(run, context, over=over),
        link=_link(run, context),
        links=_links(run, context, over=over),
        chart=_chart(findings, context.history),
    )


def compose_without_run(announcement: Announcement, context: Context) -> Message:
    """As `compose`, for a run whose file is missing or damaged: only what the incident holds."""
    incident, over = announcement.incident, announcement.change is Change.RESOLVED
    issues = [] if over else list(incident.problems.values())
    return replace(
        _outline(announcement, issues, context),
        facts=[
            ("Since", _since(announcement, incident, context)),
            ("Run", f"{announcement.run}, whose record does not read any more"),
        ],
    )


def _outline(announcement: Announcement, issues: list[str], context: Context) -> Message:
    incident, over = announcement.incident, announcement.change is Change.RESOLVED
    return Message(
        id=announcement.key,
        at=announcement.at,
        change=announcement.change,
        script=one_line(incident.script, 120),
        severity=incident.peak if over else incident.severity,
        subject=_subject(announcement, issues),
        incident=incident.id,
        since=incident.since,
        cause=incident.cause,
        findings=[one_line(issue, MAX_LINE) for issue in issues[:MAX_FINDINGS]],
        hidden=max(0, len(issues) - MAX_FINDINGS),
        tags=context.tags,
    )


def notice(
    *,
    key: str,
    at: datetime,
    script: str,
    subject: str,
    facts: Iterable[tuple[str, str]] = (),
    severity: Severity | None = None,
    tags: list[str] | None = None,
) -> Message:
    """Return a message without a run, such as a test of the receivers or a missed schedule.

    `key` consists of a–z, 0–9 and -; each key is notified only once.
    """
    return Message(
        id=key,
        at=at,
        change=Change.NOTICE,
        script=one_line(script, 120),
        subject=one_line(subject, MAX_LINE),
        severity=severity,
        facts=[(label, one_line(text, MAX_LINE)) for label, text in facts],
        tags=tags,
    )


def moment(at: datetime) -> str:
    """Return a time in the form of all messages: "2026-11-22 14:05 UTC"."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _subject(announcement: Announcement, issues: list[str]) -> str:
    """Return the title's text: the first clause of the worst finding; the body has all of it."""
    change, incident = announcement.change, announcement.incident
    lead = issues[0].partition("; ")[0] if issues else "no finding"
    lasted = seconds(round((announcement.at - incident.since).total_seconds()))
    words = {
        Change.WORSENED: f"worse, was {announcement.before}: {lead}",
        Change.CHANGED: f"still failing, now {lead}",
        Change.IMPROVED: f"better, was {announcement.before}: {lead}",
        Change.RESOLVED: _end(announcement, lasted),
        Change.REMINDER: f"still failing after {lasted}: {lead}",
    }
    return one_line(words.get(change, lead), MAX_LINE)


def _end(announcement: Announcement, lasted: str) -> str:
    reason = announcement.accepted
    if reason is None:
        return f"healthy again after {lasted}"
    return f"accepted as the new level after {lasted}" + (f": {reason}" if reason else "")


def _facts(
    announcement: Announcement, run: Run, context: Context, findings: list[Finding]
) -> list[tuple[str, str]]:
    incident, metrics = announcement.incident, run.judged
    numbers = (
        f"{count(metrics.total_requests)} requests, {rate(metrics.requests_per_second)}, "
        f"average {ms(metrics.response_time_avg)}, p95 {ms(metrics.response_time_p95)}, "
        f"errors {percent(metrics.error_rate)}, {seconds(run.execution_time)}"
    )
    worst = findings[0] if findings else None
    over = announcement.change is Change.RESOLVED
    places = list(dict.fromkeys(f.endpoint for f in findings if f.endpoint))
    places = places or _most_failures(run, findings)
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return [
        ("Where", ", ".join(places[:3]) + more if places else ""),
        ("Was", "; ".join(list(incident.problems.values())[:2]) if over else ""),
        ("Since", _since(announcement, incident, context)),
        ("Before → after", _before_and_after(run, worst)),
        _baseline(run, worst),
        ("How sure", _certainty(run, worst)),
        ("Changed", _changed(run, context.previous, worst)),
        ("AI says", (run.explanation.summary or "") if run.explanation else ""),
        ("Severity", _raised(run)),
        ("Next step", "" if over else next(iter(run.anomaly_analysis.recommendations), "")),
        ("Numbers", numbers if metrics.total_requests else ""),
        ("Run", f"{run.test_id} of {run.script}, {run.trigger}, {moment(run.timestamp)}"),
    ]


def _most_failures(run: Run, findings: list[Finding]) -> list[str]:
    """Return the endpoint with most of the failed requests, when a finding is about all errors."""
    rows = run.breakdown.endpoints
    failed = sum(row.failed or 0 for row in rows)
    if not failed or not any(f.metric in ERRORS for f in findings):
        return []
    worst = max(rows, key=lambda row: row.failed or 0)
    share = worst.failed or 0
    of = f"{count(share)} of {plural(failed, 'failed request')}"
    return [f"{worst.title}, {of}"] if 2 * share > failed else []


def _since(announcement: Announcement, incident: Incident, context: Context) -> str:
    """Return when the incident began, with how many runs, and how long after which marks."""
    if announcement.change is Change.RESOLVED:
        return f"{moment(incident.since)}, {plural(incident.runs, 'failing run')}"
    first = incident.runs == 1 and incident.first_run == announcement.run
    runs = "this run" if first else plural(incident.runs, "run")
    after = mark.since(context.marks, incident.since)
    return f"{moment(incident.since)}, {runs}" + (f", {after}" if after else "")


def _baseline(run: Run, worst: Finding | None) -> tuple[str, str]:
    """Return label and text of the worst finding's baseline: earlier runs or a limit."""
    if worst is None or worst.kind is not FindingKind.REGRESSION:
        return "Expected", (worst and worst.expected) or ""
    place = (worst.metric, worst.endpoint)
    found = next((c for c in run.comparisons if (c.metric, c.endpoint) == place), None)
    if found is None or found.expected is None:
        return "Baseline", worst.expected or ""
    usual = f", usually {worst.expected}" if worst.expected else ""
    runs = plural(found.runs, "comparable run")
    return "Baseline", f"{in_unit(found.expected, found.unit)}{usual}, from {runs}"


def _before_and_after(run: Run, worst: Finding | None) -> str:
    """Return what the worst finding's value was and is: "268 ms → 412 ms (+54 %)".

    Empty when nothing is known of before.
    """
    place = (ALIASES.get(worst.metric or "", worst.metric), worst.endpoint) if worst else None
    found = next((c for c in run.comparisons if (c.metric, c.endpoint) == place), None)
    if found is None or found.expected is None:
        return ""
    after, before = against(found.observed, found.expected, unit=found.unit)
    change = "" if found.unit == "%" else found.change_percent
    return f"{before} → {after}" + (f" ({change:+.0f} %)" if change else "")


def _certainty(run: Run, worst: Finding | None) -> str:
    """How certain the worst finding is; doubts are left out when re-runs confirmed it."""
    if worst is None:
        return ""
    sure = percent(round(100 * worst.confidence))
    if worst.confirmed:
        return f"confirmed in {worst.confirmed} runs, {sure}"
    doubts = "; ".join(run.anomaly_analysis.doubts[:2])
    return sure + (f", but {doubts}" if doubts else "")


def _changed(run: Run, previous: Run | None, worst: Finding | None) -> str:
    """Return what changed by the comparison, and what differs from the run `previous`.

    "nothing" is stated only when both runs have a snapshot.
    """
    told = [worst.changed] if worst and worst.changed else []
    if previous is not None:
        kind = "failing" if previous.anomaly_analysis.anomalies_detected else "healthy"
        since = f"since {previous.test_id}, the last {kind} run"
        changes = _changes(run, previous, script=not told)
        if changes:
            told.append(f"{', '.join(changes)}, {since}")
        elif not told and run.snapshot and previous.snapshot:
            told.append(f"nothing of script, workload and k6 {since}")
    return "; ".join(told)


def _changes(run: Run, previous: Run, *, script: bool) -> list[str]:
    """Return the differences from the run `previous`; those of the script if `script` is set."""
    now, then = run.snapshot, previous.snapshot
    changes = []
    modules = _changed_modules(now, then) if now and then else set()
    if script and now and then and (now.fingerprint != then.fingerprint or modules):
        edited = {p for p, h in now.dependencies.items() if then.dependencies.get(p) != h}
        names = ", ".join(sorted(p.rpartition("/")[2] for p in edited | modules)[:3])
        changes.append(f"the script ({names})" if names else "the script")
    if now and then and now.workload != then.workload:
        changes.append("the workload")
    if run.commit and previous.commit and run.commit.id != previous.commit.id:
        changes.append(f"the commit ({run.commit.line}, was {previous.commit.id[:8]})")
    for what, new, old in (
        ("k6", run.execution.k6_version, previous.execution.k6_version),
        ("the machine", run.execution.machine, previous.execution.machine),
    ):
        if new and old and new != old:
            changes.append(f"{what} (from {old} to {new})")
    return changes


def _changed_modules(now: Snapshot, then: Snapshot) -> set[str]:
    """Return the modules from a server that both snapshots have, with other contents."""
    return {url for url, known in now.remote.items() if then.remote.get(url, known) != known}


def _raised(run: Run) -> str:
    found = run.explanation
    if found is None or not found.raised_from:
        return ""
    return f"raised from {found.raised_from} by the AI: {found.raised_because or ''}"


def _link(run: Run, context: Context) -> tuple[str, str] | None:
    if context.dashboard is None:
        return None
    label, address = context.dashboard
    return label, f"{address.rstrip('/')}/runs/{run.test_id}"


def _links(run: Run, context: Context, *, over: bool) -> list[tuple[str, str]]:
    """Return the links beside that of the run: what changed, the script, where to mute it."""
    if context.dashboard is None:
        return []
    address = context.dashboard[1].rstrip("/")
    script = f"{address}/script?{urlencode({'name': run.script})}"
    compare = ("Compare with before", f"{address}/compare?run={run.test_id}")
    return [compare, ("Script", script), *([] if over else [("Mute", f"{script}#force")])]


def _commands(run: Run, context: Context, *, over: bool) -> list[tuple[str, str]]:
    data = f"--data {_quoted(str(context.data))}"
    path, name = _quoted(str(context.scripts / run.script)), _quoted(run.script)
    again = f"k6d replay {run.test_id} {data}" if run.snapshot else f"k6d run {path} {data}"
    closer = [("Look closer", f"k6d show {run.test_id} --log {data}")]
    if over:
        return closer
    accept = [("If it is meant to be so", f"k6d accept {name} {data}")] if _is_slower(run) else []
    quiet = ("Quiet it", f"k6d mute {name} --for 2h {data}")
    return [*closer, ("Run it again", again), *accept, quiet]


def _is_slower(run: Run) -> bool:
    """Return whether the run has a regression, which a person may accept as the new level."""
    return any(f.kind is FindingKind.REGRESSION for f in run.anomaly_analysis.findings)


def _quoted(word: str) -> str:
    """Return a word quoted for a shell, without characters that have a meaning in chats."""
    if all(map(_is_plain, word)):
        return shlex.quote(word)
    spelt = (c if _is_plain(c) and c not in "'\\" else _number_of(c) for c in word)
    return f"$'{''.join(spelt)}'"


def _is_plain(character: str) -> bool:
    return character.isprintable() and character not in "@<>!`"


def _number_of(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x80 else f"\\U{code:08x}"


def _chart(findings: Sequence[Finding], history: Sequence[dict[str, Any]]) -> Chart | None:
    """Return the history of the worst finding's metric if it is indexed, else of the p95."""
    metrics = (ALIASES.get(f.metric or "", f.metric or "") for f in findings)
    metric = next((name for name in metrics if name in CHARTED), "response_time_p95")
    title, unit = METRICS[metric].title, METRICS[metric].unit
    points = [
        Point(
            at=datetime.fromisoformat(document["timestamp"]),
            value=float(document[metric]),
            bad=bool(document["anomalies"]),
        )
        for document in reversed(history[:MAX_POINTS])
        if document.get(metric) is not None
        and not document.get("overrides")
        and document.get("trigger") != Trigger.CONFIRMATION
    ]
    if len(points) < 2:
        return None
    return Chart(title=f"{title}, last {plural(len(points), 'run')}", unit=unit, points=points)
