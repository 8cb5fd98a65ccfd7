"""Template filters: times, changes and verdicts as text."""

from __future__ import annotations

from typing import Any

from k6d.core.model import verdict_word
from k6d.core.numbers import number


def when(timestamp: str) -> str:
    """Format a time stamp as "2026-11-22 12:13:14"; pages say once that times are UTC."""
    return timestamp[:19].replace("T", " ")


def change(amount: float | None, unit: str = "%") -> str:
    """Format a change as "+12.3 %", "−4 %" or "±0 %"; None is a dash."""
    if amount is None:
        return "–"
    sign = "+" if amount > 0 else "−" if amount < 0 else "±"
    return f"{sign}{number(abs(amount))} {unit}"


def verdict(run: dict[str, Any]) -> str:
    """The verdict of a run in one word, from its index document or its file."""
    if "anomaly_analysis" in run:
        return verdict_word(run["anomaly_analysis"]["severity"], run["execution"]["outcome"])
    return verdict_word(run["severity"], run["outcome"])


def without(title: str, origin: str) -> str:
    """Remove the host, which all titles share, from a title."""
    return title.removeprefix(origin) if origin else title
