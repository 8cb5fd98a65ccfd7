"""Stored history judged again, run by run, as if each had just ended; and steps put into it.

Re-runs cannot be made up afterwards, so every run is judged by what it was alone (or by the stored
median, where it was confirmed then): the alarms counted here are those before confirmation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from k6d.analysis.change_point import follow
from k6d.analysis.comparison import Past, compare_all, key_of
from k6d.analysis.series import describe
from k6d.analysis.wording import change
from k6d.core.model import WORSE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k6d.core.model import Comparison

STEPS_PERCENT = (5, 10, 20, 50)
# As late as this a step counts as seen: a week of daily runs.
SEEN_WITHIN = 5
NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A run that would have been called worse, and by what; `lasting`: the one before was too."""

    test_id: str
    what: str
    lasting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """A step of `step_percent` put into the history at every place that leaves room.

    `seen` of `tried` were noticed within five runs, after `delay_runs` on average (0: at once);
    None where nothing was.
    """

    step_percent: int
    tried: int
    seen: int
    delay_runs: float | None


def alarms(history: Sequence[Past], *, needed: int, least_percent: float) -> list[Alarm]:
    """What each run of the history, oldest first, would have been told of at its time."""
    found: list[Alarm] = []
    flagged: list[Past] = []
    judge = _judge(needed, least_percent)
    for run in history:
        worse = [c for c in judge([run.series], flagged) if c.state == WORSE]
        before = bool(flagged) and bool(flagged[-1].worse)
        flagged.append(replace(run, worse=frozenset(key_of(c) for c in worse)))
        if worse:
            what = max(worse, key=lambda c: abs(c.change_percent or 0))
            found.append(Alarm(test_id=run.test_id, what=change(what), lasting=before))
    return found


def power(history: Sequence[Past], key: str, *, needed: int, least_percent: float) -> list[Power]:
    """How surely steps of the series `key` would have been seen in this history's own noise.

    Not where the history itself holds an alarm, which would be taken for the step.
    """
    values = [run.series[key] for run in history if key in run.series]
    about = describe(key)
    judge = _judge(needed, least_percent)
    as_it_was = _stepped(values, key, 0, 1.0)
    places = [
        start
        for start in range(needed, len(values) - SEEN_WITHIN + 1)
        if _delay(as_it_was, start, judge) is None
    ]
    rows = []
    for step in STEPS_PERCENT:
        delays = [
            _delay(_stepped(values, key, start, 1 + about.worse * step / 100), start, judge)
            for start in places
        ]
        seen = [delay for delay in delays if delay is not None]
        mean = sum(seen) / len(seen) if seen else None
        rows.append(Power(step_percent=step, tried=len(delays), seen=len(seen), delay_runs=mean))
    return rows


def _judge(needed: int, least_percent: float) -> Callable[..., list[Comparison]]:
    """Every run is judged after the same beginning, which is followed once."""
    step = lru_cache(maxsize=None)(follow)
    return partial(compare_all, needed=needed, least_percent=least_percent, step=step)


def _stepped(values: Sequence[float], key: str, start: int, factor: float) -> list[Past]:
    return [
        Past(
            test_id=str(i), timestamp=NEVER, series={key: v * factor if i >= start else v}, files={}
        )
        for i, v in enumerate(values)
    ]


def _delay(runs: Sequence[Past], start: int, judge: Callable[..., list[Comparison]]) -> int | None:
    """Runs from a step at `start` to its alarm; None when the five runs after it show none."""
    for delay in range(SEEN_WITHIN):
        now = start + delay
        (found,) = judge([runs[now].series], runs[:now])
        if found.state == WORSE:
            return delay
    return None
