"""Writes a run as a short Markdown summary for a pull request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.numbers import against_threshold, count, escaped, ms, percent, seconds
from k6d.core.text import group, plural, removed
from k6d.web.rendering import run_view

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from k6d.core.model import Run

MOST_ROWS = 10
MOST_ENDPOINTS = 50
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~<>@-])")


def write_markdown(run: Run) -> str:
    """Return verdict, findings, next step and totals; the rest is in a section that opens."""
    return "\n\n".join(_parts(run)) + "\n"


def write_markdown_of(runs: Sequence[Run], not_run: Mapping[str, str] | None = None) -> str:
    """Return a table of several runs, then each of them; `not_run`: scripts without, and why."""
    rows = [
        f"| {_text(run.script)} | {run.verdict} | {count(run.judged.total_requests)} "
        f"| {percent(run.judged.error_rate)} | {ms(run.judged.response_time_p95)} |"
        for run in runs
    ]
    rows += [
        f"| {_text(script)} | not run: {_text(why)} | – | – | – |"
        for script, why in (not_run or {}).items()
    ]
    head = "| script | verdict | requests | errors | p95 |\n|---|---|--:|--:|--:|\n"
    return "\n".join([head + "\n".join(rows), "", *map(write_markdown, runs)])


def _parts(run: Run) -> Iterator[str]:
    verdict = run.anomaly_analysis
    record: dict[str, Any] = orjson.loads(orjson.dumps(run))
    word = run.verdict.upper() if verdict.severity else run.verdict
    yield f"### k6: {_text(run.script)}: {word}"
    if verdict.findings:
        yield _bullets(
            (f"**{f.severity}**: " if verdict.severity else "") + _text(f.message)
            for f in verdict.findings
        )
    elif run.execution.error:
        yield _bullets([_text(run.execution.error)])
    if verdict.recommendations:
        yield f"Next step: {_text(verdict.recommendations[0])}"
    totals = [*run_view.totals(record), *run_view.others(record)]
    totals += [row | {"title": f"target: {row['title']}"} for row in run_view.target(record)]
    if totals:
        yield _table(("metric", "before", "now", "change"), map(_total, totals))
    if learned := run_view.learned(record):
        yield f"No baseline yet: {learned}."
    yield from _more(run, record)
    if run.removed:
        yield removed(run.removed)
    yield (
        f"<sub>run {run.test_id}, {run.timestamp:%Y-%m-%d %H:%M} UTC, "
        f"{seconds(run.execution_time)}</sub>"
    )


def _total(row: dict[str, Any]) -> tuple[str, ...]:
    change = row["change"] or ""
    shown = f"**{change}**" if row["state"] == "worse" and change else change
    return _text(row["title"]), row["was"] or "", row["value"], shown


def _more(run: Run, record: dict[str, Any]) -> Iterator[str]:
    """Endpoints, thresholds and checks, in a section that opens at a click."""
    sections = [part for part in (_endpoints(record), _thresholds(run), _checks(run)) if part]
    if not sections:
        return
    summary = ", ".join(
        plural(len(found), noun)
        for found, noun in (
            (run.breakdown.endpoints, "endpoint"),
            (run.thresholds, "threshold"),
            (run.checks, "check"),
        )
        if found
    )
    yield "\n\n".join([f"<details><summary>{summary}</summary>", *sections, "</details>"])


def _endpoints(record: dict[str, Any]) -> str:
    rows = run_view.endpoints(record)
    if not rows:
        return ""
    columns = ("endpoint, the worst first", "p95 before", "p95", "errors before", "errors", "calls")
    cells = (
        (
            _text(f"{row['method']} {row['name']}" if row["method"] else row["name"]),
            row["p95"]["was"] or "",
            _bold(ms(row["p95_ms"]), row["p95"]),
            row["errors"]["was"] or "",
            _bold(percent(row["error_rate"]), row["errors"]),
            count(row["count"]),
        )
        for row in rows[:MOST_ENDPOINTS]
    )
    return _table(columns, cells) + _rest(len(rows) - MOST_ENDPOINTS)


def _rest(left_out: int) -> str:
    return f"\n\nand {left_out} more" if left_out > 0 else ""


def _bold(text: str, beside: dict[str, Any]) -> str:
    return f"**{text}**" if beside["state"] == "worse" else text


def _thresholds(run: Run) -> str:
    rows = sorted(run.thresholds, key=lambda one: not one.crossed)
    cells = (
        (
            "**crossed**" if one.crossed else "kept",
            f"{_text(one.metric)}: {_text(one.expression)}",
            "" if one.observed is None else against_threshold(one.observed, one.expression),
        )
        for one in rows[:MOST_ROWS]
    )
    titles = ("", "threshold", "observed")
    return _table(titles, cells) + _rest(len(rows) - MOST_ROWS) if rows else ""


def _checks(run: Run) -> str:
    rows = sorted(run.checks, key=lambda one: -one.fails)
    cells = (
        (
            "**failed**" if one.fails else "passed",
            _text(group(one.group, one.name)),
            f"{one.fails:,} of {one.passes + one.fails:,}",
        )
        for one in rows[:MOST_ROWS]
    )
    return _table(("", "check", "failed"), cells) + _rest(len(rows) - MOST_ROWS) if rows else ""


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the columns after the first text are numbers, to the right."""
    left = 2 if not titles[0] else 1
    marks = ["---" if number < left else "--:" for number in range(len(titles))]
    lines = [titles, marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bullets(lines: Iterable[str]) -> str:
    kept = list(lines)
    more = [f"and {len(kept) - MOST_ROWS} more"] if len(kept) > MOST_ROWS else []
    return "\n".join(f"- {line}" for line in [*kept[:MOST_ROWS], *more])


def _text(text: str) -> str:
    """Put text from scripts and responses on one line, and escape Markdown's special characters."""
    return _SPECIAL.sub(r"\\\1", " ".join(escaped(text).split()))
