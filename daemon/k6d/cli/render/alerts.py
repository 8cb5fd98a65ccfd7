"""Renders incidents and messages for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from k6d.alerts.message import moment
from k6d.cli.render.cells import STYLES
from k6d.cli.render.table import wrapping_table
from k6d.core.numbers import seconds
from k6d.core.text import brief, covers, one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from rich.console import RenderableType

    from k6d.alerts.records import Incident


def incidents_table(
    incidents: Iterable[Incident],
    mutes: Mapping[str, datetime],
    *,
    now: datetime,
    width: int,
    waiting: Collection[str] = (),
    gone: Collection[str] = (),
) -> RenderableType:
    """Return one row per incident: severity, script, start, number of runs, finding.

    `width` is the width of the terminal. `waiting` are incidents with an undelivered message;
    `gone` are scripts whose file is missing.
    """
    rows: list[tuple[str | Text, ...]] = []
    for incident in incidents:
        over = incident.resolved_at
        severity = Text("resolved", "green") if over else Text(incident.severity)
        severity.stylize("" if over else STYLES[incident.severity])
        lasted = seconds(round(((over or now) - incident.since).total_seconds()))
        muted = any(covers(pattern, incident.script) for pattern in mutes)
        announced = "muted" if muted else str(incident.told or "not yet")
        announced += ", acknowledged" if incident.acknowledged and not over else ""
        announced += ", waiting in the outbox" if incident.id in waiting else ""
        what = brief(next(iter(incident.problems.values()), ""))
        rows.append((
            severity,
            Text(incident.script + (" (gone)" if incident.script in gone else "")),
            f"{moment(incident.since)} ({lasted})",
            str(incident.runs),
            Text(one_line(what, 200)),
            announced,
        ))  # fmt: skip
    return wrapping_table(
        ("severity", "script", "since", "runs", "what", "announced"), rows, width=width
    )


def outbox_table(
    found: Iterable[dict[str, Any]], *, width: int, quiet_until: datetime | None = None
) -> RenderableType:
    """Return one row per message and receiver: message, receiver, state, why it waits or failed.

    `quiet_until` is the end of the present quiet hours.
    """
    rows: list[tuple[str | Text, ...]] = []
    for row in found:
        next_at = f"{row['next_at']:%H:%M:%S}" if row["next_at"] else "–"
        words = f"{row['script']}: {row['change']}, {row['subject']}"
        why = row["error"] or ""
        if row["state"] == "waiting" and row["cause"] and not row["attempts"]:
            why = why or f"waits for more of the same cause, {row['cause']}"
        if row["state"] == "waiting" and quiet_until and row["severity"] != "critical":
            why = "; ".join(filter(None, [f"quiet hours until {moment(quiet_until)}", why]))
        rows.append((
            moment(row["at"]),
            Text(one_line(words, 60)),
            Text(row["receiver"] or "not known yet"),
            row["state"],
            str(row["attempts"] + (row["state"] == "delivered")),  # `attempts` are those in vain
            next_at,
            Text(one_line(why, 100)),
        ))  # fmt: skip
    titles = ("from", "message", "receiver", "state", "tries", "next", "why")
    return wrapping_table(titles, rows, width=width)
