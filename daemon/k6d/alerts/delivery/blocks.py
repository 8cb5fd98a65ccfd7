"""Renders one message as Slack's blocks: header, fields, findings, next step, context, buttons.

Slack refuses a message with a text that is too long, so each is cut to its limit.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from k6d.core.text import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from k6d.alerts.records import Message

Block = dict[str, Any]

MAX_HEADER, MAX_FIELD, MAX_SECTION, MAX_FIELDS, MAX_CONTEXT = 150, 400, 2900, 10, 10
# Facts that stand side by side; the others have a line each or are context.
FIELDS = ("Where", "Before → after", "Was", "Since", "Changed", "How sure")
CONTEXT = ("Numbers", "Run")
NEXT = "Next step"


def blocks(
    message: Message, title: str, remarks: Sequence[str], *, plain: Callable[[str], str]
) -> list[Block]:
    """Return the blocks of a message; `plain` takes mentions and styles out of a text."""

    def safe(text: str) -> str:
        return html.escape(plain(text), quote=False)

    return list(_blocks(message, title, remarks, safe))


def _blocks(
    message: Message, title: str, remarks: Sequence[str], safe: Callable[[str], str]
) -> Iterator[Block]:
    yield {"type": "header", "text": _plain(shortened(safe(title), MAX_HEADER))}
    if remarks:
        yield _context([f"_{safe(remark)}_" for remark in remarks])
    facts = [(label, safe(text)) for label, text in message.facts]
    fields = [(label, text) for label, text in facts if label in FIELDS]
    if fields:
        texts = [f"*{label}*\n{shortened(text, MAX_FIELD)}" for label, text in fields]
        yield {"type": "section", "fields": [_mrkdwn(text) for text in texts[:MAX_FIELDS]]}
    said = [f"• {safe(finding)}" for finding in message.findings]
    if message.hidden:
        said.append(f"• and {message.hidden} more")
    others = [(la, te) for la, te in facts if la not in (*FIELDS, *CONTEXT, NEXT)]
    lines = [*said, *(f"*{label}:* {text}" for label, text in others)]
    lines += [f"*{NEXT}:* {text}" for label, text in facts if label == NEXT]
    if lines:
        yield {"type": "section", "text": _mrkdwn(shortened("\n".join(lines), MAX_SECTION))}
    if message.commands:
        commands = [f"{safe(label)}: `{safe(text)}`" for label, text in message.commands]
        yield {"type": "section", "text": _mrkdwn(shortened("\n".join(commands), MAX_SECTION))}
    context = [text for label, text in facts if label in CONTEXT]
    if context:
        yield _context(context)
    links = [*([message.link] if message.link else []), *message.links]
    if links:
        buttons = [_button(number, *link) for number, link in enumerate(links)]
        yield {"type": "actions", "elements": buttons}


def _button(number: int, label: str, address: str) -> Block:
    return {
        "type": "button",
        "text": _plain(shortened(label, 75)),
        "url": address,
        "action_id": f"open-{number}",
        **({"style": "primary"} if number == 0 else {}),
    }


def _context(texts: Sequence[str]) -> Block:
    return {
        "type": "context",
        "elements": [_mrkdwn(shortened(text, MAX_FIELD)) for text in texts[:MAX_CONTEXT]],
    }


def _mrkdwn(text: str) -> Block:
    return {"type": "mrkdwn", "text": text}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}
