"""Histories to compare with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from k6d.analysis.comparison import WORSE, Past, compare_all, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k6d.core.model import Comparison

FIRST = datetime(2026, 11, 12, 14, 5, tzinfo=UTC)
# Ten runs whose noise budget is 11 %: median 100, median absolute deviation 1.
QUIET = (100.0, 101.0, 99.0, 100.0, 102.0, 98.0, 100.0, 101.0, 99.0, 100.0)


def past(
    number: int,
    series: Mapping[str, float],
    *,
    worse: frozenset[str] = frozenset(),
    files: Mapping[str, str] | None = None,
) -> Past:
    """Run "r<number>", an hour after the one before."""
    when = FIRST + timedelta(hours=number)
    return Past(test_id=f"r{number}", timestamp=when, series=series, files=files or {}, worse=worse)


def pasts(**series: Sequence[float | None]) -> list[Past]:
    """Runs that have these series; None where a run lacks one. "__GET__" stands for " GET /"."""
    runs = [
        {k.replace("__GET__", " GET /"): v for k, v in zip(series, row, strict=True)}
        for row in zip(*series.values(), strict=True)
    ]
    return [
        past(i, {key: value for key, value in run.items() if value is not None})
        for i, run in enumerate(runs)
    ]


def lived(history: Sequence[Past], *later: Mapping[str, float]) -> list[list[Comparison]]:
    """What each later run was told, as if each had been confirmed; later ones know of it."""
    runs, told = list(history), []
    for values in later:
        found = compare_all([values], runs)
        told.append(found)
        worse = frozenset(key_of(c) for c in found if c.state == WORSE)
        runs.append(past(len(runs), values, worse=worse))
    return told
