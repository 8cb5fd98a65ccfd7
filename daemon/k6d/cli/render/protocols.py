"""Renders other protocols than HTTP, runners, and requests that are not judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from k6d.cli.render.runners import runners
from k6d.core.numbers import count, ms
from k6d.core.protocols import protocol_lines
from k6d.core.text import plural, printable

if TYPE_CHECKING:
    from k6d.core.measurements import Breakdown, RequestStats
    from k6d.core.model import Run

MAX_ROWS = 10


def beside(run: Run) -> list[Group | str]:
    """Return what else a run may have, each part after an empty line."""
    found = (runners(run), other_protocols(run), stands_apart(run.breakdown))
    return [part for group in found if group for part in ("", group)]


def other_protocols(run: Run) -> Group | None:
    """Return the metrics of WebSocket, gRPC and browser; None if the script uses none of them."""
    lines = []
    for title, found in protocol_lines(run.k6_metrics, run.breakdown.handshakes).items():
        lines += [Text(title, "dim"), *(Text(printable(line)) for line in found)]
    for rows in (run.breakdown.grpc_methods, run.breakdown.pages):
        lines += [Text(printable(_row(row, "call"))) for row in rows[:MAX_ROWS]]
        if len(rows) > MAX_ROWS:
            lines.append(Text(f"{len(rows) - MAX_ROWS} more (--json has all)"))
    return Group(*lines) if lines else None


def stands_apart(breakdown: Breakdown) -> Group | None:
    """Return the requests of setup and teardown and excluded requests; None if there are none."""
    if not breakdown.apart:
        return None
    lines = [Text("not judged", "dim")]
    for kind, rows in breakdown.apart.items():
        lines += [Text(printable(f"{kind}: {_row(row)}")) for row in rows[:MAX_ROWS]]
        if len(rows) > MAX_ROWS:
            lines.append(Text(f"{kind}: {plural(len(rows) - MAX_ROWS, 'more endpoint')}"))
    return Group(*lines)


def _row(row: RequestStats, what: str = "request") -> str:
    failed = f", {count(row.failed)} failed" if row.failed else ""
    times = f"average {ms(row.avg_ms)}, p95 {ms(row.p95_ms)}"
    return f"{row.title}: {plural(row.count, what)}, {times}{failed}"
