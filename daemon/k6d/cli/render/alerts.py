"""Renders incidents and messages for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.text import Text

from k6d.alerts.message import moment
from k6d.alerts.mutes import covers
from k6d.cli.render.table import plain_table
from k6d.core.numbers import seconds
from k6d.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from rich.console import Console, ConsoleOptions, RenderResult

    from k6d.alerts.records import Incident

LEAST_WIDTH = 80  # columns; on a narrower terminal these tables are hard to read
STYLES = {"low": "yellow", "medium": "yellow", "high": "red", "critical": "bold red"}


def incidents_table(
    incidents: Iterable[Incident],
    mutes: Mapping[str, datetime],
    *,
    now: datetime,
    waiting: Collection[str] = (),
    gone: Collection[str] = (),
) -> Grid:
    """Return one row per incident: severity, script, start, number of runs, finding.

    `waiting` are incidents with an undelivered message; `gone` are scripts whose file is missing.
    """
    table = Grid("severity", "script", "since", "runs", "what", "announced")
    for incident in incidents:
        over = incident.resolved_at
        severity = Text("resolved", "green") if over else Text(incident.severity)
        severity.stylize("" if over else STYLES[incident.severity])
        lasted = seconds(round(((over or now) - incident.since).total_seconds()))
        muted = any(covers(pattern, incident.script) for pattern in mutes)
        told = "muted" if muted else str(incident.told or "not yet")
        told += ", waiting in the outbox" if incident.id in waiting else ""
        what = next(iter(incident.problems.values()), "")
        table.add_row(
            severity,
            Text(incident.script + (" (gone)" if incident.script in gone else "")),
            f"{moment(incident.since)} ({lasted})",
            str(incident.runs),
            Text(one_line(what, 100)),
            told,
        )
    return table


def outbox_table(rows: Iterable[dict[str, Any]]) -> Grid:
    """Return one row per message and receiver: message, receiver, state, reason of a failure."""
    table = Grid("from", "message", "receiver", "state", "tries", "next", "why")
    for row in rows:
        next_at = f"{row['next_at']:%H:%M:%S}" if row["next_at"] else "–"
        words = f"{row['script']}: {row['change']}, {row['subject']}"
        why = row["error"] or ""
        if row["state"] == "waiting" and row["cause"] and not row["attempts"]:
            why = why or f"waits for more of the same cause, {row['cause']}"
        table.add_row(
            moment(row["at"]),
            Text(one_line(words, 60)),
            Text(row["receiver"] or "not known yet"),
            row["state"],
            str(row["attempts"]),
            next_at,
            Text(one_line(why, 100)),
        )
    return table


class Grid:
    """A table that wraps; on a narrow terminal each row is a paragraph below its first cell."""

    def __init__(self, *titles: str) -> None:
        self._titles = titles
        self._rows: list[tuple[str | Text, ...]] = []

    def add_row(self, *cells: str | Text) -> None:
        """Add a row with a cell for each title."""
        self._rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render as a table or, on a narrow terminal, as paragraphs."""
        if options.max_width >= LEAST_WIDTH:
            table = plain_table()
            for title in self._titles:
                table.add_column(title, overflow="fold")
            for row in self._rows:
                table.add_row(*row)
            yield table
            return
        for row in self._rows:
            (_, head), *rest = zip(self._titles, row, strict=True)
            yield Text.assemble(head, overflow="fold")
            for title, cell in rest:
                if cell:
                    line = Text.assemble((f"{title} ", "dim"), cell, overflow="fold")
                    yield Padding(line, (0, 0, 0, 2))
