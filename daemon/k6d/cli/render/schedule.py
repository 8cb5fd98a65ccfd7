"""Renders schedules for the terminal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence


def schedule_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return one line per script: rule, next starts, last scheduled run, missed starts."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("script", "schedule", "next", "last", "missed"):
        table.add_column(title, overflow="fold")
    for row in rows:
        last = row["last"]
        missed = sum(one.count for one in row["missed"])
        table.add_row(
            Text(row["script"]),
            Text(row["rule"]),
            "\n".join(_clock(moment) for moment in row["next"]),
            f"{_clock(datetime.fromisoformat(last['timestamp']))} {last['outcome']}"
            if last
            else "never",
            f"{missed:,}" if missed else "–",
        )
    return table


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone():%a %Y-%m-%d %H:%M:%S %Z}"
