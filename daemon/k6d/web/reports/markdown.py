"""Writes a run as a short Markdown summary for a pull request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from k6d.core.numbers import count, escaped, ms, percent, rate, seconds
from k6d.core.text import group, removed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from k6d.core.model import Run

MOST_ROWS = 10
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~<>@-])")


def write_markdown(run: Run) -> str:
    """Return verdict, findings, totals, slowest endpoints, crossed thresholds and failed checks."""
    verdict, m = run.anomaly_analysis, run.judged
    word = run.verdict.upper() if verdict.severity else run.verdict
    parts = [f"### k6: {_text(run.script)}: {word}"]
    if verdict.findings:
        parts.append(
            _bullets(
                (f"**{f.severity}**: " if verdict.severity else "") + _text(f.message)
                for f in verdict.findings
            )
        )
    parts.append(
        "| requests | rate | errors | average | p95 | p99 | VUs |\n|--:|--:|--:|--:|--:|--:|--:|\n"
        f"| {count(m.total_requests)} | {rate(m.requests_per_second)} | {percent(m.error_rate)} "
        f"| {ms(m.response_time_avg)} | {ms(m.response_time_p95)} | {ms(m.response_time_p99)} "
        f"| {count(m.virtual_users)} |"
    )
    if run.breakdown.endpoints:
        parts.append(_endpoints(run))
    crossed = [t for t in run.thresholds if t.crossed]
    if crossed:
        lines = (f"{_text(t.metric)}: {_text(t.expression)}" for t in crossed)
        parts.append(f"Thresholds crossed:\n\n{_bullets(lines)}")
    failed = [c for c in run.checks if c.fails]
    if failed:
        lines = (
            f"{_text(group(c.group, c.name))}: {c.fails} of {c.passes + c.fails}" for c in failed
        )
        parts.append(f"Checks failed:\n\n{_bullets(lines)}")
    if run.removed:
        parts.append(removed(run.removed))
    parts.append(
        f"<sub>run {run.test_id}, {run.timestamp:%Y-%m-%d %H:%M} UTC, "
        f"{seconds(run.execution_time)}</sub>"
    )
    return "\n\n".join(parts) + "\n"


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


def _endpoints(run: Run) -> str:
    slowest = sorted(run.breakdown.endpoints, key=lambda row: -(row.p95_ms or 0))[:MOST_ROWS]
    rows = "\n".join(
        f"| {_text(row.title)} | {count(row.count)} | {percent(row.error_rate)} "
        f"| {ms(row.p95_ms)} |"
        for row in slowest
    )
    return f"| endpoint (slowest first) | requests | errors | p95 |\n|---|--:|--:|--:|\n{rows}"


def _bullets(lines: Iterable[str]) -> str:
    kept = list(lines)
    more = [f"and {len(kept) - MOST_ROWS} more"] if len(kept) > MOST_ROWS else []
    return "\n".join(f"- {line}" for line in [*kept[:MOST_ROWS], *more])


def _text(text: str) -> str:
    """Put text from scripts and responses on one line, and escape Markdown's special characters."""
    return _SPECIAL.sub(r"\\\1", " ".join(escaped(text).split()))
