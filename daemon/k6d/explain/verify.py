"""Whether the numbers in a sentence were among those the AI was given.

A number counts as given when it equals one of the given numbers, as it stands or in the unit that
follows it (4,987 ms are 5 s, a share of 0.125 is 12.5 %), after rounding to the digits it is
written with, if that moves it by at most 3 %. A number that is part of a name (p95, v2, k6) counts
when the name was given. Differences and ratios are not worked out, numbers in words not read: "3
times slower" is unverified unless a 3 was given.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field

MARK = "[unverified]"
MOST_ROUNDING = 0.03
EXACT = 1e-9

# After a letter it is a part of a name; "1,234.5" is one number, "1, 2" are two.
_NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_UNIT = re.compile(r"\s?(%|percent|[A-Za-zµ]+)")
_NAME = re.compile(r"[A-Za-z_]+\d\w*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
# How many of the unit that follows make one of the unit that a value may have been given in.
FACTORS = {
    "s": (1, 1e-3, 60),
    "ms": (1, 1e3),
    "min": (1, 1 / 60, 1 / 60_000),
    "h": (1, 1 / 60, 1 / 3600, 1 / 3_600_000),
    "%": (1, 100),
    "k": (1, 1e-3),
    "m": (1, 1e-6, 1 / 60, 1 / 60_000),
    "kb": (1, 1e-3, 1 / 1024),
    "mb": (1, 1e-6, 1 / 1024**2),
    "gb": (1, 1e-9, 1 / 1024**3),
}
SPELLINGS = {
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("msec", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("minute", "minutes", "mins"), "min"),
    **dict.fromkeys(("hour", "hours"), "h"),
    **dict.fromkeys(("percent", "pct"), "%"),
    **dict.fromkeys(("kib", "kilobytes"), "kb"),
    **dict.fromkeys(("mib", "megabytes"), "mb"),
    **dict.fromkeys(("gib", "gigabytes"), "gb"),
}


@dataclass(frozen=True, slots=True)
class Given:
    """What the AI was given, ready to be searched for numbers and names."""

    text: str
    _numbers: list[float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Numbers inside names count as well: "p95" gives 95, "2s" gives 2.
        found = re.findall(r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?", self.text)
        numbers = sorted({float(number.replace(",", "")) for number in found})
        object.__setattr__(self, "text", self.text.lower())
        object.__setattr__(self, "_numbers", numbers)

    def holds(self, sentence: str) -> bool:
        """Whether every number of the sentence was given."""
        if not all(name.lower() in self.text for name in _NAME.findall(sentence)):
            return False
        plain = _NAME.sub(" ", sentence)
        return all(
            self._near(match.group(), _factors(plain[match.end() :]))
            for match in _NUMBER.finditer(plain)
        )

    def _near(self, written: str, factors: tuple[float, ...]) -> bool:
        value = float(written.replace(",", ""))
        decimals = len(written.partition(".")[2])
        # 1,200 may be 1,150 to 1,250 said roundly: trailing zeros of a whole number are no digits.
        zeros = 0 if decimals else len(written) - len(written.rstrip("0")) if value else 0
        step = 10.0 ** (zeros - decimals)
        slack = min(step / 2, MOST_ROUNDING * value) + EXACT * max(value, 1.0)
        return any(self._within(value, slack, factor) for factor in factors)

    def _within(self, value: float, slack: float, factor: float) -> bool:
        place = bisect_left(self._numbers, (value - slack) / factor - EXACT)
        return place < len(self._numbers) and self._numbers[place] * factor <= value + slack


def _factors(rest: str) -> tuple[float, ...]:
    match = _UNIT.match(rest)
    unit = match.group(1).lower() if match else ""
    return FACTORS.get(SPELLINGS.get(unit, unit), (1,))


def sentences(text: str) -> list[str]:
    """The sentences of a text on one line."""
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence]
