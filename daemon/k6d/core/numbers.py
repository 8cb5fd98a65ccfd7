"""Numbers as people read them; all pages, messages and commands format them here."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SECONDS_FROM_MS = 9_999.5  # rounds to 10,000 ms, which is shown as 10 s
LEAST_CHANGE = {"%": 0.05, "points": 0.0005}  # less is shown as none
MOST_DIGITS = 17  # enough to distinguish any two floats
_SPACES = "\n\t\xa0\u2009\u202f"  # harmless, although str.isprintable() is False for them


def number(value: float, digits: int = 3) -> str:
    """The value with `digits` significant digits and no exponent: 0.123, 45.6, 12,345."""
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    text = f"{value:,.{min(max(decimals, 0), digits + 3)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def largest(values: Iterable[float | None]) -> float | None:
    """The largest value; None when there is none."""
    return max((value for value in values if value is not None), default=None)


def ms(value: float | None) -> str:
    """Milliseconds as "412 ms" or, from ten seconds on, "12.3 s"; a dash for None."""
    return in_unit(value, "ms")


def percent(value: float | None) -> str:
    """A percentage as "12.5 %", and "99.97 %" rather than a rounded "100 %"; a dash for None."""
    return "–" if value is None else against(value, unit="%")[0]


def rate(value: float | None) -> str:
    """A rate as "45.6/s"; a dash for None."""
    return in_unit(value, "/s")


def in_unit(value: float | None, unit: str, digits: int = 3) -> str:
    """A value in one of the units that findings use: "ms", "%", "/s" or "" for a plain number."""
    if value is None:
        return "–"
    if unit == "ms" and abs(value) >= SECONDS_FROM_MS:
        value, unit = value / 1000, "s"
    return number(value, digits) + (unit if unit == "/s" else f" {unit}".rstrip())


def against(value: float, *bounds: float, unit: str = "") -> list[str]:
    """The value, then each bound, in one unit and with equally many digits.

    There are enough digits to show whether the value is above, below or equal to each bound. A
    percentage is never shown as 100 % unless it is that: 99.97 % of the requests are not all.
    """
    largest = max(map(abs, (value, *bounds)))
    if unit == "ms" and largest >= SECONDS_FROM_MS:
        value, bounds, unit = value / 1000, tuple(bound / 1000 for bound in bounds), "s"
    told_apart = (*bounds, 100.0) if unit == "%" else bounds
    enough = (
        digits
        for digits in range(3, MOST_DIGITS)
        if all(_side(value, bound) == _side(value, bound, digits) for bound in told_apart)
    )
    digits = next(enough, MOST_DIGITS)
    return [in_unit(n, unit, digits) for n in (value, *bounds)]


def against_threshold(value: float, expression: str) -> str:
    """The observed value with enough digits to compare it with the bound of a k6 threshold.

    500.3 beside "p(95)<500" stays "500.3".
    """
    bound = re.search(r"-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$", expression, re.IGNORECASE)
    return against(value, float(bound[0]))[0] if bound else number(value)


def _side(value: float, bound: float, digits: int | None = None) -> int:
    """1 above the bound, -1 below, 0 equal; with `digits`, after rounding to them."""
    if digits is not None:
        value, bound = (float(number(n, digits).replace(",", "")) for n in (value, bound))
    return (value > bound) - (value < bound)


def count(value: int | None) -> str:
    """A count with commas between thousands; a dash for None."""
    return "–" if value is None else f"{value:,}"


def change(amount: float | None, unit: str = "%") -> str:
    """A change as "+12.3 %", "−4 %", "±0 %" or, of a percentage, "+1 point"; a dash for None.

    `unit` is "%" or "points". A tiny change is shown as none.
    """
    if amount is None:
        return "–"
    sign = "±" if abs(amount) < LEAST_CHANGE[unit] else "+" if amount > 0 else "−"
    size = 0.0 if sign == "±" else abs(amount)
    return sign + (points(size) if unit == "points" else f"{number(size)} {unit}")


def points(value: float) -> str:
    """A difference of percentages: "1 point", "0.3 points"."""
    size = number(value)
    return f"{size} point{'' if size == '1' else 's'}"


def seconds(value: float | None) -> str:
    """A duration as "4.2 s", "1 min 30 s" or "2 h 5 min"; a dash for None."""
    if value is None:
        return "–"
    if value < 59.95:  # from here on it would be shown as 60.0
        return f"{number(value)} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def kept_time(text: object) -> datetime | None:
    """A time from a file of k6d, with its zone; None when the text is damaged or has no zone."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


def escaped(text: str) -> str:
    """The text with control characters and marks of text direction written as escapes.

    ESC becomes \\x1b, U+202E becomes \\u202e; line ends and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _SPACES else _spelled(c) for c in text)


def _spelled(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()
