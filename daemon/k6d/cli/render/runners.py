"""Renders the runners of a run on a cluster for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from k6d.cli.render.table import Listing
from k6d.core.numbers import count, ms, percent
from k6d.core.text import printable

if TYPE_CHECKING:
    from k6d.core.measurements import Runner
    from k6d.core.model import Run

MAX_ROWS = 100
TITLES = ("requests", "errors", "p95", "exit code", "node")


def runners(run: Run) -> Group | None:
    """Return a row for each runner, and what went wrong with it; None for a run on one machine."""
    if not run.runners:
        return None
    table = Listing(name="runner", titles=TITLES, left=frozenset({"node"}))
    for one in run.runners[:MAX_ROWS]:
        table.add(Text(str(one.number)), *_cells(one))
    lines = [
        Text(printable(f"runner {one.number}: {one.error}"), "red")
        for one in run.runners
        if one.error
    ]
    if len(run.runners) > MAX_ROWS:
        lines.append(Text(f"and {len(run.runners) - MAX_ROWS} more (--json has all)"))
    return Group(table, *lines)


def _cells(one: Runner) -> tuple[str, ...]:
    code = "–" if one.exit_code is None else str(one.exit_code)
    node = printable(one.node or "–")
    return count(one.requests), percent(one.error_rate), ms(one.p95_ms), code, node
