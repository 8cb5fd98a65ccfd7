"""Renders comparisons, trends and back-tests for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from k6d.analysis.change_point import shifts
from k6d.analysis.series import describe
from k6d.analysis.wording import title
from k6d.cli.render.before import changed
from k6d.cli.render.table import Listing, plain_table
from k6d.core.numbers import in_unit, number, points
from k6d.core.terms import CHANGED, LEARNING, WORSE
from k6d.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from k6d.core.model import Comparison, Run

# The order is that of the list.
STYLES = {
    WORSE: "red",
    CHANGED: "yellow",
    "better": "green",
    "steady": "dim",
    LEARNING: "yellow",
}
TOO_NOISY = "too noisy to judge"
MOST_POINTS, MOST_PERCENT = 50.0, 100.0  # a band this wide hides almost every change
CHART_HEIGHT = 16


def comparison_table(run: Run, other: Run | None, comparisons: Sequence[Comparison]) -> Group:
    """Return before, after, change, noise band and verdict of each series; regressions first."""
    against = f"run {other.test_id}" if other else "its baseline"
    titles = ("before", "after", "change", "noise band", "verdict")
    table = Listing(name="series", titles=titles, left=frozenset({"verdict"}))
    order = list(STYLES)
    for c in sorted(comparisons, key=lambda c: order.index(c.state)):
        style = STYLES[c.state]
        table.add(
            Text(title(c), style if c.state != "steady" else ""),
            in_unit(c.expected, c.unit),
            in_unit(c.observed, c.unit),
            changed(c),
            _noise(c),
            Text(_verdict(c), style),
        )
    head = Text(f"{run.script}: run {run.test_id} against {against}", "bold")
    if other and (run.confirmations or other.confirmations):
        head.append("\nof a run that was confirmed: the medians of it and its re-runs", "dim")
    return Group(head, table)


def _noise(c: Comparison) -> str:
    """Return the smallest change that is detected, in the same unit as `changed`."""
    if c.unit == "%" and c.expected is not None and c.high is not None:
        width = max(abs(bound - c.expected) for bound in (c.low, c.high) if bound is not None)
        return TOO_NOISY if width >= MOST_POINTS else f"± {points(width)}"
    if c.visible_percent is None:
        return "–"
    return TOO_NOISY if c.visible_percent >= MOST_PERCENT else f"± {number(c.visible_percent)} %"


def _verdict(c: Comparison) -> str:
    if c.state == LEARNING:
        return f"learning, {c.runs} of {c.needed}" if c.needed else "noise unknown"
    since = (
        f" since {c.since}"
        if c.since
        else f" ({c.seen} of {c.of})"
        if c.of > 1 and c.state == WORSE
        else ""
    )
    return f"{c.state}{since}"


def trend_chart(
    script: str,
    metric: str,
    points: Sequence[tuple[str, float]],
    band: Comparison | None,
    *,
    width: int,
) -> RenderableType:
    """Draw the series over its runs, with the latest baseline, its band and changes of level."""
    import plotext

    about, values = describe(metric), [value for _, value in points]
    found = shifts(values, floor=about.floor)
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, CHART_HEIGHT)
    plotext.scatter(list(range(1, len(values) + 1)), values, marker="•")
    if band and band.expected is not None:
        for level in (band.low, band.expected, band.high):
            plotext.hline(max(0.0, level or 0.0))
    since = band.since if band and band.state == WORSE else None
    marks = {shift.index + 1 for shift in found}
    marks |= {number for number, (test_id, _) in enumerate(points, 1) if test_id == since}
    for mark in marks:
        plotext.vline(mark)
    plotext.xticks(sorted({1, *marks, len(values)}))
    plotext.xlabel(f"run 1 to {len(values)}: {points[0][0]} to {points[-1][0]}")
    lines = [Text(f"{script}: {about.title}{f' in {about.unit}' if about.unit else ''}", "bold")]
    lines.append(Text.from_ansi(plotext.build()))
    if band and band.expected is not None:
        baseline = in_unit(band.expected, about.unit)
        low, high = (in_unit(max(0.0, v or 0.0), about.unit) for v in (band.low, band.high))
        lines.append(Text(f"lines across: baseline {baseline}, band {low} to {high}", "dim"))
    if since:
        lines.append(Text(f"worse since run {since}", "red"))
    for shift in found:
        change = "" if shift.change_pct is None else f" ({shift.change_pct:+.0f} %)"
        before, after = in_unit(shift.before, about.unit), in_unit(shift.after, about.unit)
        began = points[shift.index][0]
        lines.append(Text(f"line down: {before} → {after}{change} since run {began}", "dim"))
    return Group(*lines)


def backtest_report(results: Sequence[dict[str, Any]]) -> Group:
    """Render the alarms that the settings would give, and the steps that they would detect.

    A result with `current` has the same of the settings in force; both stand side by side.
    """
    parts: list[RenderableType] = []
    for result in results:
        new, current = _new(result), result.get("current")
        parts.append(
            Text(f"{result['script']}: {plural(result['runs'], 'comparable run')}", "bold")
        )
        summary = f"{plural(len(new), 'alarm')} before confirmation" if new else "no alarm"
        if current is not None:
            summary += f" with the settings tried, {len(_new(current)) or 'none'} with the current"
        parts.append(Text(summary, "red" if new else "green"))
        parts += _alarms(new, None if current is None else _new(current))
        if any(row.tried for row in result["steps"]):
            parts += [_steps_table(result["steps"], current and current["steps"]), Text("")]
        else:
            parts.append(Text("too few runs to put steps into", "dim"))
    return Group(*parts)


def _new(result: dict[str, Any]) -> list[Any]:
    return [alarm for alarm in result["alarms"] if not alarm.lasting]


def _alarms(tried: Sequence[Any], current: Sequence[Any] | None) -> list[Text]:
    """Return a line for each alarm; beside those of the current settings, who gives it."""
    if current is None:
        return [Text(f"  {alarm.test_id}  {alarm.what}") for alarm in tried]
    both = {alarm.test_id: alarm for alarm in (*current, *tried)}
    mine, theirs = ({alarm.test_id for alarm in found} for found in (tried, current))
    lines = []
    for test_id in sorted(both):
        word = "both" if test_id in mine & theirs else "tried" if test_id in mine else "current"
        style = {"tried": "red", "current": "green"}.get(word, "")
        lines.append(Text(f"  {word:7}  {test_id}  {both[test_id].what}", style))
    return lines


def _steps_table(rows: Sequence[Any], current: Sequence[Any] | None = None) -> Table:
    table = plain_table()
    names = ["seen within 5 runs", "after runs"]
    if current:
        names = [f"{which}: {name}" for which in ("tried", "current") for name in names]
    for name in ["step of p95", *names]:
        table.add_column(name, justify="right")
    for number_of, row in enumerate(rows):
        cells = _seen(row) + (_seen(current[number_of]) if current else ())
        table.add_row(f"+{row.step_percent} %", *cells)
    return table


def _seen(row: Any) -> tuple[str, str]:
    delay = "–" if row.delay_runs is None else number(row.delay_runs)
    return f"{row.seen} of {row.tried}", delay
