"""Reads the target's own numbers for the time of a run, on the axis of its time line.

The last samples of a run are in the Prometheus one scrape interval after its end, so k6d waits that
long (`prometheus.delay`). A Prometheus that is down, slow or wrong costs a note; never the run.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from dataclasses import field, replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from k6d.core import reading
from k6d.core.frozen import frozen
from k6d.core.measurements import TargetMetric
from k6d.core.text import covers
from k6d.execution.prometheus import Grid, QueryError, UnavailableError, query_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from k6d.core.measurements import Timeline
    from k6d.settings import Metric, Prometheus

logger = logging.getLogger(__name__)

USUAL_VALUES, MOST_VALUES = 100, 600
NO_ADDRESS = "prometheus.url is not set"
GRACE_S = 1.0  # the thread ends by itself at the time limit; a blocked look-up of the host does not
_PLACEHOLDER = re.compile(r"\$(script|duration)\b")
_UNSAFE = re.compile(r"[\"'`\\\n]")  # would end a text of PromQL
Read = tuple[TargetMetric, str]  # the metric, and a note on it or ""
_STATS: dict[str, Callable[[Sequence[float]], float]] = {
    "average": fmean,
    "max": max,
    "min": min,
    "last": lambda values: values[-1],
}


@frozen
class Span:
    """The time of a run: the start of its time line in seconds since 1970, and its length."""

    began: float
    lasted_s: float

    @classmethod
    def of(cls, timeline: Timeline, duration_ms: float | None = None) -> Span | None:
        """The span of a time line; None if k6 pushed nothing.

        The last entry of a long run may reach beyond its end; k6's `duration_ms` says how far.
        """
        if timeline.began is None or not timeline.t:
            return None
        lasted_s = timeline.t[-1]
        if duration_ms is not None:
            last_begins = lasted_s - timeline.resolution_s
            lasted_s = min(lasted_s, max(math.ceil(duration_ms / 1000), last_begins + 1))
        return cls(began=timeline.began, lasted_s=float(lasted_s))


@frozen
class Found:
    """What was read, one entry for each metric, and one line for each that is missing."""

    metrics: list[TargetMetric] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


async def target_metrics(
    span: Span | None,
    metrics: Iterable[Metric],
    prometheus: Prometheus,
    *,
    script: str,
    hide: Callable[[str], str],
    stop: asyncio.Event,
) -> Found:
    """Read the target's numbers for the time of a run of `script` that has just ended.

    `hide` removes secrets from texts. Nothing is read if k6 measured nothing, or once `stop` is
    set. It takes `prometheus.delay` and `prometheus.timeout` at most.
    """
    wanted = [one for one in metrics if any(covers(p, script) for p in one.scripts)]
    if not wanted or span is None:
        return Found()
    found = await _read_after(wanted, prometheus, span, script=script, stop=stop)
    notes = [hide(note) for note in found.notes]
    for note in notes:
        logger.warning("%s: %s", script, note)
    return Found(
        metrics=[replace(one, query=hide(one.query)) for one in found.metrics], notes=notes
    )


async def _read_after(
    wanted: Sequence[Metric],
    prometheus: Prometheus,
    span: Span,
    *,
    script: str,
    stop: asyncio.Event,
) -> Found:
    """Wait until the last samples are there, and read."""
    if prometheus.url is None:
        return _missing(wanted, NO_ADDRESS)
    due_in_s = span.began + span.lasted_s + prometheus.delay - time.time()
    wait_s = min(max(due_in_s, 0.0), prometheus.delay)
    if wait_s:
        logger.info("%s: waits %.0f s for the last samples of its target", script, wait_s)
    try:
        async with asyncio.timeout(wait_s):
            await stop.wait()
    except TimeoutError:
        return await read(wanted, prometheus, span, script=script)
    return _missing(wanted, "the run was stopped before they were read")


async def read(
    wanted: Sequence[Metric], prometheus: Prometheus, span: Span, *, script: str
) -> Found:
    """Read these metrics for the time of a run, within `prometheus.timeout` seconds in all."""
    done: dict[str, Read] = {}
    work = partial(_read_all, wanted, prometheus, span, script, done)
    why = ""
    try:
        await reading.in_thread(work, about="", limit_s=prometheus.timeout + GRACE_S)
    except UnavailableError as error:
        why = str(error)
    except reading.SlowError:
        why = f"no answer within {prometheus.timeout:g} s (prometheus.timeout)"
    known = dict(done)  # a thread that is still blocked may go on to write
    notes = [f"{title}: {note}" for title, (_, note) in known.items() if note]
    if why:
        absent = [one for one in wanted if one.title not in known]
        notes += _missing(absent, why).notes
    return Found(
        metrics=[known[one.title][0] if one.title in known else _empty(one) for one in wanted],
        notes=notes,
    )


def _read_all(
    wanted: Iterable[Metric],
    prometheus: Prometheus,
    span: Span,
    script: str,
    done: dict[str, Read],
) -> None:
    """Read one metric after the other into `done`, by title."""
    ends = time.monotonic() + prometheus.timeout
    for metric in wanted:
        grid = _grid(metric, span)
        try:
            query = filled(metric.query, script=script, lasted_s=span.lasted_s)
            answer = query_range(prometheus, query, grid, ends=ends)
        except QueryError as error:
            done[metric.title] = _empty(metric), str(error)
            continue
        there = [value for value in answer.values if value is not None]
        found = replace(
            _empty(metric),
            value=round(_STATS[metric.value](there), 6),
            start_s=round(grid.start - span.began, 3),
            step_s=grid.step_s,
            values=[None if value is None else round(value, 6) for value in answer.values],
        )
        done[metric.title] = found, f"the server warns: {answer.warning}" if answer.warning else ""


def filled(query: str, *, script: str, lasted_s: float) -> str:
    """The query with the values of $script and $duration; QueryError if the name cannot stand."""
    if "$script" in query and _UNSAFE.search(script):
        raise QueryError("the script's name has a quote or a backslash, so $script cannot be it")
    given = {"script": script, "duration": f"{math.ceil(lasted_s)}s"}
    return _PLACEHOLDER.sub(lambda match: given[match[1]], query)


def _grid(metric: Metric, span: Span) -> Grid:
    """The moments to ask for: the end of the run, and each step before it."""
    usual = max(1.0, math.ceil(span.lasted_s / USUAL_VALUES))
    step_s = max(metric.step or usual, span.lasted_s / MOST_VALUES)
    return Grid(
        end=span.began + span.lasted_s,
        step_s=round(step_s, 3),
        count=math.floor(span.lasted_s / round(step_s, 3)) + 1,
    )


def _empty(metric: Metric) -> TargetMetric:
    return TargetMetric(
        title=metric.title,
        unit=metric.unit,
        query=metric.query,
        stat=metric.value,
        worse=metric.worse,
        alert=metric.alert,
    )


def _missing(wanted: Sequence[Metric], why: str) -> Found:
    titles = ", ".join(one.title for one in wanted)
    return Found(
        metrics=[_empty(one) for one in wanted],
        notes=[f"the target's own numbers are missing ({titles}): {why}"],
    )
