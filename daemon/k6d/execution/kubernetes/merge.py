"""Adds up the end-of-test summaries of several runners to one.

Counts, sums, minima, maxima and averages are exact. The median and the percentiles come from the
added histograms of the pushes; with one runner they are k6's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.analysis.thresholds import Range, selector
from k6d.core.measurements import Check
from k6d.execution.kubernetes import streams
from k6d.execution.summary import Parts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from k6d.execution.kubernetes.streams import Streams, Trend
    from k6d.execution.summary import Values

# Gauges of k6 of which each runner has its own share; of a script's gauge, the newest value counts.
SHARED = ("vus", "vus_max")


def merged(parts: Sequence[Parts], every: Sequence[Streams]) -> Parts:
    """Add up the summaries of all runners; `every` are their pushes, for percentiles and gauges."""
    if len(parts) == 1 and len(every) <= 1:
        return parts[0]
    names = dict.fromkeys(name for one in parts for name in one.metrics)
    lasted_s = max(filter(None, map(duration_s, parts)), default=None)
    return Parts(
        metrics={
            name: _metric(
                name,
                [one.metrics[name] for one in parts if name in one.metrics],
                every,
                lasted_s=lasted_s,
            )
            for name in names
        },
        checks=_checks(parts),
        duration_s=lasted_s,
    )


def duration_s(parts: Parts) -> float | None:
    """Return how long the test of a runner lasted: k6 divides each counter by that time."""
    found = (
        values["count"] / values["rate"]
        for values in parts.metrics.values()
        if _is_counter(values) and values.get("count") and values.get("rate")
    )
    return parts.duration_s or next(found, None)


def _is_counter(values: Values) -> bool:
    return "count" in values and "avg" not in values


def _metric(
    name: str, found: Sequence[Values], every: Sequence[Streams], *, lasted_s: float | None
) -> Values:
    first = found[0]
    if "passes" in first:
        return _rate(found)
    if "avg" in first:
        return _trend(name, found, every)
    if _is_counter(first):
        total = sum(one.get("count", 0) for one in found)
        return {"count": total} | ({"rate": total / lasted_s} if lasted_s else {})
    return _gauge(name, found, every)


def _rate(found: Sequence[Values]) -> Values:
    passes, fails = (sum(one[part] for one in found) for part in ("passes", "fails"))
    total = passes + fails
    return {"passes": passes, "fails": fails, "value": passes / total if total else 0.0}


def _gauge(name: str, found: Sequence[Values], every: Sequence[Streams]) -> Values:
    if name in SHARED:
        return {stat: sum(one.get(stat, 0) for one in found) for stat in found[0]}
    newest = streams.newest(every, *selector(name))
    picks: dict[str, Callable[[list[float]], float]] = {"min": min, "max": max}
    picked = {
        stat: picks.get(stat, max)([one[stat] for one in found if stat in one]) for stat in found[0]
    }
    return picked | ({"value": newest[0]} if newest else {})


def _trend(name: str, found: Sequence[Values], every: Sequence[Streams]) -> Values:
    """Merge a trend; runners without a sample, of which k6 says 0, are left out."""
    counted = [one for one in found if one.get("count")]
    if len(counted) <= 1:
        return dict(counted[0] if counted else found[0])
    count = sum(one["count"] for one in counted)
    made = {
        "count": count,
        "avg": sum(one["avg"] * one["count"] for one in counted) / count,
        "min": min(one["min"] for one in counted),
        "max": max(one["max"] for one in counted),
    }
    if pushed := streams.trend(every, *selector(name)):
        for stat, q in _quantiles(counted[0]).items():
            if estimate := _quantile(pushed, q, made):
                made[stat] = estimate.value
    return made


def _quantiles(values: Mapping[str, float]) -> dict[str, float]:
    """Return the quantiles among the stats of a trend: "med" and "p(95)"."""
    return {
        stat: 0.5 if stat == "med" else float(stat[2:-1]) / 100
        for stat in values
        if stat == "med" or stat.startswith("p(")
    }


def quantile(
    metric: str, q: float, values: Mapping[str, float], every: Sequence[Streams]
) -> Range | None:
    """Return a quantile of a trend over all runners, in the unit of k6's summary, with its error.

    `values` are the merged count, minimum and maximum. None if the pushes do not have the trend.
    """
    found = streams.trend(every, *selector(metric))
    return found and _quantile(found, q, values)


def _quantile(found: Trend, q: float, values: Mapping[str, float]) -> Range | None:
    histogram, scale = found
    if not histogram.count:
        return None
    # Values below zero are in no bucket. They are the lowest.
    below = max(round(values.get("count", 0)) - histogram.count, 0)
    if below:
        rank = q * (histogram.count + below - 1) - below
        if rank < 0:
            low = values.get("min", 0.0)
            return Range(low, low / 2, 0.0)
        q = rank / max(histogram.count - 1, 1)
    estimate, bounds = histogram.quantile(q) or 0.0, histogram.around(q) or (0.0, 0.0)
    lowest, highest = values.get("min"), values.get("max")

    def bounded(number: float) -> float:
        number *= scale
        number = number if lowest is None else max(number, lowest)
        return number if highest is None else min(number, highest)

    return Range(bounded(bounds[0]), bounded(estimate), bounded(bounds[1]))


def _checks(parts: Sequence[Parts]) -> list[Check]:
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for one in parts:
        for check in one.checks:
            key = (check.group, check.name)
            passes, fails = sums.get(key, (0, 0))
            sums[key] = (passes + check.passes, fails + check.fails)
    return [
        Check(name=name, group=group, passes=passes, fails=fails)
        for (group, name), (passes, fails) in sums.items()
    ]
