"""Compares a run with its history, series by series.

`prediction_interval` judges the newest value (for a confirmed run, the median of the group).
`change_point` finds the run since which a change lasts, and detects a slow drift that no single run
shows.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from k6d.analysis.change_point import follow
from k6d.analysis.level import SeriesState, series_state
from k6d.analysis.prediction_interval import LEAST_CHANGE, NEEDED, compare
from k6d.analysis.series import OWN_KEYS, Series, describe, is_judged
from k6d.core.frozen import frozen
from k6d.core.measurements import TARGET
from k6d.core.model import CHANGED, LEARNING, WORSE, Comparison

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence
    from datetime import datetime

    from k6d.analysis import prediction_interval
    from k6d.analysis.change_point import Level
    from k6d.core.model import Run

MAX_KEPT = 48  # eight overall, two for each of twenty endpoints: a run stays small on disk


@frozen
class Past:
    """An earlier comparable run: its compared series, and its files with digests.

    `worse` are the keys that were judged worse, and confirmed, when the run was new.
    """

    test_id: str
    timestamp: datetime
    series: Mapping[str, float]
    files: Mapping[str, str]
    worse: frozenset[str] = frozenset()


def compare_all(
    group: Sequence[Mapping[str, float]],
    history: Sequence[Past],
    *,
    needed: int = NEEDED,
    least_percent: float = 100 * LEAST_CHANGE,
    step: Callable[..., Level] = follow,
    alerting: Container[str] = (),
) -> list[Comparison]:
    """Compare every series of a run (the first of `group`) by the median of the group.

    `history` is oldest first. The result has the order of the keys. `alerting` are keys of the
    target's own numbers that are judged. The others do not widen the bands of what is judged.
    """
    keys = list(group[0])
    count = sum(not key.startswith(TARGET) or key in alerting for key in keys)
    against = partial(compare, series=count, needed=needed, least_change=least_percent / 100)
    return [
        _compare(key, group, history, against=against, step=step, judged=is_judged(key, alerting))
        for key in keys
    ]


def _compare(
    key: str,
    group: Sequence[Mapping[str, float]],
    history: Sequence[Past],
    *,
    against: Callable[..., prediction_interval.IntervalResult],
    step: Callable[..., Level],
    judged: bool,
) -> Comparison:
    about = describe(key)
    past = [None if _failing(run, about) else run.series.get(key) for run in history]
    flagged = {i for i, run in enumerate(history) if key in run.worse}
    state_before = series_state(
        past, worse=about.worse, floor=about.floor, flagged=flagged, step=step
    )
    fresh = [values[key] for values in group if key in values]
    interval = partial(against, history=state_before.baseline, worse=about.worse, floor=about.floor)
    found = interval(median(fresh))
    alone = [interval(value) for value in fresh] if len(fresh) > 1 else [found]
    drifted = state_before.regressed is not None and _nearer_after(median(fresh), state_before)
    state, seen = _state(found, alone, drifted=drifted)
    if state == WORSE and not judged:
        state = CHANGED
    began = (
        state_before.regressed.index
        if drifted and state_before.regressed
        else _flagged_since(key, history)
    )
    return Comparison(
        metric=about.metric if not key.startswith(OWN_KEYS) else key,
        endpoint=about.endpoint,
        unit=about.unit,
        state=state,
        observed=median(fresh),
        expected=_rounded(found.expected),
        low=_rounded(_possible(found.low, about, past)),
        high=_rounded(_possible(found.high, about, past)),
        change_percent=_rounded(found.change_pct),
        visible_percent=_rounded(found.visible_pct),
        runs=found.n,
        needed=found.needed,
        since=None if began is None or state not in (WORSE, CHANGED) else history[began].test_id,
        seen=seen,
        of=len(fresh),
    )


def _possible(bound: float | None, about: Series, past: Iterable[float | None]) -> float | None:
    """Limit the end of a band to values that the series can have."""
    if bound is None:
        return None
    signed = any(value is not None and value < 0 for value in past)
    bound = bound if signed else max(0.0, bound)
    return min(100.0, bound) if about.unit == "%" else bound


def _failing(run: Past, about: Series) -> bool:
    """Return whether errors distort the run's other numbers: failures are faster or slower.

    Otherwise an outage could become a better level, and its end a regression.
    """
    if about.metric in ("error_rate", "failed_checks"):
        return False
    return ("error_rate" + (f" {about.endpoint}" if about.endpoint else "")) in run.worse


def _state(
    found: prediction_interval.IntervalResult,
    alone: Sequence[prediction_interval.IntervalResult],
    *,
    drifted: bool,
) -> tuple[str, int]:
    """Return the state of a group, and how many of its runs have it; most of them must.

    The median of two runs is their mean, and a single odd run can move the mean out of the band.
    """
    if drifted and found.state in ("steady", WORSE):
        return WORSE, len(alone)
    odd = found.state if found.state in (WORSE, "better") else WORSE
    seen = sum(one.state == odd for one in alone)
    return (found.state if found.state != odd or 2 * seen > len(alone) else "steady"), seen


def _flagged_since(key: str, history: Sequence[Past]) -> int | None:
    """Return the first index of the unbroken row of newest runs that were judged worse.

    A run without this series (too few requests of an endpoint) does not break the row.
    """
    began = None
    for index in range(len(history) - 1, -1, -1):
        if key in history[index].worse:
            began = index
        elif key in history[index].series:
            break
    return began


def key_of(comparison: Comparison) -> str:
    """Return the key of the compared series."""
    return comparison.metric + (f" {comparison.endpoint}" if comparison.endpoint else "")


def _nearer_after(value: float, state_before: SeriesState) -> bool:
    shift = state_before.regressed
    return shift is not None and abs(value - shift.after) < abs(value - shift.before)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def between(after: Run, before: Run) -> list[Comparison]:
    """Compare two runs; the noise is that of the baseline of `after`."""
    bands = {key_of(c): c for c in after.comparisons}
    found = []
    for key, value in after.series.items():
        if key in before.series:
            found.append(_change(key, value, before.series[key], bands.get(key)))
    return found


def _change(key: str, value: float, was: float, band: Comparison | None) -> Comparison:
    about = describe(key)
    visible = band.visible_percent if band else None
    percent = 100 * (value - was) / abs(was) if was else None
    change = abs(value - was)
    noise = _noise(band, visible, was)
    if noise is None:
        state = LEARNING
    elif change <= max(noise, about.floor):
        state = "steady"
    else:
        state = WORSE if (value - was) * about.worse > 0 else "better"
    return Comparison(
        metric=about.metric if not key.startswith(OWN_KEYS) else key,
        endpoint=about.endpoint,
        unit=about.unit,
        state=state,
        observed=value,
        expected=was,
        low=None if noise is None else was - noise,
        high=None if noise is None else was + noise,
        change_percent=_rounded(percent),
        visible_percent=visible,
        runs=1,
    )


def _noise(band: Comparison | None, visible: float | None, was: float) -> float | None:
    """Return the smallest change that stands out of the noise; None when it is not known.

    A baseline of 0, such as that of an error rate, has no change in percent, but it has a band.
    """
    if band is None:
        return None
    if visible is not None:
        return visible / 100 * abs(band.expected or was)
    if band.expected is None or band.high is None:
        return None
    return band.high - band.expected


def confirmed_before(comparisons: Iterable[Comparison]) -> bool:
    """Return whether all regressions began in earlier runs, so that no re-run is needed."""
    worse = [c for c in comparisons if c.state == WORSE]
    return bool(worse) and all(c.since for c in worse)


def worth_keeping(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons to store: the first MAX_KEPT, the target's, and all not steady."""
    kept = {id(c) for c in comparisons[:MAX_KEPT]}
    kept |= {id(c) for c in comparisons if c.metric.startswith(TARGET)}
    return [c for c in comparisons if id(c) in kept or c.state in (WORSE, CHANGED, "better")]


def medians(group: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the medians of a group; later baselines use them for the run."""
    return {key: median([values[key] for values in group if key in values]) for key in group[0]}
