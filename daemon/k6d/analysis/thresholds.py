"""Judges k6's threshold expressions, for runs whose numbers k6d adds up itself.

The grammar is k6's: an aggregate (`count`, `rate`, `value`, `avg`, `min`, `med`, `max`, `p(95)`),
an operator and a number. A metric's name may select samples by tags, as in `checks{scenario:a}`.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k6d.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

# In k6's order: it splits the text at the first of these that it contains.
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "===": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}
_EQUALITIES = ("===", "==", "!=")
_PERCENTILE = re.compile(r"p\(([^()\s]+)\)")
PLAIN = ("count", "rate", "value", "avg", "min", "med", "max")


@dataclass(frozen=True, slots=True)
class Range:
    """A number that is known to lie between `low` and `high`; `value` is the best estimate."""

    low: float
    value: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Range:
        return cls(value, value, value)


@frozen
class Expression:
    """A threshold: `stat` is an aggregate; "med" and "p(N)" have a `quantile` from 0 to 1."""

    text: str
    stat: str
    operator: str
    limit: float

    @property
    def quantile(self) -> float | None:
        if self.stat == "med":
            return 0.5
        percentile = _PERCENTILE.fullmatch(self.stat)
        return float(percentile[1]) / 100 if percentile else None


@frozen
class Judgement:
    """Whether a threshold is crossed; not `sure` where the number's error spans the limit."""

    crossed: bool
    sure: bool


def parse(text: str) -> Expression:
    """Parse a threshold expression; ValueError if k6 would refuse it."""
    for sign in _OPERATORS:
        stat, found, limit = text.partition(sign)
        if found:
            break
    else:
        raise ValueError(f"the threshold {text!r} has no operator")
    stat = stat.strip()
    if percentile := _PERCENTILE.fullmatch(stat):
        float(percentile[1])
    elif stat not in PLAIN:
        raise ValueError(f"the threshold {text!r} has no aggregate that k6 knows")
    return Expression(text=text, stat=stat, operator=sign, limit=float(limit))


def judge(expression: Expression, observed: Range) -> Judgement:
    """Compare a number with the limit of a threshold."""
    holds, limit = _OPERATORS[expression.operator], expression.limit
    if expression.operator in _EQUALITIES:
        sure = observed.low == observed.high or not observed.low <= limit <= observed.high
    else:
        sure = holds(observed.low, limit) == holds(observed.high, limit)
    return Judgement(crossed=not holds(observed.value, limit), sure=sure)


def selector(metric: str) -> tuple[str, dict[str, str]]:
    """Return the name of a metric, and the tags of the samples that it selects."""
    name, opened, rest = metric.partition("{")
    if not opened:
        return metric.strip(), {}
    tags = {}
    for pair in rest.rpartition("}")[0].split(","):
        key, _, value = pair.partition(":")
        tags[_bare(key)] = _bare(value)
    return name.strip(), tags


def _bare(text: str) -> str:
    return text.strip().strip("\"'")
