"""Renders incidents and messages for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from k6d.alerts.message import moment
from k6d.cli.render.table import plain_table
from k6d.core.numbers import seconds
from k6d.core.text import covers, one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from k6d.alerts.records import Incident

LEAST_WIDTH = 80  # columns; on a narrower terminal these tables are hard to read
STYLES = {"low": "yellow", "medium": "yellow", "high": "red", "critical": "bold red"}


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
        what = next(iter(incident.problems.values()), "")
        rows.append((
            severity,
            Text(incident.script + (" (gone)" if incident.script in gone else "")),
            f"{moment(incident.since)} ({lasted})",
            str(incident.runs),
            Text(one_line(what, 100)),
            announced,
        ))  # fmt: skip
    return _table(("severity", "script", "since", "runs", "what", "announced"), rows, width=width)


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
    return _table(titles, rows, width=width)


def _table(
    titles: Sequence[str], rows: Iterable[Sequence[str | Text]], *, width: int
) -> RenderableType:
    """A table whose cells wrap; on a narrow terminal each row is a paragraph."""
    if width >= LEAST_WIDTH:
        table = plain_table()
        for title in titles:
            table.add_column(title, overflow="fold")
        for row in rows:
            table.add_row(*row)
        return table
    lines: list[RenderableType] = []
    for row in rows:
        lines.append(Text.assemble(row[0], overflow="fold"))
        for title, cell in zip(titles[1:], row[1:], strict=True):
            if cell:
                line = Text.assemble((f"{title} ", "dim"), cell, overflow="fold")
                lines.append(Padding(line, (0, 0, 0, 2)))
    return Group(*lines)
