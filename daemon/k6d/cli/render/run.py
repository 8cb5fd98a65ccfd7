"""Renders a run for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from k6d.cli.render.before import changes
from k6d.cli.render.cells import CONTROLS, STYLES, cell, clean, verdict_cell
from k6d.cli.render.protocols import beside
from k6d.cli.render.spark import BARS_WIDTH, spark
from k6d.cli.render.table import Listing
from k6d.cli.render.target import target
from k6d.core.numbers import against_threshold, count, largest, ms, number, percent, rate, seconds
from k6d.core.tags import tags_line
from k6d.core.terms import HEALTHY
from k6d.core.text import common_origin, group, plural, removed

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from k6d.core.measurements import Breakdown, Log, RequestStats, Timeline
    from k6d.core.model import Explanation, Run, Verdict

MAX_ROWS = 20
_CONTROLS_OF_A_LINE = {c: s for c, s in CONTROLS.items() if chr(c) not in "\n\t"}
MIN_BARS = 10


def run_report(run: Run, *, log: bool = False) -> RenderableType:
    """Render a run; `log` adds k6's log and output."""
    from k6d.core.measurements import Metrics  # the other tables show no run

    parts: list[RenderableType] = [_headline(run)]
    if run.metrics != Metrics():
        parts += ["", _numbers(run)]
    if _has_words(run.anomaly_analysis):
        parts += ["", _findings(run.anomaly_analysis)]
    parts += changes(run)
    if run.explanation:
        parts += ["", _explanation(run.explanation)]
    if run.breakdown.endpoints:
        parts += ["", _endpoints(run.breakdown)]
    if run.thresholds:
        parts += ["", _thresholds(run)]
    if run.checks:
        parts += ["", _checks(run)]
    parts += [*beside(run), *target(run)]
    if custom := {n: run.k6_metrics[n] for n in run.custom_metrics if n in run.k6_metrics}:
        parts += ["", _custom(custom)]
    if len(run.breakdown.timeline.t) > 1:
        parts += ["", _Timeline(run.breakdown.timeline)]
    notes = filter(None, [*run.breakdown.notes, removed(run.removed)])
    parts += [cell(f"note: {note}", "dim") for note in notes]
    parts += [cell(f"file: {file.name}, {file.bytes:,} bytes", "dim") for file in run.files]
    if log:
        parts += ["", _log("k6's log", run.log), "", _log("k6's output", run.output)]
    return Group(*parts)


def _headline(run: Run) -> Text:
    word = run.verdict
    title = word if word == HEALTHY else word.upper()
    origin = [f"commit {run.commit.line}"] if run.commit else []
    origin += [f"tags {tags_line(run.tags)}"] if run.tags else []
    return Text.assemble(
        (f" {title} ", f"reverse {STYLES.get(word, 'dim')}"),
        (f" {clean(run.script)}", "bold"),
        f"\n run {run.test_id}, {f'to confirm {run.confirms}' if run.confirms else run.trigger}, "
        f"{run.timestamp:%Y-%m-%d %H:%M:%S} UTC, "
        f"{seconds(run.execution_time)}",
        *(f"\n {clean(line)}" for line in origin),
    )


def _numbers(run: Run) -> Listing:
    m = run.judged
    titles = ("requests", "per second", "errors", "average", "p95", "p99", "max", "VUs", "checks")
    checks = None if m.checks_passed is None else (m.checks_passed, m.checks_failed or 0)
    found = Listing(name="", titles=titles)
    found.add(
        Text(),
        count(m.total_requests),
        rate(m.requests_per_second),
        percent(m.error_rate),
        ms(m.response_time_avg),
        ms(m.response_time_p95),
        ms(m.response_time_p99),
        ms(m.response_time_max),
        count(m.virtual_users),
        "–" if checks is None else f"{checks[0]:,} ✓ {checks[1]:,} ✗",
    )
    return found


def _findings(verdict: Verdict) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", min_width=8)
    table.add_column(overflow="fold")
    for finding in verdict.findings:
        # An inconclusive run has no severity: its finding is not about the target.
        word = verdict_cell(finding.severity) if verdict.severity else Text()
        table.add_row(word, cell(finding.message))
        table.add_row("", cell(f"→ {finding.recommendation}", "dim"))
    for label, lines in _asides(verdict).items():
        for line in lines:
            table.add_row(Text(label, "green" if label == "better" else "dim"), cell(line, "dim"))
    return table


def _asides(verdict: Verdict) -> dict[str, list[str]]:
    """Return the remarks that are shown after the findings and never cause an alarm."""
    return {
        "better": verdict.improvements,
        "noise": verdict.noise,
        "moment": verdict.remarks,
        "doubt": verdict.doubts,
    }


def _has_words(verdict: Verdict) -> bool:
    return bool(verdict.findings) or any(_asides(verdict).values())


def _explanation(explanation: Explanation) -> Group:
    """Render the explanation, marked as made by AI; or one line why there is none."""
    if explanation.unavailable is not None:
        return Group(Text(f"no AI part: {explanation.unavailable}", "dim"))
    sure = "" if explanation.confidence is None else f", confidence {explanation.confidence:g}"
    opinion = explanation.severity or "no anomaly"
    lines = [
        Text(f"{explanation.model} (AI): {opinion}{sure}", "dim"),
        Text(f"         {explanation.summary}"),
        *(Text.assemble((" suspects ", "magenta"), issue) for issue in explanation.issues),
        *(Text(f"         → {advice}", "dim") for advice in explanation.recommendations),
    ]
    if explanation.raised_from:
        because = f"raised from {explanation.raised_from}: {explanation.raised_because}"
        lines.append(Text(f"         {because}", "magenta"))
    return Group(*lines)


def _endpoints(breakdown: Breakdown) -> Group:
    rows = breakdown.endpoints
    origin = common_origin(row.name for row in rows)
    titles = ("requests", "per second", "errors", "average", "p50", "p95", "p99")
    found = Listing(name="", titles=titles, whole=True)
    for row in rows[:MAX_ROWS]:
        name = Text(clean(row.title.replace(origin, "", 1)))
        found.add(name, *_endpoint_numbers(row))
    parts: list[RenderableType] = [
        cell(f"endpoints of {origin}" if origin else "endpoints", "dim"),
        found,
    ]
    if len(rows) > MAX_ROWS:
        parts.append(Text(f"and {len(rows) - MAX_ROWS} more (--json has all)", "dim"))
    if answers := _answers(breakdown):
        parts.append(cell(f"answers: {answers}", "dim"))
    return Group(*parts)


def _endpoint_numbers(row: RequestStats) -> tuple[str, ...]:
    times = map(ms, (row.avg_ms, row.p50_ms, row.p95_ms, row.p99_ms))
    return (count(row.count), rate(row.rate), percent(row.error_rate), *times)


def _answers(breakdown: Breakdown) -> str:
    """Return requests by HTTP status, and unanswered requests by k6's error."""
    statuses = {f"HTTP {code}": n for code, n in breakdown.status_codes.items() if code != "0"}
    counts = {**statuses, **breakdown.errors}
    return ", ".join(f"{what} {plural(n, 'time')}" for what, n in counts.items())


def _thresholds(run: Run) -> Group:
    lines = []
    for threshold in run.thresholds:
        mark = ("✗ ", "red") if threshold.crossed else ("✓ ", "green")
        text = f"{threshold.metric}: {threshold.expression}"
        if threshold.observed is not None:
            text += f"  ({against_threshold(threshold.observed, threshold.expression)})"
        lines.append(Text.assemble(mark, clean(text)))
        if threshold.doubt:
            lines.append(cell(f"  doubt: {threshold.doubt}", "dim"))
    return Group(Text("thresholds", "dim"), *lines)


def _checks(run: Run) -> Group:
    lines = []
    for check in run.checks[:MAX_ROWS]:
        mark = ("✗ ", "red") if check.fails else ("✓ ", "green")
        text = group(check.group, check.name)
        if check.fails:
            text += f"  ({check.fails:,} of {check.passes + check.fails:,} failed)"
        lines.append(Text.assemble(mark, clean(text)))
    if len(run.checks) > MAX_ROWS:
        lines.append(Text(f"and {len(run.checks) - MAX_ROWS} more (--json has all)"))
    return Group(Text("checks", "dim"), *lines)


def _custom(metrics: dict[str, dict[str, float]]) -> Group:
    lines = []
    for name, stats in list(metrics.items())[:MAX_ROWS]:
        values = "  ".join(f"{stat} {number(v)}" for stat, v in stats.items())
        lines.append(cell(f"{name}: {values}"))
    return Group(Text("custom metrics", "dim"), *lines)


class _Timeline:
    """Requests, p95 and errors over the run as rows of bars that fit the terminal."""

    def __init__(self, timeline: Timeline) -> None:
        requests, errors = timeline.requests_per_second, timeline.errors_per_second
        self._title = f"over {seconds(timeline.t[-1])}"
        self._rows: list[tuple[str, list[float | None], str]] = [
            ("requests/s", requests, rate(largest(requests))),
            ("p95", timeline.p95_ms, ms(largest(timeline.p95_ms))),
            ("errors/s", errors, rate(largest(errors))),
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self._title, "dim")
        ends = [f" up to {top}" for _, _, top in self._rows]
        width = max(MIN_BARS, min(BARS_WIDTH, options.max_width - 11 - max(map(len, ends))))
        for (name, values, _), end in zip(self._rows, ends, strict=True):
            yield Text(f"{name:>10} {spark(values, width)}{end}")


def _log(title: str, log: Log) -> Group:
    lines = [Text(title if log.head else f"{title}: empty", "dim"), _as_it_is(log.head)]
    if log.cut_lines:
        lines.append(Text(f"… {plural(log.cut_lines, 'line')} not kept …", "dim"))
        lines.append(_as_it_is(log.tail))
    return Group(*lines)


def _as_it_is(text: str) -> Text:
    """Return lines that are never wrapped, so that a search finds them."""
    return Text(text.translate(_CONTROLS_OF_A_LINE), no_wrap=True, overflow="ignore")
