"""Judges the stored history again, run by run, and adds steps to it to measure their detection.

Re-runs cannot be repeated afterwards. So each run is judged by its own values, or by the stored
median if it was confirmed. The counted alarms are those before confirmation.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from k6d.analysis.change_point import follow
from k6d.analysis.comparison import Past, compare_all, key_of
from k6d.analysis.series import describe
from k6d.analysis.wording import change
from k6d.core.frozen import frozen
from k6d.core.model import WORSE

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from k6d.core.model import Comparison

STEPS_PERCENT = (5, 10, 20, 50)
# A step counts as seen within this many runs: a work week of daily runs.
SEEN_WITHIN = 5
NEVER = datetime.fromtimestamp(0, UTC)


@frozen
class Alarm:
    """A run that would be judged worse, and why; `lasting`: the run before it was worse too."""

    test_id: str
    what: str
    lasting: bool


@frozen
class Power:
    """The detection of a step of `step_percent`, added to the history at each possible place.

    `seen` of `tried` steps were detected within five runs, after `delay_runs` on average (0: at
    once; None: none was detected).
    """

    step_percent: int
    tried: int
    seen: int
    delay_runs: float | None


def alarms(
    history: Sequence[Past],
    *,
    needed: int,
    least_percent: float,
    alerting: Container[str] = (),
) -> list[Alarm]:
    """Return the alarms that the runs of the history (oldest first) would have raised.

    `alerting` are the keys of the target's own numbers that alert by themselves.
    """
    found: list[Alarm] = []
    flagged: list[Past] = []
    judge = partial(_judge(needed, least_percent), alerting=alerting)
    for run in history:
        worse = [c for c in judge([run.series], flagged) if c.state == WORSE]
        before = bool(flagged) and bool(flagged[-1].worse)
        flagged.append(replace(run, worse=frozenset(key_of(c) for c in worse)))
        if worse:
            what = max(worse, key=lambda c: abs(c.change_percent or 0))
            found.append(Alarm(test_id=run.test_id, what=change(what), lasting=before))
    return found


def power(history: Sequence[Past], key: str, *, needed: int, least_percent: float) -> list[Power]:
    """Return how reliably steps of the series `key` are detected in the noise of this history.

    Places where the history itself raises an alarm are left out: it would count as the step.
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
    """Return a judge that caches `follow`, because all runs share the same beginning."""
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
    """Return the runs from a step at `start` to its alarm; None without one in five runs."""
    for delay in range(SEEN_WITHIN):
        now = start + delay
        (found,) = judge([runs[now].series], runs[:now])
        if found.state == WORSE:
            return delay
    return None
