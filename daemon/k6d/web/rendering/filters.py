"""Template filters: times and verdicts as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import orjson

from k6d.core.model import verdict_word

_UNIT = re.compile(r"(?<=\d) (?=%|(?:ms|s|m|h|d|min|points?)\b)")


def when(moment: datetime | str) -> str:
    """Format a time as "2026-11-22 12:13:14", in UTC; pages say once that times are UTC."""
    return iso(moment)[:19].replace("T", " ")


def ago(moment: datetime | str | None) -> str:
    """How long ago a moment is, or how soon it comes: "7 h ago", "in 12 min", "just now"."""
    if moment is None:
        return "–"
    gone_s = (datetime.now(UTC) - _aware(moment)).total_seconds()
    if abs(gone_s) < 60:
        return "just now" if gone_s >= 0 else "in less than a minute"
    amount = _coarse(abs(gone_s))
    return f"{amount} ago" if gone_s > 0 else f"in {amount}"


def due(moment: datetime | str) -> str:
    """How soon a start comes, or for how long it is overdue: "in 12 min", "due 22 s ago"."""
    gone_s = (datetime.now(UTC) - _aware(moment)).total_seconds()
    return f"due {_coarse(gone_s)} ago" if gone_s >= 0 else ago(moment)


def lasting(since: datetime | str) -> str:
    """How long something has lasted: "7 h"."""
    return _coarse((datetime.now(UTC) - _aware(since)).total_seconds())


def _coarse(lasted_s: float) -> str:
    """A duration in its largest unit: "3 d", "30 h", "12 min", "5 s"."""
    for unit, size_s, least_s in (("d", 86_400, 172_800), ("h", 3_600, 3_600), ("min", 60, 60)):
        if lasted_s >= least_s:
            return f"{lasted_s // size_s:.0f} {unit}"
    return f"{max(lasted_s, 0):.0f} s"


def _aware(moment: datetime | str) -> datetime:
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def iso(moment: datetime | str) -> str:
    """The time in ISO 8601 and UTC, for the attribute `datetime` of a <time>."""
    return f"{_aware(moment).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def unbroken(text: str) -> str:
    """The text with no line end between a number and its unit: "0 %", "89.3 ms"."""
    return _UNIT.sub("\u00a0", text)


def verdict(run: dict[str, Any]) -> str:
    """The verdict of a run in one word, from its index document or its file."""
    if "anomaly_analysis" in run:
        return verdict_word(run["anomaly_analysis"]["severity"], run["execution"]["outcome"])
    return verdict_word(run["severity"], run["outcome"])


def as_json(value: object) -> str:
    """A setting's value as JSON, as it would stand in a file."""
    return orjson.dumps(value, default=str).decode()


def without(title: str, origin: str) -> str:
    """Remove the host, which all titles share, from a title."""
    return title.removeprefix(origin) if origin else title
