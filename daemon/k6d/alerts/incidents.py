"""Incidents as a pure state machine: the state of a script and one more run → an announcement.

An incident compares its state with the state that was last notified. If they differ, an
announcement is due, and making it makes them equal. Nothing is therefore notified twice. What a
mute held back is notified after the mute, if it still holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from k6d.alerts.observation import MAX_PROBLEMS, observe
from k6d.alerts.records import Announcement, Change, Incident, Observation, Standing
from k6d.core.model import FindingKind, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from k6d.core.model import Run

REMEMBERED_RUNS = 50  # a run is recorded once, even if a crash makes k6d read it again
MAX_RETURNS = 6
GONE = timedelta(days=1)  # a script that is missing for less may be about to move
SILENT_RUNS = 30  # after so many healthy runs an incident ends, even if they cannot judge it


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When to notify about one script; `remind_s` 0 means no reminders."""

    open_after: int = 1
    resolve_after: int = 2
    min_severity: Severity = Severity.LOW
    remind_s: float = 86_400.0
    muted: bool = False

    def tells(self, severity: Severity) -> bool:
        """Whether a problem of this severity is notified."""
        return not self.muted and severity.rank >= self.min_severity.rank


def advance(
    standing: Standing, seen: Observation, rules: Rules
) -> tuple[Standing, Announcement | None]:
    """Record one run. The announcement is also appended to the state's `outgoing`.

    A run with options of its own does not open, change or resolve an incident, because it says
    nothing about the script's own workload. An older k6d opened incidents for such runs; runs with
    the same options continue these.
    """
    if seen.run in standing.seen:
        return standing, None
    standing = replace(
        standing,
        seen=[*standing.seen, *([] if seen.unsettled else [seen.run])][-REMEMBERED_RUNS:],
        expected=[run for run in standing.expected if run != seen.run],
        gone_since=None,
    )
    if seen.overrides and not _has_same_options(standing, seen):
        return remind(standing, seen.at, rules)
    if seen.severity is not None and not _is_beside_the_point(standing, seen):
        return _failing(standing, seen, seen.severity, rules)
    if seen.healthy:
        return _healthy(standing, seen, rules)
    return remind(standing, seen.at, rules)  # it says nothing, and what is due is due all the same


def replayed(standing: Standing, runs: Sequence[Run], rules: Rules, *, since: datetime) -> Standing:
    """The standing after `runs`, oldest first. Announcements stay that are of the incident that is
    open in the end, and not older than `since`: people may not have got them.
    """
    for run in runs:
        standing, _ = advance(standing, observe(run), rules)
    open_ = standing.incident.id if standing.incident else None
    due = [one for one in standing.outgoing if one.incident.id == open_ and one.at >= since]
    return replace(standing, outgoing=due)


def remind(standing: Standing, now: datetime, rules: Rules) -> tuple[Standing, Announcement | None]:
    """The announcement that is due without a new run: one that a mute held back, or a reminder.

    None while the newest run was healthy: the next run decides.
    """
    incident = standing.incident
    if incident is None or incident.healthy:
        return standing, None
    change = _due(incident, now, rules, patience=rules.resolve_after)
    if change is None:
        return standing, None
    return _tell(standing, incident, change, now, incident.last_run)


def accepted(standing: Standing, at: datetime, *, run: str, reason: str) -> Standing:
    """The standing once somebody took the level of `run` for normal: what got worse is no problem.

    If nothing else is wrong the incident is resolved, and those who know of it are told why.
    """
    incident = standing.incident
    if incident is None or run < incident.first_run:
        return standing
    others = {key: said for key, said in incident.problems.items() if not _regressed(key)}
    if others == incident.problems:
        return standing
    if others:
        return replace(standing, incident=replace(incident, problems=others))
    return _resolve(standing, at, run, accepted=reason)[0]


def ended(standing: Standing, at: datetime) -> Standing:
    """The state after the incident ended without a healthy run and without an announcement."""
    last = replace(standing.incident, resolved_at=at) if standing.incident else standing.last
    return replace(
        standing,
        incident=None,
        last=last,
        failures=0,
        failing_since=None,
        first_failing=None,
        gone_since=None,
    )


def looked_for(standing: Standing, now: datetime, *, gone: bool) -> Standing:
    """The standing once it was looked whether the script is there: gone for long, it is `ended`."""
    if not gone:
        return replace(standing, gone_since=None)
    since = standing.gone_since or now
    return ended(standing, now) if now - since >= GONE else replace(standing, gone_since=since)


def noted(standing: Standing, notify: bool | list[str] | None) -> Standing:
    """The standing with what the script now says of who is to be told; None: as it said last."""
    return standing if notify is None else replace(standing, notify=notify)


def expecting(standing: Standing, runs: list[str]) -> Standing:
    """The standing with the runs that will be taken in, lest a crash in between loses one."""
    return replace(standing, expected=[run for run in runs if run not in standing.seen])


def settled(standing: Standing, keys: Sequence[str]) -> Standing:
    """The standing once the announcements `keys` are safe in the outbox."""
    rest = [announcement for announcement in standing.outgoing if announcement.key not in keys]
    return replace(standing, outgoing=rest)


def since_when(standing: Standing, seen: Observation) -> tuple[datetime, str]:
    """Since when a script fails that fails again with `seen`, and the run with which it began.

    The only answer to this: `Incident.since` is when the run `Incident.first_run` began. It is the
    first failing run, or an earlier one since which a regression lasts.
    """
    found = [(seen.began or seen.at, seen.first or seen.run)]
    if standing.incident:
        found.append((standing.incident.since, standing.incident.first_run))
    elif standing.failing_since:
        found.append((standing.failing_since, standing.first_failing or seen.run))
    return min(found)


def _failing(
    standing: Standing, seen: Observation, severity: Severity, rules: Rules
) -> tuple[Standing, Announcement | None]:
    since, first_run = since_when(standing, seen)
    standing = replace(
        standing, failures=standing.failures + 1, failing_since=since, first_failing=first_run
    )
    incident = standing.incident
    if incident is None:
        if standing.failures < rules.open_after:
            return standing, None
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
            runs=standing.failures,
        )
    else:
        told = (incident.told or severity).rank
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
            milder=incident.milder + 1 if severity.rank < told else 0,
            graver=incident.graver + 1 if severity.rank > told else 0,
        )
    patience = 1 if seen.deliberate else rules.resolve_after
    change = _due(incident, seen.at, rules, patience=patience)
    if change is None:
        return replace(standing, incident=incident), None
    return _tell(standing, incident, change, seen.at, seen.run)


def _due(incident: Incident, now: datetime, rules: Rules, *, patience: int) -> Change | None:
    """The announcement that is due, None if the incident is as it was notified.

    A new worst severity is due at once. A milder severity, or a return to an earlier one, needs
    `patience` runs in a row. Flapping: each return doubles that number.
    """
    severity, told = incident.severity, incident.told
    if told is None:
        return Change.OPENED if rules.tells(severity) else None
    patience <<= min(incident.returns, MAX_RETURNS)
    returning = severity.rank <= (incident.told_peak or told).rank
    if severity.rank > told.rank and (not returning or incident.graver >= patience):
        return Change.WORSENED if rules.tells(severity) else None
    if rules.muted:
        return None
    if rules.tells(severity) and not incident.problems.keys() <= set(incident.told_problems):
        return Change.CHANGED
    if severity.rank < told.rank and incident.milder >= patience:
        return Change.IMPROVED
    return Change.REMINDER if _reminder_due(incident, now, rules) else None


def _healthy(
    standing: Standing, seen: Observation, rules: Rules
) -> tuple[Standing, Announcement | None]:
    incident = standing.incident
    if incident is None:
        return replace(standing, failures=0, failing_since=None, first_failing=None), None
    if incident.silent < SILENT_RUNS and _cannot_judge(seen, incident):
        silent = replace(incident, silent=incident.silent + 1, last_seen=seen.at)
        return remind(replace(standing, incident=silent), seen.at, rules)
    incident = replace(incident, healthy=incident.healthy + 1, last_seen=seen.at)
    standing = replace(standing, incident=incident)
    if incident.healthy < (1 if seen.deliberate else rules.resolve_after):
        return standing, None
    return _resolve(standing, seen.at, seen.run)


def _resolve(
    standing: Standing, at: datetime, run: str, *, accepted: str | None = None
) -> tuple[Standing, Announcement | None]:
    """The standing without its incident; those who know of it are told."""
    closed = replace(standing, failures=0, failing_since=None, first_failing=None)
    if standing.incident is None:
        return closed, None
    incident = replace(standing.incident, resolved_at=at, last_run=run)
    if incident.told is None:
        return replace(closed, incident=None, last=incident), None
    return _tell(closed, incident, Change.RESOLVED, at, run, accepted=accepted)


def _cannot_judge(seen: Observation, incident: Incident) -> bool:
    """Whether a healthy run says nothing of what got worse: too few requests of an endpoint, or a
    new workload, that has no baseline yet. What an edit took out of the script is no such thing.
    """
    keys = [key for key in map(_regressed, incident.problems) if key and not seen.series.get(key)]
    return any(key in seen.series or not seen.edited for key in keys)


def _has_same_options(standing: Standing, seen: Observation) -> bool:
    """Whether the open incident was opened by a run with the same options."""
    return standing.incident is not None and standing.incident.overrides == seen.overrides


def _is_beside_the_point(standing: Standing, seen: Observation) -> bool:
    """Whether the run cannot judge the open problem, because k6's own machine was overloaded."""
    known = standing.incident.problems if standing.incident else {}
    saturated = {_kind(key) for key in seen.problems} == {FindingKind.GENERATOR}
    return saturated and any(_kind(key) != FindingKind.GENERATOR for key in known)


def _tell(
    standing: Standing,
    incident: Incident,
    change: Change,
    at: datetime,
    run: str,
    *,
    accepted: str | None = None,
) -> tuple[Standing, Announcement]:
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
    standing = replace(
        standing,
        incident=None if over else incident,
        last=incident if over else standing.last,
        outgoing=[*standing.outgoing, announcement],
    )
    return standing, announcement


def _reminder_due(incident: Incident, now: datetime, rules: Rules) -> bool:
    if not rules.remind_s or incident.told_at is None or not rules.tells(incident.severity):
        return False
    return (now - incident.told_at).total_seconds() >= rules.remind_s


def _kind(problem: str) -> str:
    return problem.partition("|")[0]


def _regressed(problem: str) -> str:
    """The key of the series that got worse; empty for a problem of another kind."""
    kind, _, place = problem.partition("|")
    return place.replace("|", " ", 1).strip() if kind == FindingKind.REGRESSION else ""
