"""Texts for table cells, without control characters, and the colours of verdicts."""

from __future__ import annotations

from rich.text import Text

STYLES = {
    "healthy": "green",
    "low": "yellow",
    "medium": "yellow",
    "high": "red",
    "critical": "bold red",
}
# Names and log lines come from outside: without this, they could move the cursor or break a row.
CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "\ufffd")


def clean(text: str) -> str:
    """Return the text with a mark in place of each control character."""
    return text.translate(CONTROLS)


def cell(text: str, style: str = "") -> Text:
    """Return the text for a cell, without control characters; its mark-up is not obeyed."""
    return Text(clean(text), style)


def verdict_cell(word: str) -> Text:
    """Return the word of a verdict in its colour."""
    return Text(word, STYLES.get(word, "dim"))
