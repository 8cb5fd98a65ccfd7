"""Incidents and messages as a person reads them in a terminal."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from k6d.alerts.message import moment
from k6d.units import one_line, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from k6d.alerts.records import Incident

STYLES = {"low": "yellow", "medium": "yellow", "high": "red", "critical": "bold red"}


def incidents_table(
    incidents: Iterable[Incident], mutes: Mapping[str, datetime], *, now: datetime
) -> Table:
    """One row an incident: severity, script, since when, in how many runs, what."""
    table = _grid("severity", "script", "since", "runs", "what", "told")
    for incident in incidents:
        over = incident.resolved_at
        severity = Text("resolved", "green") if over else Text(incident.severity)
        severity.stylize("" if over else STYLES[incident.severity])
        lasted = seconds(round(((over or now) - incident.since).total_seconds()))
        muted = any(fnmatchcase(incident.script, pattern) for pattern in mutes)
        told = "muted" if muted else str(incident.told or "not yet")
        what = next(iter(incident.problems.values()), "")
        table.add_row(
            severity,
            Text(incident.script),
            f"{moment(incident.since)} ({lasted})",
            str(incident.runs),
            Text(one_line(what, 100)),
            told,
        )
    return table


def outbox_table(rows: Iterable[dict[str, Any]]) -> Table:
    """One row a message and receiver: what, for whom, how it stands, why not."""
    table = _grid("from", "message", "receiver", "state", "tries", "next", "why")
    for row in rows:
        next_at = f"{row['next_at']:%H:%M:%S}" if row["next_at"] else "–"
        words = f"{row['script']}: {row['change']}, {row['subject']}"
        table.add_row(
            moment(row["at"]),
            Text(one_line(words, 60)),
            Text(row["receiver"] or "not known yet"),
            row["state"],
            str(row["attempts"]),
            next_at,
            Text(one_line(row["error"] or "", 100)),
        )
    return table


def _grid(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table
