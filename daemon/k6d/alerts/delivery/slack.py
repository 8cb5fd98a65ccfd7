"""Prepares Apprise's plugin for Slack; for the delivery helper."""

from __future__ import annotations

import html
from typing import Any

from k6d.alerts.delivery.render import unstyled

MAX_SECTION = 3000  # characters that Slack takes of one section


def prepare(plugin: Any, title: str, blocks: list[dict[str, Any]]) -> str:
    """Send `blocks`, else the text as blocks; return the title that is left to send.

    The title becomes the text above the blocks: without it, phones show no preview. Slack promises
    to show mrkdwn only in blocks.
    """
    if plugin.mode.startswith("workflow"):  # a workflow gets one text and formats it itself
        return title
    plugin.use_blocks = True
    plugin.include_footer = False
    post = plugin._send

    def with_text(url: str, payload: Any, **options: Any) -> Any:
        if isinstance(payload, dict) and "attachments" in payload:
            for attachment in payload["attachments"]:
                parts = blocks if blocks and not plugin.template else attachment["blocks"]
                attachment["blocks"] = [piece for block in parts for piece in _cut(block)]
            payload = {"text": f"*{html.escape(unstyled(title), quote=False)}*", **payload}
        return post(url, payload, **options)

    plugin._send = with_text
    return ""


def _cut(block: dict[str, Any]) -> list[dict[str, Any]]:
    """Split a block at line ends if its text is longer than a section of Slack may be."""
    if "text" not in block:
        return [block]
    parts: list[list[str]] = [[]]
    size = 0
    for line in block["text"]["text"].splitlines():
        if size + len(line) > MAX_SECTION and parts[-1]:
            parts, size = [*parts, []], 0
        parts[-1].append(line)
        size += len(line) + 1
    return [block | {"text": block["text"] | {"text": "\n".join(part)}} for part in parts]
