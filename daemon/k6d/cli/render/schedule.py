"""Renders schedules for the terminal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from k6d.cli.render.table import wrapping_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

TITLES = ("script", "schedule", "next", "last", "missed")


def schedule_table(rows: Sequence[dict[str, Any]], *, width: int) -> RenderableType:
    """Return one line per script: rule, next starts, last scheduled run, missed starts.

    `width` is the width of the terminal.
    """
    return wrapping_table(TITLES, map(_row, rows), width=width)


def _row(row: dict[str, Any]) -> list[str | Text]:
    last = row["last"]
    missed = sum(one.count for one in row["missed"])
    ran = f"{_clock(datetime.fromisoformat(last['timestamp']))} {last['outcome']}" if last else ""
    return [
        Text(row["script"]),
        Text(row["rule"]),
        "\n".join(_clock(moment) for moment in row["next"]),
        ran or "never",
        f"{missed:,}" if missed else "–",
    ]


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone():%a %Y-%m-%d %H:%M:%S %Z}"
