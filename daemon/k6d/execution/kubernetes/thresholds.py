"""Judges the thresholds of a script over the added numbers of all runners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k6d.analysis import thresholds
from k6d.analysis.thresholds import Range, selector
from k6d.core.frozen import frozen
from k6d.core.measurements import Threshold
from k6d.core.numbers import number
from k6d.core.parse import parse_duration
from k6d.execution.kubernetes import streams
from k6d.execution.kubernetes.merge import SHARED, quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from k6d.analysis.thresholds import Expression
    from k6d.execution.kubernetes.streams import Streams
    from k6d.execution.summary import Values

_COUNTERS = ("data_received", "data_sent", "dropped_iterations", "http_reqs", "iterations")


@frozen
class Wanted:
    """A threshold of the script; one with `aborts` ends the run, from `after_s` seconds on."""

    metric: str
    expression: Expression
    aborts: bool = False
    after_s: float = 0.0


def wanted(options: Mapping[str, Any]) -> list[Wanted]:
    """Return the thresholds in k6's options; those that k6d cannot read are left out."""
    return list(_wanted(options))


def _wanted(options: Mapping[str, Any]) -> Iterator[Wanted]:
    for metric, listed in (options.get("thresholds") or {}).items():
        for one in listed or []:
            given = one if isinstance(one, dict) else {"threshold": str(one)}
            try:
                yield Wanted(
                    metric=metric,
                    expression=thresholds.parse(str(given.get("threshold"))),
                    aborts=bool(given.get("abortOnFail")),
                    after_s=parse_duration(str(given.get("delayAbortEval") or "0s")),
                )
            except ValueError:
                continue


def metrics_of(every: Sequence[Wanted]) -> set[str]:
    """Return the metrics that the thresholds name, without their tags."""
    return {selector(one.metric)[0] for one in every}


def trend_stats(every: Sequence[Wanted]) -> list[str]:
    """Return the percentiles that the thresholds name, for k6's --summary-trend-stats."""
    stats = (one.expression.stat for one in every)
    return sorted({stat for stat in stats if stat.startswith("p(")})


def judged(
    every: Sequence[Wanted], metrics: Mapping[str, Values], pushed: Sequence[Streams]
) -> list[Threshold]:
    """Judge the thresholds at the end of a run, by its merged summary and its pushes."""
    return [_judged(one, final(one, metrics, pushed)) for one in every]


def _judged(one: Wanted, observed: Range | None) -> Threshold:
    if observed is None:
        return Threshold(metric=one.metric, expression=one.expression.text, crossed=False)
    verdict = thresholds.judge(one.expression, observed)
    doubt = None
    if not verdict.sure:
        doubt = (
            f"the added histograms place {one.expression.stat} between {number(observed.low)} and "
            f"{number(observed.high)}, and the limit {number(one.expression.limit)} lies there too"
        )
    return Threshold(
        metric=one.metric,
        expression=one.expression.text,
        crossed=verdict.crossed,
        observed=observed.value,
        doubt=doubt,
    )


def final(one: Wanted, metrics: Mapping[str, Values], pushed: Sequence[Streams]) -> Range | None:
    """Return the number that a threshold is about.

    Like k6, it is 0 for a metric without samples, and there is none for a rate without samples.
    """
    values, stat = metrics.get(one.metric, {}), one.expression.stat
    if not values and stat == "rate" and selector(one.metric)[0] not in _COUNTERS:
        return None  # k6 leaves it out of the summary; most likely it is a rate
    q = one.expression.quantile
    if q is not None:
        alone = len(pushed) <= 1
        if not values.get("count", 1) or (alone and stat in values):
            return Range.exactly(values.get(stat, 0.0))
        found = quantile(one.metric, q, values, pushed)
        return found or Range.exactly(values.get(stat, 0.0))
    if stat == "rate" and "passes" in values:
        if not values["passes"] + values["fails"]:
            return None
        stat = "value"  # the summary's name of a rate's number
    return Range.exactly(values.get(stat, 0.0))


def crossed_for_sure(
    every: Sequence[Wanted], pushed: Sequence[Streams], *, elapsed_s: float
) -> Wanted | None:
    """Return the first threshold that ends the run now: one with `aborts` that is surely crossed.

    Like k6, it passes over metrics without samples. A number that the pushes give only within
    bounds must be on the wrong side of the limit with both.
    """
    for one in every:
        if one.aborts and elapsed_s >= one.after_s:
            observed = so_far(one, pushed, elapsed_s=elapsed_s)
            if observed is not None:
                verdict = thresholds.judge(one.expression, observed)
                if verdict.crossed and verdict.sure:
                    return one
    return None


def so_far(one: Wanted, pushed: Sequence[Streams], *, elapsed_s: float) -> Range | None:
    """Return the number that a threshold is about, while the run goes on; None without samples."""
    metric, tags = selector(one.metric)
    stat, q = one.expression.stat, one.expression.quantile
    if q is not None:
        return quantile(one.metric, q, {}, pushed)
    found: dict[str, Callable[[], Range | None]] = {
        "count": lambda: _exactly(streams.counter(pushed, metric, tags)),
        "rate": lambda: _rate(metric, tags, pushed, elapsed_s=elapsed_s),
        "value": lambda: _gauge(metric, streams.newest(pushed, metric, tags)),
        "avg": lambda: _trend(metric, tags, pushed, stat),
        "min": lambda: _trend(metric, tags, pushed, stat),
        "max": lambda: _trend(metric, tags, pushed, stat),
    }
    return found[stat]()


def _exactly(value: float | None) -> Range | None:
    return None if value is None else Range.exactly(value)


def _gauge(metric: str, newest: list[float]) -> Range | None:
    if not newest:
        return None
    return Range.exactly(sum(newest) if metric in SHARED else newest[0])


def _rate(
    metric: str, tags: Mapping[str, str], pushed: Sequence[Streams], *, elapsed_s: float
) -> Range | None:
    """Return the rate of a counter, or the share of a rate.

    k6 does not push of how many samples a share is, so the share of all lies anywhere between the
    smallest and the largest. Failed requests can be counted.
    """
    if metric == "http_req_failed":
        counted = streams.failed_requests(pushed, tags)
        return Range.exactly(counted[0] / counted[1]) if counted else None
    if found := streams.shares(pushed, metric, tags):
        return Range(min(found), sum(found) / len(found), max(found))
    total = streams.counter(pushed, metric, tags)
    return None if total is None or elapsed_s <= 0 else Range.exactly(total / elapsed_s)


def _trend(
    metric: str, tags: Mapping[str, str], pushed: Sequence[Streams], stat: str
) -> Range | None:
    found = streams.trend(pushed, metric, tags)
    if found is None or not found.histogram.count:
        return None
    histogram, scale = found
    if stat == "avg":
        return Range.exactly((histogram.mean or 0.0) * scale)
    low, high = histogram.around(0.0 if stat == "min" else 1.0) or (0.0, 0.0)
    return Range(low * scale, (low + high) / 2 * scale, high * scale)
