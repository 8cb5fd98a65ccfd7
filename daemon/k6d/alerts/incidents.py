"""Incidents as a pure state machine: the state of a script and one more run → an announcement.

An incident compares its state with the state that was last notified. If they differ, an
announcement is due, and making it makes them equal. Nothing is therefore notified twice. What a
mute held back is notified after the mute, if it still holds.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from k6d.alerts.observation import MAX_PROBLEMS, observe
from k6d.alerts.records import Announcement, Change, Incident, IncidentState, Observation
from k6d.core.frozen import frozen
from k6d.core.measurements import TARGET
from k6d.core.model import FindingKind, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from k6d.core.model import Run

REMEMBERED_RUNS = 50  # a run is recorded once, even if a crash makes k6d read it again
MAX_RETURNS = 6
GONE = timedelta(days=1)  # a script that is missing for less may be about to move
SILENT_RUNS = 30  # after so many healthy runs an incident ends, even if they cannot judge it
# An incident that changed like this needs a person anew, although one took it on before.
GRAVER = (Change.WORSENED, Change.CHANGED)


@frozen
class Rules:
    """When to notify about one script; `remind_s` 0 means no reminders."""

    open_after: int = 1
    resolve_after: int = 2
    min_severity: Severity = Severity.LOW
    remind_s: float = 86_400.0
    muted: bool = False

    def notifies(self, severity: Severity) -> bool:
        """Return whether a problem of this severity is notified."""
        return not self.muted and severity.rank >= self.min_severity.rank


def advance(
    state: IncidentState, seen: Observation, rules: Rules
) -> tuple[IncidentState, Announcement | None]:
    """Record one run. The announcement is also appended to the state's `outgoing`.

    A run with options of its own does not open, change or resolve an incident, because it says
    nothing about the script's own workload. An older k6d opened incidents for such runs; runs with
    the same options continue these.
    """
    if seen.run in state.seen:
        return state, None
    state = replace(
        state,
        seen=[*state.seen, *([] if seen.unsettled else [seen.run])][-REMEMBERED_RUNS:],
        expected=[run for run in state.expected if run != seen.run],
        gone_since=None,
    )
    if seen.overrides and not _has_same_options(state, seen):
        return remind(state, seen.at, rules)
    if seen.severity is not None and not _overload_hides_problem(state, seen):
        return _failing(state, seen, seen.severity, rules)
    if seen.healthy:
        return _healthy(state, seen, rules)
    return remind(state, seen.at, rules)  # no verdict; a reminder may be due


def replayed(
    state: IncidentState, runs: Sequence[Run], rules: Rules, *, since: datetime
) -> IncidentState:
    """Return the state after `runs`, oldest first.

    Of the announcements, those of the incident that is open at the end stay, if they are not older
    than `since`: they may not have been delivered.
    """
    for run in runs:
        state, _ = advance(state, observe(run), rules)
    open_ = state.incident.id if state.incident else None
    due = [one for one in state.outgoing if one.incident.id == open_ and one.at >= since]
    return replace(state, outgoing=due)


def remind(
    state: IncidentState, now: datetime, rules: Rules
) -> tuple[IncidentState, Announcement | None]:
    """Make the announcement that is due without a new run: one held back by a mute, or a reminder.

    None if the newest run was healthy: the next run decides.
    """
    incident = state.incident
    if incident is None or incident.healthy:
        return state, None
    change = _due(incident, now, rules, patience=rules.resolve_after)
    if change is None:
        return state, None
    return _announce(state, incident, change, now, incident.last_run)


def accepted(state: IncidentState, at: datetime, *, run: str, reason: str) -> IncidentState:
    """Return the state after a person accepted the level of `run`: regressions are no problem.

    If there is no other problem, the incident is resolved, and the announcement has the reason.
    """
    incident = state.incident
    if incident is None or run < incident.first_run:
        return state
    others = {key: said for key, said in incident.problems.items() if not regressed(key)}
    if others == incident.problems:
        return state
    if others:
        return replace(state, incident=replace(incident, problems=others))
    return _resolve(state, at, run, accepted=reason)[0]


def acknowledged(state: IncidentState, at: datetime | None, *, comment: str = "") -> IncidentState:
    """Return the state after a person took the open incident on; `at` None takes that back.

    No reminder is due until the incident gets worse or has another problem.
    """
    if state.incident is None:
        return state
    comment = comment if at else ""
    return replace(state, incident=replace(state.incident, acknowledged=at, comment=comment))


def ended(state: IncidentState, at: datetime) -> IncidentState:
    """Return the state after the incident ended without a healthy run and an announcement."""
    last = replace(state.incident, resolved_at=at) if state.incident else state.last
    return replace(
        state,
        incident=None,
        last=last,
        failures=0,
        failing_since=None,
        first_failing=None,
        gone_since=None,
    )


def after_file_check(state: IncidentState, now: datetime, *, gone: bool) -> IncidentState:
    """Return the state after a check of the script's file; missing for `GONE` ends the incident."""
    if not gone:
        return replace(state, gone_since=None)
    since = state.gone_since or now
    return ended(state, now) if now - since >= GONE else replace(state, gone_since=since)


def with_notify(state: IncidentState, notify: bool | list[str] | None) -> IncidentState:
    """Return the state with the script's own `notify`; None keeps the last one."""
    return state if notify is None else replace(state, notify=notify)


def with_expected(state: IncidentState, runs: list[str]) -> IncidentState:
    """Return the state with the runs that are to be recorded, so that a crash loses none."""
    return replace(state, expected=[run for run in runs if run not in state.seen])


def without_announcements(state: IncidentState, keys: Sequence[str]) -> IncidentState:
    """Return the state without the announcements `keys`, which are in the outbox now."""
    rest = [announcement for announcement in state.outgoing if announcement.key not in keys]
    return replace(state, outgoing=rest)


def start_of_failure(state: IncidentState, seen: Observation) -> tuple[datetime, str]:
    """Return the start and the id of the run with which the failure that `seen` continues began.

    This is the first failing run, or an earlier one since which a regression lasts. It becomes
    `Incident.since` and `Incident.first_run`.
    """
    found = [(seen.began or seen.at, seen.first or seen.run)]
    if state.incident:
        found.append((state.incident.since, state.incident.first_run))
    elif state.failing_since:
        found.append((state.failing_since, state.first_failing or seen.run))
    return min(found)


def _failing(
    state: IncidentState, seen: Observation, severity: Severity, rules: Rules
) -> tuple[IncidentState, Announcement | None]:
    since, first_run = start_of_failure(state, seen)
    state = replace(
        state, failures=state.failures + 1, failing_since=since, first_failing=first_run
    )
    incident = state.incident
    if incident is None:
        if state.failures < rules.open_after:
            return state, None
        incident = Incident(
            id=seen.run,
            script=seen.script,
            since=since,
            severity=severity,
            peak=severity,
            problems=seen.problems,
            first_run=first_run,
            last_run=seen.run,
            last_seen=seen.at,
            cause=seen.cause,
            overrides=seen.overrides,
            runs=state.failures,
        )
    else:
        notified_rank = (incident.told or severity).rank
        incident = replace(
            incident,
            since=since,
            first_run=first_run,
            severity=severity,
            peak=max(incident.peak, severity, key=lambda s: s.rank),
            problems=seen.problems,
            last_run=seen.run,
            last_seen=seen.at,
            cause=seen.cause or incident.cause,
            overrides=incident.overrides if seen.overrides else {},
            runs=incident.runs + 1,
            healthy=0,
            silent=0,
            milder=incident.milder + 1 if severity.rank < notified_rank else 0,
            graver=incident.graver + 1 if severity.rank > notified_rank else 0,
        )
    patience = 1 if seen.deliberate else rules.resolve_after
    change = _due(incident, seen.at, rules, patience=patience)
    if change is None:
        return replace(state, incident=incident), None
    return _announce(state, incident, change, seen.at, seen.run)


def _due(incident: Incident, now: datetime, rules: Rules, *, patience: int) -> Change | None:
    """Return the announcement that is due; None if the incident is as it was notified.

    A new worst severity is due at once. A milder severity, or a return to an earlier one, needs
    `patience` runs in a row. Flapping: each return doubles that number.
    """
    severity, notified = incident.severity, incident.told
    if notified is None:
        return Change.OPENED if rules.notifies(severity) else None
    patience <<= min(incident.returns, MAX_RETURNS)
    returning = severity.rank <= (incident.told_peak or notified).rank
    if severity.rank > notified.rank and (not returning or incident.graver >= patience):
        return Change.WORSENED if rules.notifies(severity) else None
    if rules.muted:
        return None
    if rules.notifies(severity) and not incident.problems.keys() <= set(incident.told_problems):
        return Change.CHANGED
    if severity.rank < notified.rank and incident.milder >= patience:
        return Change.IMPROVED
    return Change.REMINDER if _reminder_due(incident, now, rules) else None


def _healthy(
    state: IncidentState, seen: Observation, rules: Rules
) -> tuple[IncidentState, Announcement | None]:
    incident = state.incident
    if incident is None:
        return replace(state, failures=0, failing_since=None, first_failing=None), None
    if incident.silent < SILENT_RUNS and _cannot_judge(seen, incident):
        silent = replace(incident, silent=incident.silent + 1, last_seen=seen.at)
        return remind(replace(state, incident=silent), seen.at, rules)
    incident = replace(incident, healthy=incident.healthy + 1, last_seen=seen.at)
    state = replace(state, incident=incident)
    if incident.healthy < (1 if seen.deliberate else rules.resolve_after):
        return state, None
    return _resolve(state, seen.at, seen.run)


def _resolve(
    state: IncidentState, at: datetime, run: str, *, accepted: str | None = None
) -> tuple[IncidentState, Announcement | None]:
    """Return the state without its incident; a notified incident is announced as resolved."""
    closed = replace(state, failures=0, failing_since=None, first_failing=None)
    if state.incident is None:
        return closed, None
    incident = replace(state.incident, resolved_at=at, last_run=run)
    if incident.told is None:
        return replace(closed, incident=None, last=incident), None
    return _announce(closed, incident, Change.RESOLVED, at, run, accepted=accepted)


def _cannot_judge(seen: Observation, incident: Incident) -> bool:
    """Return whether a healthy run says nothing about the regressed series.

    It has too few requests of an endpoint, its new workload has no baseline yet, or the target's
    own number could not be read. A series that an edit removed from the script does not count.
    """
    keys = [key for key in map(regressed, incident.problems) if key and not seen.series.get(key)]
    return any(key in seen.series or not seen.edited or key.startswith(TARGET) for key in keys)


def _has_same_options(state: IncidentState, seen: Observation) -> bool:
    """Return whether the open incident was opened by a run with the same options."""
    return state.incident is not None and state.incident.overrides == seen.overrides


def _overload_hides_problem(state: IncidentState, seen: Observation) -> bool:
    """Return whether the run cannot judge the problem, because k6's own machine was overloaded."""
    known = state.incident.problems if state.incident else {}
    saturated = {_kind(key) for key in seen.problems} == {FindingKind.GENERATOR}
    return saturated and any(_kind(key) != FindingKind.GENERATOR for key in known)


def _announce(
    state: IncidentState,
    incident: Incident,
    change: Change,
    at: datetime,
    run: str,
    *,
    accepted: str | None = None,
) -> tuple[IncidentState, Announcement]:
    before, severity = incident.told, incident.severity
    peak = incident.told_peak or before
    returned = change is Change.WORSENED and peak is not None and severity.rank <= peak.rank
    known = [*incident.told_problems, *(p for p in incident.problems)]
    incident = replace(
        incident,
        told=severity,
        told_peak=max(severity, peak or severity, key=lambda s: s.rank),
        told_at=at,
        told_problems=list(dict.fromkeys(known))[-MAX_PROBLEMS:],
        milder=0,
        graver=0,
        returns=incident.returns + returned,
        acknowledged=None if change in GRAVER else incident.acknowledged,
        comment="" if change in GRAVER else incident.comment,
        changes=incident.changes + 1,
    )
    announcement = Announcement(
        key=f"{incident.id}-{incident.changes}",
        change=change,
        at=at,
        incident=incident,
        run=run,
        before=before,
        accepted=accepted,
    )
    over = change is Change.RESOLVED
    state = replace(
        state,
        incident=None if over else incident,
        last=incident if over else state.last,
        outgoing=[*state.outgoing, announcement],
    )
    return state, announcement


def _reminder_due(incident: Incident, now: datetime, rules: Rules) -> bool:
    if incident.acknowledged or not rules.remind_s or incident.told_at is None:
        return False
    if not rules.notifies(incident.severity):
        return False
    return (now - incident.told_at).total_seconds() >= rules.remind_s


def _kind(problem: str) -> str:
    return problem.partition("|")[0]


def regressed(problem: str) -> str:
    """Return the key of the regressed series; "" for a problem of another kind."""
    kind, _, place = problem.partition("|")
    return place.replace("|", " ", 1).strip() if kind == FindingKind.REGRESSION else ""
