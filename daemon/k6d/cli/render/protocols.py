"""Renders other protocols than HTTP, and requests that are not judged, for the terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from k6d.core.numbers import count, in_unit, ms, number, percent
from k6d.core.text import plural, printable

if TYPE_CHECKING:
    from k6d.core.measurements import Breakdown, RequestStats
    from k6d.core.model import Run

MAX_ROWS = 10
_PROTOCOLS = {"WebSocket": "ws_", "gRPC": "grpc_", "browser": "browser_"}
# k6's time metrics, in milliseconds; cumulative layout shift (cls) has no unit.
_TIME = re.compile(r"(connecting|duration|ping|web_vital_(?!cls)\w+)$")
_STATS = ("avg", "p(95)", "max", "count", "value")


def beside(run: Run) -> list[Group | str]:
    """Return both parts of the report, each after an empty line."""
    found = (other_protocols(run), stands_apart(run.breakdown))
    return [part for group in found if group for part in ("", group)]


def other_protocols(run: Run) -> Group | None:
    """Return the metrics of WebSocket, gRPC and browser; None if the script uses none of them."""
    lines = []
    for title, start in _PROTOCOLS.items():
        rows = [
            Text(printable(_metric(name, stats)))
            for name, stats in run.k6_metrics.items()
            if name.startswith(start) and any(stats.values())
        ]
        lines += [Text(title, "dim"), *rows[:MAX_ROWS]] if rows else []
    if run.breakdown.handshakes:
        said = ", ".join(
            f"{'no answer' if status == '0' else f'HTTP {status}'} {count(n)}"
            for status, n in run.breakdown.handshakes.items()
        )
        lines.append(Text(printable(f"handshakes: {said}")))
    return Group(*lines) if lines else None


def _metric(name: str, stats: dict[str, float]) -> str:
    if "passes" in stats:
        total = stats["passes"] + stats.get("fails", 0)
        return f"{name}: {percent(100 * stats.get('value', 0.0))} of {total:,.0f}"
    unit = "ms" if _TIME.search(name.partition("{")[0]) else ""
    shown = (
        f"{stat} {number(stats[stat]) if stat == 'count' else in_unit(stats[stat], unit)}"
        for stat in _STATS
        if stat in stats
    )
    return f"{name}: {'  '.join(shown)}"


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


def _row(row: RequestStats) -> str:
    failed = f", {count(row.failed)} failed" if row.failed else ""
    return f"{row.title}: {plural(row.count, 'request')}, average {ms(row.avg_ms)}{failed}"
