"""Render messages as one title and one body: plain text, Markdown for chats, HTML for mail.

Texts from scripts and responses are untrusted: each format escapes them in its own way, and
`harmless` disables mentions such as @name in all of them.
"""

from __future__ import annotations

import html
import re
from dataclasses import field
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from k6d.alerts.delivery.blocks import blocks
from k6d.alerts.delivery.png import HEIGHT, WIDTH, ceiling
from k6d.alerts.message import moment
from k6d.alerts.records import Change
from k6d.core.frozen import frozen
from k6d.core.model import Severity
from k6d.core.numbers import in_unit
from k6d.core.text import one_line, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from k6d.alerts.records import Chart, Message

MAX_TITLE = 120  # Slack refuses a header of more than 150
MAX_BODY = 2800  # and a section of more than 3000
SHORT_HEADING = 90
LATE = timedelta(minutes=5)
PICTURE = "history.png"
COLOURS = {
    Severity.LOW: "#8a6d00",
    Severity.MEDIUM: "#b85c00",
    Severity.HIGH: "#c62828",
    Severity.CRITICAL: "#8e0000",
}
GOOD, NEUTRAL = "#1b7f45", "#3a6ea5"
FONT = "font-family:-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif"
MONO = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace"


@frozen
class Rendered:
    """A rendered message. `level` is Apprise's name; `html` shows `chart` as a picture.

    `thread` is the incident, under which mail clients can group messages. `blocks` are Slack's, for
    a single message.
    """

    title: str
    text: str
    markdown: str
    html: str
    level: str
    chart: Chart | None = None
    thread: str | None = None
    blocks: list[dict[str, Any]] = field(default_factory=list)


@frozen
class _Entry:
    """The newest message about one incident; `story` sums up the undelivered ones before it."""

    message: Message
    story: str = ""


def render(messages: Sequence[Message], *, now: datetime, repeat: bool = False) -> Rendered:
    """Render all `messages` (oldest first) as one; `repeat`: it may have been delivered before."""
    entries = _entries(messages)
    remarks = _remarks(messages, now=now, repeat=repeat)
    lead = _worst(entries)
    single = len(entries) == 1
    title = _title(entries[0].message) if single else _digest_title(entries)
    above = [_Line(kind="remark", text=remark) for remark in remarks]
    lines = [*above, *(_single(entries[0]) if single else _digest(entries, Detail.ALL))]
    brief = lines if single else _fitting(above, entries)
    cut = _cut if single else "\n".join
    chart = entries[0].message.chart if single else None
    return Rendered(
        title=harmless(one_line(title, MAX_TITLE)),
        text=cut([line.as_text() for line in brief])
        or harmless(title),  # Apprise refuses an empty body
        markdown=cut([line.as_markdown() for line in brief]) or markdown(title),
        html=_html(one_line(title, 240), lines, colour=_colour(lead), chart=chart),
        level=_level(lead),
        chart=chart,
        thread=entries[0].message.incident if single else None,
        blocks=_slack(entries[0], title, remarks) if single else [],
    )


def _slack(entry: _Entry, title: str, remarks: list[str]) -> list[dict[str, Any]]:
    story = [entry.story] if entry.story else []
    return blocks(
        entry.message, title, [*remarks, *story], plain=lambda text: unstyled(harmless(text))
    )


def without_picture(page: str) -> str:
    """Return the HTML without its picture, for receivers that take no attachment."""
    return re.sub(r"<!--picture-->.*?<!--/picture-->", "", page, flags=re.DOTALL)


def harmless(text: str) -> str:
    """Return the text without mentions: chat services notify people for @name and <!name>."""
    return text.replace("@", "@\u200b").replace("<!", "<\u200b!")


def unstyled(text: str) -> str:
    """Replace * and ` by similar characters, because Slack shows the backslash of \\*."""
    return text.replace("*", "∗").replace("`", "'")


def markdown(text: str) -> str:
    """Escape the text for Markdown, and for the mrkdwn that Apprise makes of it for Slack."""
    text = unstyled(harmless(text)).replace("\\", "\\\\")
    for sign in "[]()<>#!":
        text = text.replace(sign, "\\" + sign)
    return text


@frozen
class _Line:
    """One line of a body: a finding, a fact, a command, a heading, a remark, a link."""

    kind: str
    text: str
    label: str = ""
    blank: bool = field(default=False)

    def as_text(self) -> str:
        gap = "\n" if self.blank else ""
        shown = harmless(self.text)
        forms = {"finding": f"• {shown}", "link": f"{self.label}: {self.text}"}
        forms |= dict.fromkeys(("fact", "command"), f"{self.label}: {shown}")
        return gap + forms.get(self.kind, shown)

    def as_markdown(self) -> str:
        gap = "\n" if self.blank else ""
        shown = markdown(self.text)
        forms = {
            "finding": f"- {shown}",
            "fact": f"**{self.label}:** {shown}",
            "command": f"**{self.label}:** `{harmless(self.text).replace('`', chr(39))}`",
            "link": f"[{self.label}]({self.text})",
            "heading": f"**{shown}**",
            "remark": f"*{shown}*",
        }
        return gap + forms.get(self.kind, shown)


FORMS = (_Line.as_text, _Line.as_markdown)


def _entries(messages: Sequence[Message]) -> list[_Entry]:
    """Return one entry for each incident, worst first; a message without incident is its own."""
    stories: dict[str, list[Message]] = {}
    for message in messages:
        stories.setdefault(message.incident or message.id, []).append(message)
    entries = [_Entry(message=story[-1], story=_story(story)) for story in stories.values()]
    return sorted(entries, key=lambda e: (-_rank(e.message), e.message.script))


def _story(messages: list[Message]) -> str:
    if len(messages) == 1:
        return ""
    changes = [f"{m.change} {moment(m.at)}" for m in messages[:-1]]
    if len(changes) > 4:
        changes = [*changes[:2], f"{len(changes) - 3} changes", changes[-1]]
    return "Not told before: " + ", ".join(changes)


def _remarks(messages: Sequence[Message], *, now: datetime, repeat: bool) -> list[str]:
    oldest, newest = min(m.at for m in messages), max(m.at for m in messages)
    remarks = []
    if now - newest > LATE:
        upto = f" to {moment(newest)}" if len(messages) > 1 else ""
        remarks.append(f"Sent late: from {moment(oldest)}{upto}")
    if repeat:
        remarks.append("Sent again: an earlier attempt may have reached you")
    return remarks


def _title(message: Message) -> str:
    """Return for example "[HIGH] checkout: p95 412 ms, was 268 ms (+54 %)"."""
    script = re.sub(r"\.[jt]s$", "", message.script)
    return f"[{_mark(message)}] {script}: {message.subject}"


def _digest_title(entries: list[_Entry]) -> str:
    lead = _worst(entries)
    causes = {entry.message.cause for entry in entries}
    cause = causes.pop() if len(causes) == 1 else None
    bad = {e.message.script for e in entries if e.message.change is not Change.RESOLVED}
    scripts = {entry.message.script for entry in entries}
    what = plural(len(scripts), "script")
    if bad and bad != scripts:
        what = f"{len(bad)} of {what}"
    about = lead.subject if bad else "healthy again"
    return f"[{_mark(lead)}] {what}: {f'{cause}: ' if cause else ''}{about}"


def _single(entry: _Entry) -> list[_Line]:
    message = entry.message
    lines = [_Line(kind="remark", text=entry.story)] if entry.story else []
    # A single finding is the title already, unless the title is cut.
    if message.findings != [message.subject] or len(_title(message)) > MAX_TITLE:
        lines += [_Line(kind="finding", text=finding) for finding in message.findings]
    if message.hidden:
        lines.append(_Line(kind="finding", text=f"and {plural(message.hidden, 'more finding')}"))
    facts = [_Line(kind="fact", label=label, text=text) for label, text in message.facts]
    commands = [_Line(kind="command", label=label, text=text) for label, text in message.commands]
    links = [*([message.link] if message.link else []), *message.links]
    linked = [_Line(kind="link", label=label, text=address) for label, address in links]
    commands = [*linked, *commands]
    return [*lines, *_apart(facts, bool(lines)), *_apart(commands, bool(facts))]


class Detail(IntEnum):
    """How much a digest says about each script; it always has the name."""

    NAME = 0
    SHORT = 1
    FINDING = 2
    STORY = 3
    ALL = 4


def _fitting(above: list[_Line], entries: list[_Entry]) -> list[_Line]:
    """Return the digest with as much detail as fits; it always names every script."""
    lines: list[_Line] = []
    for detail in sorted(Detail, reverse=True):
        lines = [*above, *_digest(entries, detail)]
        if max(_size(form(line) for line in lines) for form in FORMS) <= MAX_BODY:
            break
    return lines


def _digest(entries: list[_Entry], detail: Detail) -> list[_Line]:
    lines = []
    for number, entry in enumerate(entries):
        message, airy = entry.message, number > 0 and detail >= Detail.STORY
        lines.append(_Line(kind="heading", text=_heading(message, detail), blank=airy))
        if entry.story and detail >= Detail.STORY:
            lines.append(_Line(kind="remark", text=entry.story))
        if detail is Detail.ALL:
            if message.link:
                lines.append(_Line(kind="link", label=message.link[0], text=message.link[1]))
            lines += [_Line(kind="command", label=la, text=te) for la, te in message.commands[:1]]
    return lines


def _heading(message: Message, detail: Detail) -> str:
    """Return the heading of a script in a digest: its full name, and the rest by `detail`."""
    title = _title(message)
    name = title[: len(title) - len(message.subject)].rstrip(": ")
    if detail is Detail.NAME:
        return name
    return one_line(title, max(SHORT_HEADING, len(name))) if detail is Detail.SHORT else title


def _apart(lines: list[_Line], wanted: bool) -> list[_Line]:
    if not lines or not wanted:
        return lines
    first = lines[0]
    return [_Line(kind=first.kind, text=first.text, label=first.label, blank=True), *lines[1:]]


def _cut(lines: list[str]) -> str:
    """Return the lines that fit, and the number of the others."""
    kept: list[str] = []
    room = MAX_BODY
    for number, line in enumerate(lines):
        room -= _size([line])
        if room < 0:
            kept.append(f"… and {plural(len(lines) - number, 'more line')}")
            break
        kept.append(line)
    return "\n".join(kept).strip("\n")


def _size(lines: Iterable[str]) -> int:
    """Return the bytes of the lines as Slack counts them: < is &lt;."""
    return sum(len(html.escape(line, quote=False).encode()) + 1 for line in lines)


def _html(title: str, lines: list[_Line], *, colour: str, chart: Chart | None) -> str:
    facts = "".join(_row(line) for line in lines if line.kind == "fact")
    later = {"fact", "command", "link"} if facts else set()
    blocks = "".join(_row(line) for line in lines if line.kind not in later)
    actions = "".join(_row(line) for line in lines if line.kind in later - {"fact"})
    picture = f"<!--picture-->{_picture(chart)}<!--/picture-->" if chart else ""
    table = '<table role="presentation" cellpadding="0" cellspacing="0" style="margin:14px 0">'
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title></head>"
        f'<body style="margin:0;padding:0;background:#f3f5f7;{FONT}">'
        f'<div style="max-width:600px;margin:0 auto;padding:16px"><div style="background:#ffffff;'
        f"border-top:5px solid {colour};border-radius:6px;padding:18px 20px;color:#1c2733;"
        'font-size:15px;line-height:1.45;overflow-wrap:anywhere">'
        f'<h1 style="font-size:18px;line-height:1.3;margin:0 0 12px;color:{colour}">'
        f"{html.escape(title)}</h1>{blocks}{picture}"
        f"{table + facts + '</table>' if facts else ''}{actions}"
        '<p style="margin:18px 0 0;font-size:12px;color:#6b7785">Sent by k6d, the k6 daemon</p>'
        "</div></div></body></html>"
    )


def _row(line: _Line) -> str:
    text, label = _unbroken(html.escape(line.text)), html.escape(line.label)
    if line.kind == "fact":
        return (
            '<tr><td style="padding:3px 14px 3px 0;color:#6b7785;font-size:13px;'
            f'white-space:nowrap;vertical-align:top">{label}</td>'
            f'<td style="padding:3px 0;word-break:break-word">{text}</td></tr>'
        )
    if line.kind == "command":
        return (
            f'<p style="margin:8px 0 0;font-size:13px;color:#6b7785">{label}</p>'
            f'<pre style="margin:2px 0 0;padding:8px 10px;background:#f3f5f7;border-radius:4px;'
            f'font-size:12.5px;white-space:pre-wrap;overflow-wrap:anywhere;{MONO}">'
            f"{html.escape(line.text)}</pre>"
        )
    if line.kind == "link":
        address = html.escape(line.text)
        return (
            f'<p style="margin:12px 0"><a href="{address}" style="color:{NEUTRAL}">{label}</a></p>'
        )
    if line.kind == "remark":
        return f'<p style="margin:0 0 8px;font-size:13px;color:#6b7785">{text}</p>'
    weight = ";font-weight:600" if line.kind == "heading" else ""
    dot, top = "•&nbsp;" if line.kind == "finding" else "", "14px" if line.blank else "0"
    return f'<p style="margin:{top} 0 6px;word-break:break-word{weight}">{dot}{text}</p>'


def _unbroken(text: str) -> str:
    """Keep numbers on one line with their units."""
    return re.sub(r"(?<=\d) (?=(?:%|ms|s|m|h|UTC)(?!\w))", "\u00a0", text)


def _picture(chart: Chart) -> str:
    """Return the chart with its numbers as text around it."""
    small = "font-size:12px;color:#6b7785"
    title = html.escape(chart.title)
    last = in_unit(chart.points[-1].value, chart.unit)
    first_at, last_at = (f"{p.at:%d %b %H:%M}" for p in (chart.points[0], chart.points[-1]))
    top, zero = (html.escape(in_unit(value, chart.unit)) for value in (ceiling(chart), 0.0))
    cell = f'style="{small};padding:0 6px 0 0;text-align:right;white-space:nowrap;line-height:1"'
    return (
        f'<div style="margin:16px 0"><p style="margin:0 0 4px;{small}">{title}: '
        f"the last {html.escape(last)}; red: anomalous</p>"
        '<table role="presentation" width="100%" cellpadding="0" cellspacing="0">'
        f'<tr><td valign="top" {cell}>{top}</td><td rowspan="2">'
        f'<img src="cid:{PICTURE}" width="{WIDTH}" height="{HEIGHT}" alt="Chart: {title}, '
        f'the last {html.escape(last)}" style="width:100%;max-width:{WIDTH}px;height:auto;'
        'display:block;border:1px solid #e2e6eb;border-radius:4px"></td></tr>'
        f'<tr><td valign="bottom" {cell}>{zero}</td></tr><tr><td></td><td style="{small}">'
        f'{first_at}<span style="float:right">{last_at} UTC</span></td></tr></table></div>'
    )


def _mark(message: Message) -> str:
    if message.change is Change.RESOLVED:
        return "RESOLVED"
    return message.severity.upper() if message.severity else "k6d"


def _rank(message: Message) -> int:
    if message.change is Change.RESOLVED or message.severity is None:
        return -1
    return message.severity.rank


def _worst(entries: list[_Entry]) -> Message:
    return max((entry.message for entry in entries), key=_rank)


def _colour(message: Message) -> str:
    if message.change is Change.RESOLVED:
        return GOOD
    return COLOURS[message.severity] if message.severity else NEUTRAL


def _level(message: Message) -> str:
    if message.change is Change.RESOLVED:
        return "success"
    if message.severity is None:
        return "info"
    return "failure" if message.severity.rank >= Severity.HIGH.rank else "warning"
