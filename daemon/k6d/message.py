"""A run in the words of a chat message or a mail, as plain text and as HTML."""

from __future__ import annotations

import html
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k6d.units import count, ms, percent, plural, rate, seconds

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.model import Run

MAX_TITLE = 160
MAX_LINE = 400
MAX_FINDINGS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent: `title` on one line, the body in two forms, `level` as Apprise names it."""

    title: str
    text: str
    html: str
    level: str


def compose(run: Run, *, data: Path) -> Message:
    """The message about an anomalous run: worst finding first, numbers, how to look closer."""
    verdict, metrics = run.anomaly_analysis, run.metrics
    lead = verdict.issues[0] if verdict.issues else "no finding"
    findings = [_one_line(finding, MAX_LINE) for finding in verdict.issues[:MAX_FINDINGS]]
    if len(verdict.issues) > MAX_FINDINGS:
        findings.append(f"and {plural(len(verdict.issues) - MAX_FINDINGS, 'more finding')}")
    numbers = (
        f"{count(metrics.total_requests)} requests, {rate(metrics.requests_per_second)}, "
        f"average {ms(metrics.response_time_avg)}, p95 {ms(metrics.response_time_p95)}, "
        f"errors {percent(metrics.error_rate)}, {seconds(run.execution_time)}"
    )
    when = f"run {run.test_id}, {run.trigger}, {run.timestamp:%Y-%m-%d %H:%M:%S} UTC"
    command = f"k6d show {run.test_id} --data {shlex.quote(str(data))}"
    title = f"[{(verdict.severity or '').upper()}] {run.script}: {lead}"
    advice = [_one_line(text, MAX_LINE) for text in verdict.recommendations[:2]]
    if run.explanation and run.explanation.summary:
        advice.insert(0, _one_line(f"AI: {run.explanation.summary}", MAX_LINE + 100))
    if run.explanation and run.explanation.raised_from:
        raised = f"Severity raised from {run.explanation.raised_from} by the AI: "
        advice.insert(1, _one_line(raised + (run.explanation.raised_because or ""), MAX_LINE))
    lines = [*([numbers] if metrics.total_requests else []), *advice, when]
    return Message(
        title=harmless(_one_line(title, MAX_TITLE)),
        text=_text(findings, lines, command),
        html=_html(findings, lines, command),
        level="failure",
    )


def _text(findings: list[str], lines: list[str], command: str) -> str:
    bullets = "\n".join(f"• {finding}" for finding in findings)
    return harmless("\n\n".join([bullets, *lines])) + f"\n\n{command}"


def _html(findings: list[str], lines: list[str], command: str) -> str:
    bullets = "".join(f"<li>{html.escape(finding)}</li>" for finding in findings)
    paragraphs = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return f"<ul>{bullets}</ul>{paragraphs}<p><code>{html.escape(command)}</code></p>"


def harmless(text: str) -> str:
    """Text from scripts and responses that calls nobody: chat services act on @name and <!name>."""
    return text.replace("@", "@\u200b").replace("<!", "<\u200b!")


def _one_line(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
