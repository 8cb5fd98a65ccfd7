"""Renders runs, histories and lists of scripts for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from k6d.cli.render.before import changes
from k6d.cli.render.protocols import beside
from k6d.cli.render.table import Listing, plain_table
from k6d.core.numbers import against_threshold, count, largest, ms, number, percent, rate, seconds
from k6d.core.tags import tags_line
from k6d.core.terms import HEALTHY, Trigger, verdict_word
from k6d.core.text import common_origin, group, one_line, plural, removed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from k6d.core.measurements import Breakdown, Log, RequestStats, Timeline
    from k6d.core.model import Explanation, Run, Verdict
    from k6d.storage.query import Statistics

STYLES = {
    "healthy": "green",
    "low": "yellow",
    "medium": "yellow",
    "high": "red",
    "critical": "bold red",
}
MAX_ROWS = 20
# Names and log lines come from outside: without this, they could move the cursor or break a row.
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "\ufffd")
_CONTROLS_OF_A_LINE = {c: s for c, s in _CONTROLS.items() if chr(c) not in "\n\t"}
BAR_WIDTH, DAY_WIDTH = 40, 29  # columns of a day's bar, and of the text before it
BARS_WIDTH, MIN_BARS = 60, 10
BARS = "▁▂▃▄▅▆▇█"


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
    parts += beside(run)
    if custom := {n: run.k6_metrics[n] for n in run.custom_metrics if n in run.k6_metrics}:
        parts += ["", _custom(custom)]
    if len(run.breakdown.timeline.t) > 1:
        parts += ["", _Timeline(run.breakdown.timeline)]
    notes = filter(None, [*run.breakdown.notes, removed(run.removed)])
    parts += [_text(f"note: {note}", "dim") for note in notes]
    parts += [_text(f"file: {file.name}, {file.bytes:,} bytes", "dim") for file in run.files]
    if log:
        parts += ["", _log("k6's log", run.log), "", _log("k6's output", run.output)]
    return Group(*parts)


def _clean(text: str) -> str:
    return text.translate(_CONTROLS)


def _text(text: str, style: str = "") -> Text:
    return Text(_clean(text), style)


def _styled(word: str) -> Text:
    return Text(word, STYLES.get(word, "dim"))


def _headline(run: Run) -> Text:
    word = run.verdict
    title = word if word == HEALTHY else word.upper()
    origin = [f"commit {run.commit.line}"] if run.commit else []
    origin += [f"tags {tags_line(run.tags)}"] if run.tags else []
    return Text.assemble(
        (f" {title} ", f"reverse {STYLES.get(word, 'dim')}"),
        (f" {_clean(run.script)}", "bold"),
        f"\n run {run.test_id}, {f'to confirm {run.confirms}' if run.confirms else run.trigger}, "
        f"{run.timestamp:%Y-%m-%d %H:%M:%S} UTC, "
        f"{seconds(run.execution_time)}",
        *(f"\n {_clean(line)}" for line in origin),
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
        word = _styled(finding.severity) if verdict.severity else Text()
        table.add_row(word, _text(finding.message))
        table.add_row("", _text(f"→ {finding.recommendation}", "dim"))
    for label, lines in _asides(verdict).items():
        for line in lines:
            table.add_row(Text(label, "green" if label == "better" else "dim"), _text(line, "dim"))
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
        name = Text(_clean(row.title.replace(origin, "", 1)))
        found.add(name, *_endpoint_numbers(row))
    parts: list[RenderableType] = [
        _text(f"endpoints of {origin}" if origin else "endpoints", "dim"),
        found,
    ]
    if len(rows) > MAX_ROWS:
        parts.append(Text(f"and {len(rows) - MAX_ROWS} more (--json has all)", "dim"))
    if answers := _answers(breakdown):
        parts.append(_text(f"answers: {answers}", "dim"))
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
        lines.append(Text.assemble(mark, _clean(text)))
        if threshold.doubt:
            lines.append(_text(f"  doubt: {threshold.doubt}", "dim"))
    return Group(Text("thresholds", "dim"), *lines)


def _checks(run: Run) -> Group:
    lines = []
    for check in run.checks[:MAX_ROWS]:
        mark = ("✗ ", "red") if check.fails else ("✓ ", "green")
        text = group(check.group, check.name)
        if check.fails:
            text += f"  ({check.fails:,} of {check.passes + check.fails:,} failed)"
        lines.append(Text.assemble(mark, _clean(text)))
    if len(run.checks) > MAX_ROWS:
        lines.append(Text(f"and {len(run.checks) - MAX_ROWS} more (--json has all)"))
    return Group(Text("checks", "dim"), *lines)


def _custom(metrics: dict[str, dict[str, float]]) -> Group:
    lines = []
    for name, stats in list(metrics.items())[:MAX_ROWS]:
        values = "  ".join(f"{stat} {number(v)}" for stat, v in stats.items())
        lines.append(_text(f"{name}: {values}"))
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


def spark(values: list[float | None], width: int = BARS_WIDTH) -> str:
    """Draw values as bars from zero to their maximum, with a gap where nothing was measured."""
    per_bar = max(1, -(-len(values) // width))
    bars = [largest(values[i : i + per_bar]) for i in range(0, len(values), per_bar)]
    top = largest(bars)
    if not top:
        return "".join(" " if v is None else BARS[0] for v in bars)
    return "".join(" " if v is None else BARS[round(v / top * (len(BARS) - 1))] for v in bars)


def _log(title: str, log: Log) -> Group:
    lines = [Text(title if log.head else f"{title}: empty", "dim"), _as_it_is(log.head)]
    if log.cut_lines:
        lines.append(Text(f"… {plural(log.cut_lines, 'line')} not kept …", "dim"))
        lines.append(_as_it_is(log.tail))
    return Group(*lines)


def _as_it_is(text: str) -> Text:
    """Return lines that are never wrapped, so that a search finds them."""
    return Text(text.translate(_CONTROLS_OF_A_LINE), no_wrap=True, overflow="ignore")


def history_table(documents: Iterable[dict[str, Any]]) -> Listing:
    """Return one line per index document, in the given order; an id begins with its UTC time."""
    titles = ("verdict", "p95", "errors", "req/s")
    table = Listing(name="script", first="run (UTC)", titles=titles, left=frozenset({"verdict"}))
    for row in documents:
        word = verdict_word(row["severity"], row["outcome"])
        again = row["trigger"] == Trigger.CONFIRMATION
        shown = Text() if again and word == HEALTHY else _styled(word)
        if again:
            shown.append(" re-run" if shown else "re-run", "dim")
        elif row["trigger"] == Trigger.IMPORTED:
            shown.append(" imported", "dim")
        table.add(
            _text(row["script"]),
            shown,
            ms(row["response_time_p95"]),
            percent(row["error_rate"]),
            number(row["requests_per_second"]) if row["requests_per_second"] else "–",
            first=row["test_id"],
        )
    return table


def _kind(row: dict[str, Any]) -> str:
    if not row["in_folder"]:
        return str(row["place"])
    if row.get("disabled"):
        return "disabled"
    return f"waits for {row['missing']}" if row["missing"] else row["kind"] or "not looked at yet"


def scripts_report(rows: Sequence[dict[str, Any]]) -> RenderableType:
    """Render `k6d scripts`: the scripts, then the files that are not tests, with the reason."""
    alone = [row for row in rows if row["left_alone"] and not row["last_run"]]
    tests = [row for row in rows if row not in alone]
    parts: list[RenderableType] = [_scripts_table(tests)] if tests else []
    if alone:
        parts.append(Text(f"{plural(len(alone), 'file')} left alone, being no test:", "dim"))
        parts += [
            Text(f"{one_line(row['script'], 300)}: {one_line(row['left_alone'], 300)}")
            for row in alone
        ]
    return Group(*parts)


def _scripts_table(rows: Iterable[dict[str, Any]]) -> Listing:
    """Return name, kind and last run of each script."""
    titles = ("kind", "last verdict", "last run (UTC)", "p95", "errors")
    table = Listing(name="script", titles=titles, left=frozenset(titles[:3]))
    for row in rows:
        last = row["last_run"]
        table.add(
            _text(row["script"]),
            _kind(row),
            _styled(verdict_word(last["severity"], last["outcome"])) if last else Text("–", "dim"),
            last["timestamp"][:16].replace("T", " ") if last else "–",
            ms(last["response_time_p95"]) if last else "–",
            percent(last["error_rate"]) if last else "–",
        )
    return table


def batch_table(runs: Sequence[Run]) -> RenderableType:
    """Render several runs: verdict and numbers of each, with the worst finding below it."""
    table = plain_table()
    for title in ("verdict", "script", "run", "requests", "errors", "p95"):
        table.add_column(title, overflow="fold")
    for run in runs:
        judged, verdict = run.judged, run.anomaly_analysis
        table.add_row(
            _styled(run.verdict),
            _text(run.script),
            run.test_id,
            count(judged.total_requests),
            percent(judged.error_rate),
            ms(judged.response_time_p95),
        )
        worst = (
            [f.message for f in verdict.findings] or verdict.issues or [run.execution.error or ""]
        )
        if run.verdict != HEALTHY and worst[0]:
            table.add_row("", _text(one_line(worst[0], 300), "dim"))
    return table


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
    scripts = plain_table()
    scripts.add_column("script", overflow="fold")
    for title in ("runs", "anomalous"):
        scripts.add_column(title, justify="right")
    worst = sorted(found.scripts, key=lambda row: (-row["anomalies"], row["script"]))
    for row in worst[:MAX_ROWS]:
        scripts.add_row(_text(row["script"]), count(row["total"]), count(row["anomalies"]))
    return Group(Text(head, "bold"), "", days, "", scripts)
