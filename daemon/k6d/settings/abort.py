"""When k6d ends a run early: `ext.k6d.abort` of a script."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from k6d.core.frozen import frozen
from k6d.core.parse import parse_duration
from k6d.settings.values import Section

SHORTEST_S, LONGEST_S = 1.0, 3600.0
_RULE = re.compile(r"\s*(?:over\s+)?(?P<limit>\S+(?:\s*%)?)\s+for\s+(?P<time>\S+)\s*")


@frozen
class AbortRule:
    """The run ends when a value is above `limit` (percent, or ms) for `for_s` seconds."""

    limit: float
    for_s: float
    text: str


def _percent(value: Any) -> AbortRule:
    """The rule in a text such as "50% for 10s"."""
    example = "should be such as '50% for 10s', with 1 to 99 % and 1s to 1h"
    match = _RULE.fullmatch(value) if isinstance(value, str) else None
    number = match["limit"] if match else ""
    if not re.fullmatch(r"\d+(\.\d+)?\s*%", number):
        raise ValueError(example)
    limit = float(number.rstrip("% "))
    return _rule(limit if 1 <= limit <= 99 else None, match, example)


def _time(value: Any) -> AbortRule:
    """The rule in a text such as "5s for 30s"."""
    example = "should be such as '5s for 30s', with 1ms to 1h and 1s to 1h"
    match = _RULE.fullmatch(value) if isinstance(value, str) else None
    try:
        limit_s = parse_duration(match["limit"]) if match else 0.0
    except ValueError:
        limit_s = 0.0
    limit_ms = limit_s * 1000
    return _rule(limit_ms if 1 <= limit_ms <= LONGEST_S * 1000 else None, match, example)


def _rule(limit: float | None, match: re.Match[str] | None, example: str) -> AbortRule:
    try:
        for_s = parse_duration(match["time"]) if match else 0.0
    except ValueError:
        for_s = 0.0
    if limit is None or match is None or not SHORTEST_S <= for_s <= LONGEST_S:
        raise ValueError(example)
    return AbortRule(limit=limit, for_s=for_s, text=" ".join(match[0].split()))


class Abort(Section):
    """When k6d ends a run that only burns a broken target."""

    error_rate: Annotated[AbortRule, PlainValidator(_percent)] | None = Field(
        default=None, description="Share of failed requests above which the run ends: 50% for 10s."
    )
    response_time_p95: Annotated[AbortRule, PlainValidator(_time)] | None = Field(
        default=None, description="p95 of each second above which the run ends: 5s for 30s."
    )
