"""Check whether the numbers in a sentence are among those that the AI was given.

- A number is verified when it equals a given number, directly or converted to the unit that follows
  it (4,987 ms are 5 s, a share of 0.125 is 12.5 %), after rounding to its written digits. Rounding
  may change it by at most 3 %.
- Units must be of one kind: 912 given in ms does not verify "912 s".
- A number in a name (p95, v2, k6) is verified when the name was given.
- A version or a date is verified when all of it was given.
- Small numbers in words ("three", "a dozen") are read as numbers.
- Differences and ratios are not computed: "3 times slower", "twice" and "doubled" are unverified
  unless exactly these words were given.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "[unverified]"
MOST_ROUNDING = 0.03
EXACT = 1e-9

_DIGITS = r"(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?"
# A number directly after a letter is part of a name. "1,234.5" is one number, "1, 2" are two.
_NUMBER = re.compile(rf"(?<![\w.]){_DIGITS}")
_UNIT = re.compile(r"\s?(%|percent|[A-Za-zµ]+)")
_NAME = re.compile(r"[A-Za-z_]+\d\w*")
# Versions and dates. HTTP statuses: "503s" means responses, not seconds; "5xx" matches any 5xx.
_WHOLE = re.compile(r"(?<![\w.])v?(\d+(?:\.\d+){2,}|\d{4}-\d\d-\d\d)\b")
_STATUS = re.compile(r"(?i)\b([1-5])xx\b|\b([1-5]\d\d)s\b")
_RATIO = re.compile(
    r"(?i)\d\s?[x×]\b|\d\s?×|\b[\w.,]+ times (?:as|the|slower|faster|more|less|higher|lower|longer|"
    r"shorter|worse|better|larger|smaller|bigger|greater)\b|\bthrice\b|\btwice (?:as|the)\b|"
    r"\b(?:doubl|tripl|quadrupl|halv)(?:e[ds]?|ing)\b(?![- ]check)|\w-?fold\b"
)
_ONES = "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety hundred"
_WORDS = {
    **{word: number for number, word in enumerate(_ONES.split(), 2)},
    **{word: 10 * number for number, word in enumerate(_TENS.split(), 2)},
    "dozen": 12,
}
_WORD = re.compile(rf"(?i)\b(?:{'|'.join(_WORDS)})(?=[ -][a-z])")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
# By the unit that follows a number: factors from the units in which it may have been given.
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
# The factors when the given unit is known, by that unit.
KNOWN: dict[str, dict[str, float]] = {
    "ms": {"ms": 1, "s": 1e-3, "min": 1 / 60_000, "m": 1 / 60_000, "h": 1 / 3_600_000},
    "s": {"ms": 1e3, "s": 1, "min": 1 / 60, "m": 1 / 60, "h": 1 / 3600},
    "%": {"%": 1},
    "count": {"k": 1e-3, "m": 1e-6},
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
_KEY_UNITS = (
    (re.compile(r"_ms$|^response_time_"), "ms"),
    (re.compile(r"_s$"), "s"),
    (re.compile(r"_percent$|^error_rate$"), "%"),
    (
        re.compile(
            r"requests$|^(?:\d+|count|failed|passes|fails|runs|seen|of|needed|virtual_users|started|"
            r"k6_exit_code|k6_version)$"
        ),
        "count",
    ),
)


@dataclass(frozen=True, slots=True)
class Given:
    """The data that the AI was given, a JSON document or a text, prepared for the search."""

    text: str
    _numbers: dict[str, list[float]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            document = orjson.loads(self.text)
        except orjson.JSONDecodeError:
            document = self.text
        numbers: dict[str, set[float]] = {}
        for unit, number in _numbers(document, ""):
            numbers.setdefault(unit, set()).add(number)
        object.__setattr__(self, "text", self.text.lower())
        object.__setattr__(self, "_numbers", {u: sorted(found) for u, found in numbers.items()})

    def holds(self, sentence: str) -> bool:
        """Whether every number of the sentence was given."""
        ratio = _RATIO.search(sentence)
        if ratio and ratio[0].lower() not in self.text:
            return False
        wholes = [match[1] for match in _WHOLE.finditer(sentence)]
        statuses = [first + r"\d\d" if first else all_ for first, all_ in _STATUS.findall(sentence)]
        plain = _STATUS.sub(" ", _WHOLE.sub(" ", sentence))
        if not all(name.lower() in self.text for name in [*_NAME.findall(plain), *wholes]):
            return False
        if not all(re.search(rf"\b{status}\b", self.text) for status in statuses):
            return False
        plain = _WORD.sub(lambda word: str(_WORDS[word[0].lower()]), _NAME.sub(" ", plain))
        return all(
            self._near(match.group(), _unit(plain[match.end() :]))
            for match in _NUMBER.finditer(plain)
        )

    def _near(self, written: str, unit: str) -> bool:
        value = float(written.replace(",", ""))
        decimals = len(written.partition(".")[2])
        # 1,200 may be a rounded 1,150 to 1,250: trailing zeros of a whole number are not precise.
        zeros = 0 if decimals else len(written) - len(written.rstrip("0")) if value else 0
        step = 10.0 ** (zeros - decimals)
        slack = min(step / 2, MOST_ROUNDING * value) + EXACT * max(value, 1.0)
        return any(
            _within(numbers, value, slack, factor)
            for given_in, numbers in self._numbers.items()
            for factor in _factors(given_in, unit)
        )


def _within(numbers: list[float], value: float, slack: float, factor: float) -> bool:
    place = bisect_left(numbers, (value - slack) / factor - EXACT)
    return place < len(numbers) and numbers[place] * factor <= value + slack


def _factors(given_in: str, unit: str) -> tuple[float, ...]:
    """The factors from the given unit ("": unknown) to the written unit; none if they differ."""
    if not given_in:
        return FACTORS.get(unit, (1,))
    if unit not in FACTORS:  # none, or a word: "300 requests", "p95 912 was"
        return (1,)
    factor = KNOWN[given_in].get(unit)
    return () if factor is None else (factor,)


def _numbers(value: Any, unit: str) -> Iterator[tuple[str, float]]:
    """Each number of a document with its unit, "" when the unit is unknown."""
    if isinstance(value, dict):
        of_all = SPELLINGS.get(str(value.get("unit")), str(value.get("unit")))
        for key, item in value.items():
            yield from _numbers(str(key), "count" if str(key).isdigit() else "")
            known = next((u for pattern, u in _KEY_UNITS if pattern.search(str(key))), "")
            yield from _numbers(item, known or (of_all if of_all in KNOWN else ""))
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item, unit)
    elif isinstance(value, int | float):
        yield unit, abs(float(value))
    elif isinstance(value, str):
        # Numbers inside names count as well: "p95" gives 95, "2s" gives 2.
        for match in re.finditer(_DIGITS, value):
            follows = _unit(value[match.end() : match.end() + 16])
            yield (follows if follows in KNOWN else unit), float(match[0].replace(",", ""))


def _unit(rest: str) -> str:
    match = _UNIT.match(rest)
    unit = match.group(1).lower() if match else ""
    return SPELLINGS.get(unit, unit)


def sentences(text: str) -> list[str]:
    """The sentences of a text that is one line."""
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence]
