"""Renders statistics for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from k6d.cli.render.cells import cell
from k6d.cli.render.table import plain_table
from k6d.core.numbers import count, percent
from k6d.core.text import plural

if TYPE_CHECKING:
    from rich.console import RenderableType

    from k6d.storage.query import Statistics

MAX_ROWS = 20
BAR_WIDTH, DAY_WIDTH = 40, 29  # columns of a day's bar, and of the text before it


def statistics_report(found: Statistics, *, width: int = 80) -> RenderableType:
    """Render statistics: totals, a line for each day, and the scripts with most anomalies.

    `width` is the width of the terminal; the bars are scaled to it.
    """
    share = percent(found.anomaly_rate * 100)
    severities = ", ".join(f"{n} {word}" for word, n in found.severity_breakdown.items())
    head = f"{plural(found.total_tests, 'run')} in {plural(found.period_days, 'day')}, "
    head += f"{found.anomaly_tests:,} anomalous ({share})" + (
        f": {severities}" if severities else ""
    )
    if found.imported_tests:
        head += f"; {found.imported_tests:,} were imported"
    days = plain_table()
    days.add_column("day (UTC)", no_wrap=True)
    for title in ("runs", "anomalous"):
        days.add_column(title, justify="right")
    days.add_column("")
    most = max((day.total for day in found.days), default=0) or 1
    longest = min(BAR_WIDTH, max(1, width - DAY_WIDTH))
    if len(found.days) > MAX_ROWS:
        head += f"; the last {MAX_ROWS} days, --csv has all"
    for day in found.days[-MAX_ROWS:]:
        bad = round(day.anomalies / most * longest)
        rest = round(day.total / most * longest) - bad
        bar = Text.assemble(("█" * bad, "red"), ("█" * max(rest, 0), "dim"))
        days.add_row(day.day, count(day.total), count(day.anomalies), bar)
    if not found.scripts:
        return Group(Text(head, "bold"), "", days)
    scripts = plain_table()
    scripts.add_column("script", overflow="fold")
    for title in ("runs", "anomalous"):
        scripts.add_column(title, justify="right")
    worst = sorted(found.scripts, key=lambda row: (-row["anomalies"], row["script"]))
    for row in worst[:MAX_ROWS]:
        scripts.add_row(cell(row["script"]), count(row["total"]), count(row["anomalies"]))
    return Group(Text(head, "bold"), "", days, "", scripts)
