"""How well the shipped detector does on recorded series, by the protocol of ../shared/detection.

A small scorer of ours, so that a fresh clone is measured too; the tests hold it against the
original where that is at hand. Beside the scores: how surely a step put into real noise is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import orjson

from detection_adapter import make
from k6d.analysis.comparison import WORSE, compare_all
from k6d.analysis.noise import mad_sigma
from support.pasts import pasts
from support.paths import DATA, ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS = DATA / "detection"
SHARED = ROOT.parent / "shared" / "detection"
LATE = 15  # alerts between k and this many runs after a change: no credit, no false alarm
TAIL = 5  # the same after the end of an event
STANDING = 20  # a standing false alarm costs one for every so many runs
STEP_AT, AFTER = 50, 15  # where a step is put into a series, and the runs that follow it
SERIES = "custom:value:p(95):<"  # of no unit, so of no floor


def load(name: str) -> dict[str, Any] | None:
    """A set by its name: ours from tests/data, the others from ../shared where that is present."""
    for folder in (OURS, SHARED / "data" / "dev"):
        if (path := folder / f"{name}.json").exists():
            found: dict[str, Any] = orjson.loads(path.read_bytes())
            return found
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Hits, false alarms and misses of a set; `delay` in runs, `false` for 1,000 points."""

    tp: int
    fp: int
    fn: int
    delay: float
    false: float

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn)


def score(data: dict[str, Any], *, within: int) -> Score:
    """Feed every series run by run; a hit is an incident that starts within so many runs."""
    spike, early = data["kind"] == "spike", data.get("early", 0)
    labels = misses = false = points = 0
    delays: list[int] = []
    for series in data["series"]:
        found = incidents(series["values"], regressions_only=not spike)
        hits: set[int] = set()
        neutral = [tuple(zone) for zone in series.get("ignore", [])]
        for label in series["labels"]:
            start, last = label["start"], label["end"] + TAIL if spike else label["start"] + LATE
            neutral.append((start - early, last))
            near = [i for i, (a, _) in enumerate(found) if start - early <= a <= start + within]
            if near:
                hits.add(near[0])
                delays.append(max(0, found[near[0]][0] - start))
        labels, points = labels + len(series["labels"]), points + len(series["values"])
        false += sum(
            -(-(last - first + 1) // STANDING)
            for i, (first, last) in enumerate(found)
            if i not in hits and not any(a <= first <= b for a, b in neutral)
        )
    misses = labels - len(delays)
    return Score(
        tp=len(delays), fp=false, fn=misses, delay=mean(delays), false=1000 * false / points
    )


def incidents(values: Sequence[float], *, regressions_only: bool) -> list[tuple[int, int]]:
    """First and last index of each row of alerts; the first value of all is only looked at."""
    detector = make()
    detector([], values[0])
    found: list[tuple[int, int]] = []
    for i in range(1, len(values)):
        told = detector(values[:i], values[i])
        if not told or (regressions_only and told["kind"] != "regression"):
            continue
        if found and i - found[-1][1] <= 1:
            found[-1] = (found[-1][0], i)
        else:
            found.append((i, i))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Of `tried` steps: odd in the first run after it, still odd with two re-runs, lasting."""

    tried: int
    odd: int
    confirmed: int
    lasting_within: dict[int, int]


def power(windows: Sequence[Sequence[float]], *, step: float, history: int) -> Power:
    """A lasting rise by `step` after so many runs of each window's own noise.

    The two runs that follow stand for the immediate re-runs.
    """
    odd = confirmed = 0
    lasting = dict.fromkeys((2, 5, 15), 0)
    for window in windows:
        before = window[STEP_AT - history : STEP_AT]
        after = [value * (1 + step) for value in window[STEP_AT : STEP_AT + AFTER + 1]]
        past = pasts(**{SERIES: before})
        first, *again = [{SERIES: value} for value in after[:3]]
        if compare_all([first], past)[0].state == WORSE:
            odd += 1
            confirmed += compare_all([first, *again], past)[0].state == WORSE
        found = incidents([*before, *after], regressions_only=True)
        delay = min((start - history for start, _ in found if start >= history), default=99)
        for within in lasting:
            lasting[within] += delay <= within
    return Power(tried=len(windows), odd=odd, confirmed=confirmed, lasting_within=lasting)


def unchanged(data: dict[str, Any]) -> list[list[float]]:
    """The series in which nothing changed, long enough for a step, and not all zeros."""
    return [
        series["values"]
        for series in data["series"]
        if not series["labels"]
        and not series.get("ignore")
        and len(series["values"]) > STEP_AT + AFTER
        and median(series["values"]) > 0
    ]


def stretched(values: Sequence[float], *, to: float) -> list[float]:
    """The same noise, wider or narrower, so that its robust variation is `to` of the median."""
    middle = median(values)
    factor = to * middle / mad_sigma(values)
    return [max(middle * 0.05, middle + (value - middle) * factor) for value in values]
