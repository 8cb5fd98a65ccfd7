"""Renders histories, lists of scripts and batches for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from k6d.cli.render.cells import cell, verdict_cell
from k6d.cli.render.table import Listing
from k6d.core.numbers import count, ms, number, percent
from k6d.core.terms import HEALTHY, Trigger, verdict_word
from k6d.core.text import brief, one_line, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from k6d.core.model import Run


def history_table(documents: Iterable[dict[str, Any]]) -> Listing:
    """Return one line per index document, in the given order; an id begins with its UTC time."""
    titles = ("verdict", "p95", "errors", "req/s")
    table = Listing(
        name="script",
        first="run (UTC)",
        titles=titles,
        left=frozenset({"verdict"}),
        remark="finding",
    )
    for row in documents:
        word = verdict_word(row["severity"], row["outcome"])
        again = row["trigger"] == Trigger.CONFIRMATION
        shown = Text() if again and word == HEALTHY else verdict_cell(word)
        if again:
            shown.append(" re-run" if shown else "re-run", "dim")
        elif row["trigger"] == Trigger.IMPORTED:
            shown.append(" imported", "dim")
        table.add(
            cell(row["script"]),
            shown,
            ms(row["response_time_p95"]),
            percent(row["error_rate"]),
            number(row["requests_per_second"]) if row["requests_per_second"] else "–",
            first=row["test_id"],
            remark=brief(row.get("issue") or ""),
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
        parts.append(Text(f"{plural(len(alone), 'file')} skipped (not a test):", "dim"))
        parts += [
            Text(f"{one_line(row['script'], 300)}: {one_line(row['left_alone'], 300)}")
            for row in alone
        ]
    return Group(*parts)


def _scripts_table(rows: Iterable[dict[str, Any]]) -> Listing:
    """Return name, kind and last run of each script."""
    titles = ("kind", "last verdict", "last run (UTC)", "p95", "errors")
    left = frozenset(titles[:3])
    table = Listing(name="script", titles=titles, left=left, remark="finding")
    for row in rows:
        last = row["last_run"]
        table.add(
            cell(row["script"]),
            _kind(row),
            verdict_cell(verdict_word(last["severity"], last["outcome"]))
            if last
            else Text("–", "dim"),
            last["timestamp"][:16].replace("T", " ") if last else "–",
            ms(last["response_time_p95"]) if last else "–",
            percent(last["error_rate"]) if last else "–",
            remark=brief((last and last.get("issue")) or ""),
        )
    return table


def batch_table(runs: Sequence[Run]) -> RenderableType:
    """Render several runs: verdict and numbers of each, then the worst finding of each."""
    titles = ("run", "requests", "errors", "p95")
    table = Listing(name="script", first="verdict", titles=titles, left=frozenset({"run"}))
    findings = []
    for run in runs:
        judged, verdict = run.judged, run.anomaly_analysis
        table.add(
            cell(run.script),
            run.test_id,
            count(judged.total_requests),
            percent(judged.error_rate),
            ms(judged.response_time_p95),
            first=verdict_cell(run.verdict),
        )
        worst = (
            [f.message for f in verdict.findings] or verdict.issues or [run.execution.error or ""]
        )
        if run.verdict != HEALTHY and worst[0]:
            findings.append(Text(one_line(f"{run.script}: {worst[0]}", 300)))
    return Group(table, *findings)
