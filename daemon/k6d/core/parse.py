"""What people write, as numbers and times: durations, finite numbers, UTC."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

# Of Go's time.ParseDuration, and k6's own for days.
_UNITS_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
LONGEST_S = 366 * 86_400  # far below what timers overflow at; more is a slip of the unit


_UNITS_S |= {"ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def parse_duration(text: str) -> float:
    """Seconds of a duration as k6 has it: "1h2m3.5s", "300ms", "1d"; ValueError for others."""
    parts = re.findall(r"([\d.]+)(ms|us|µs|ns|d|h|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"not a duration: {text!r}")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def finite(text: str) -> float:
    """The number that a text is; ValueError for others, for infinity, and for "nan"."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"not a number: {text!r}")
    return value


def in_utc(moment: datetime) -> datetime:
    """The moment in UTC, which is meant where it names no zone; ValueError for one out of range."""
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} is out of range") from None
