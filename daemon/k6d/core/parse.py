"""Parse texts: durations, finite numbers, UTC times, Retry-After and paths."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from pathlib import Path

# The units of Go's time.ParseDuration, and "d", which k6 adds.
_UNITS_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_UNITS_S |= {"ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
# Timers overflow far above this; a longer duration is most likely a wrong unit.
LONGEST_S = 366 * 86_400


def parse_duration(text: str) -> float:
    """The seconds of a duration in k6's form: "1h2m3.5s", "300ms", "1d".

    ValueError for any other text.
    """
    parts = re.findall(r"([\d.]+)(ms|us|µs|ns|d|h|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"not a duration: {text!r}")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def finite(text: str) -> float:
    """The number in the text; ValueError when it is no number, infinite or "nan"."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"not a number: {text!r}")
    return value


def retry_after_s(header: str | None) -> float | None:
    """Seconds of a Retry-After, a number or a date (RFC 9110, 10.2.3), at most `LONGEST_S`.

    None when there is none, or it is neither.
    """
    from email.utils import parsedate_to_datetime  # 25 ms of imports

    try:
        wait_s = finite(header or "")
    except ValueError:
        try:
            at = in_utc(parsedate_to_datetime(header or ""))
        except (ValueError, TypeError):
            return None
        wait_s = (at - datetime.now(UTC)).total_seconds()
    return min(max(wait_s, 0.0), LONGEST_S)


def end_of(text: str) -> datetime:
    """The time that a text names as an end, in UTC; a day ends with its last moment. ValueError."""
    moment = in_utc(datetime.fromisoformat(text))
    is_day = len(text) == len("2026-11-22")
    return moment.replace(hour=23, minute=59, second=59, microsecond=999_999) if is_day else moment


def in_utc(moment: datetime) -> datetime:
    """The moment in UTC; a moment without a zone is read as UTC.

    ValueError when the result is outside the years 1 to 9999.
    """
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} is out of range") from None


def expanded(path: Path) -> Path:
    """The path with ~ replaced by the home folder; unchanged when there is no such user."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def located(path: Path) -> Path:
    """The path made absolute, without "..".

    Links before a ".." are followed first, as the system does.
    """
    parts = path.absolute().parts
    up = max((n for n, part in enumerate(parts, 1) if part == ".."), default=0)
    return Path(*parts[:up]).resolve().joinpath(*parts[up:]) if up else Path(*parts)


def absolute(path: Path) -> Path:
    """The located path; ValueError when its bytes are not UTF-8: no log or JSON could name it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError("should be a path in UTF-8") from None
    return located(expanded(path))
