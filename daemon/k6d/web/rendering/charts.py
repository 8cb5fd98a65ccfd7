"""The charts of pages and reports: a script's trend, a run's time line, runs by day."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from k6d.core.model import HEALTHY, Severity
from k6d.core.numbers import in_unit, largest, seconds
from k6d.web.rendering.svg import DAY, WIDE, Plot, figure, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MOST_POINTS = 240  # more could not be distinguished
MOST_LINKS = 150  # a keyboard goes through them one by one
SPARK_WIDTH, SPARK_HEIGHT = 120, 24
SHOWN_THRESHOLD = 4  # times the largest value; a higher one would press the line to the axis
# Of a metric of k6d: k6's metric, the form of a threshold, and what one of its units is in ours.
THRESHOLDS = {
    "response_time_p95": ("http_req_duration", r"p\(95(?:\.0+)?\)<=?", 1),
    "response_time_avg": ("http_req_duration", "avg<=?", 1),
    "error_rate": ("http_req_failed", "rate<=?", 100),
    "requests_per_second": ("http_reqs", "rate>=?", 1),
}
TIMELINE = (
    (
        "Requests and errors",
        "/s",
        {"requests": "requests_per_second", "errors": "errors_per_second"},
    ),
    ("Response time", "ms", {"p95": "p95_ms", "p50": "p50_ms", "p99": "p99_ms"}),
    ("Iterations", "/s", {"iterations": "iterations_per_second"}),
    ("Virtual users", "", {"virtual users": "vus"}),
)
# Of a chart's unit: k6's metric whose thresholds are lines in it, and their form.
BOUNDS = {
    "ms": ("http_req_duration", r"(?:p\([\d.]+\)|avg|med)<=?(\d+(?:\.\d+)?)"),
    "/s": ("http_reqs", r"rate>=?(\d+(?:\.\d+)?)"),
}
RESULTS = (HEALTHY, *(severity.value for severity in Severity))

Row = dict[str, Any]


def trend(
    points: Sequence[Row],
    *,
    title: str,
    unit: str,
    band: Row | None = None,
    start: int = 0,
    threshold: float | None = None,
    marks: Sequence[tuple[datetime, str]] = (),
) -> Markup:
    """Draw a metric over a script's runs, oldest first.

    Each point is {test_id, timestamp, value, verdict, marks, notes, incident}. `marks` are classes
    ("change", "accepted"), `notes` are the same in words, and `incident` is whether one was open.
    `band` is the last run's comparison with its baseline, {expected, low, high}; it is drawn from
    the point `start` on. `threshold` is a bound that the script sets. `marks` are times with what
    happened then, such as deployments.
    """
    levels = [band.get(name) if band else None for name in ("expected", "low", "high")]
    times = [_seconds(point["timestamp"]) for point in points]
    values = [point["value"] for point in points]
    bound = threshold if _is_near(threshold, values) else None
    plot = Plot(
        start=min(times), end=max(times), interval_s=1, values=[*levels, *values, bound], unit=unit
    )
    expected, low, high = levels
    shown = [(at.timestamp(), text) for at, text in marks]
    return figure(
        plot.svg(
            plot.band(low, high, start=times[start]),
            plot.level(expected, "baseline", start=times[start]),
            plot.level(bound, "threshold"),
            *(plot.upright(at, said, "mark") for at, said in shown if plot.start <= at <= plot.end),
            *(_incident(plot, times[i : i + 2]) for i, one in enumerate(points) if one["incident"]),
            plot.line(zip(times, values, strict=True), "series-0"),
            points=_links(plot, times, points),
            label=f"{title} of {len(points)} runs, oldest first",
            role="group",
            name_of=_clock(plot.end - plot.start),
        ),
        title=title,
        kind="trend",
        names={},
        data=_data(plot, times, points),
    )


def _links(plot: Plot, times: Sequence[float], points: Sequence[Row]) -> list[Markup]:
    """The points as links; of very many runs only those that stand out, for the keyboard's sake."""
    return [
        _link(plot, at, point)
        for at, point in zip(times, points, strict=True)
        if point["value"] is not None and (len(points) <= MOST_LINKS or _stands_out(point))
    ]


def _stands_out(point: Row) -> bool:
    return bool(point["notes"]) or point["verdict"] != HEALTHY


def _data(plot: Plot, times: Sequence[float], points: Sequence[Row]) -> Row:
    """What the page's script shows at the pointer: value, verdict and notes of each run."""
    known = [(at, one) for at, one in zip(times, points, strict=True) if one["value"] is not None]
    return {
        "x": [plot.x(at) for at, _ in known],
        "at": [round(at) for at, _ in known],
        "runs": [one["test_id"] for _, one in known],
        "series": [
            {
                "name": "",
                "values": [
                    ", ".join([in_unit(one["value"], plot.unit), one["verdict"], *one["notes"]])
                    for _, one in known
                ],
            }
        ],
    }


def _link(plot: Plot, at: float, point: Row) -> Markup:
    """The point of a run, as a link to it."""
    when = f"{point['timestamp'][:19].replace('T', ' ')} UTC"
    notes = ", ".join([when, point["verdict"], *point["notes"]])
    title = f"{in_unit(point['value'], plot.unit)} ({notes})"
    return tag(
        "a",
        tag("title", title),
        tag("circle", cx=plot.share(at), cy=plot.y(point["value"]), r=3, class_="dot"),
        href=f"/runs/{point['test_id']}",
        aria_label=title,
        class_=" ".join([f"v-{point['verdict'].replace(' ', '-')}", *point["marks"]]),
    )


def _incident(plot: Plot, times: Sequence[float]) -> Markup:
    """A bar on the x axis from a run to the next; a short one for the last run."""
    title = tag("title", "an incident was open")
    left, width = plot.x(times[0]), max(plot.x(times[-1]) - plot.x(times[0]), 6)
    left = min(left, WIDE - width)
    return tag("path", title, d=f"M{left},{plot.y(0)}h{width:.1f}", class_="incident")


def timeline(run: Row) -> list[Markup]:
    """Draw the time line of a run, with all its charts over the same time.

    These are requests and errors, response times, iterations and virtual users; what was not
    measured has no chart. The script's own thresholds are lines.
    """
    line = run["breakdown"]["timeline"]
    if len(line["t"]) < 2:
        return []
    size = -(-len(line["t"]) // MOST_POINTS)
    charts = []
    for title, unit, columns in TIMELINE:
        found = {
            name: _merged(_whole(run, column), size)
            for name, column in columns.items()
            if any(value is not None for value in line.get(column) or ())
        }
        if found:
            step_s = size * line["resolution_s"]
            ends = [(i + 1) * step_s for i in range(len(next(iter(found.values()))))]
            bounds = dict(_bounds(run, unit))
            charts.append(_over_time(run, title, unit, found, ends, step_s, bounds=bounds))
    return [*charts, *_of_target(run)]


def _of_target(run: Row) -> Iterator[Markup]:
    """The charts of the target's own numbers, each by itself, as their units differ."""
    for one in run.get("target") or ():
        values = one["values"]
        size = -(-len(values) // MOST_POINTS)
        if any(value is not None for value in values):
            merged, step_s = _merged(values, size), size * one["step_s"]
            # A value is of its moment, and is drawn there: in the middle of its interval.
            ends = [one["start_s"] + (i + 0.5) * step_s for i in range(len(merged))]
            title = f"Target: {one['title']}"
            yield _over_time(run, title, one["unit"], {one["title"]: merged}, ends, step_s)


def _over_time(
    run: Row,
    title: str,
    unit: str,
    series: dict[str, list[float | None]],
    ends: Sequence[float],
    interval_s: float,
    *,
    bounds: Mapping[str, float] = MappingProxyType({}),
) -> Markup:
    """One chart of the time line; `series` maps names to values, of the intervals up to `ends`."""
    seen = [value for values in series.values() for value in values]
    bounds = {text: bound for text, bound in bounds.items() if _is_near(bound, seen)}
    plot = Plot(
        start=0,
        end=run["breakdown"]["timeline"]["t"][-1],
        interval_s=interval_s,
        values=[*seen, *bounds.values()],
        unit=unit,
        height=170,
    )
    classes = {name: f"series-{number}" for number, name in enumerate(series)}
    middles = [end - interval_s / 2 for end in ends]
    drawn = plot.svg(
        *(plot.level(bound, "threshold") for bound in bounds.values()),
        *(plot.line(zip(middles, series[name], strict=True), classes[name]) for name in series),
        label=f"{title} over the run",
        name_of=seconds,
    )
    data = {
        "x": [plot.x(at) for at in middles],
        "texts": [seconds(round(end)) for end in ends],
        "series": [
            {"name": name, "values": [in_unit(value, unit) for value in values]}
            for name, values in series.items()
        ],
    }
    names = classes | {f"threshold {text}": "threshold" for text in bounds}
    shown = names if len(names) > 1 else {}
    return figure(drawn, title=title, kind="line", names=shown, data=data)


def _bounds(run: Row, unit: str) -> Iterator[tuple[str, float]]:
    """The bounds that the script sets for what a chart with that unit shows, each with its text."""
    metric, form = BOUNDS.get(unit, ("", ""))
    for one in run.get("thresholds") or ():
        expression = one["expression"].replace(" ", "")
        found = re.fullmatch(form, expression) if one["metric"] == metric else None
        if found:
            yield expression, float(found[1])


def _whole(run: Row, column: str) -> list[float | None]:
    """A column of the time line; None for the rate of a last interval that the run's end cut short.

    Drawn, it would look like a collapse.
    """
    line, ran_ms = run["breakdown"]["timeline"], run["metrics"]["duration_ms"] or 0
    is_cut = column.endswith("per_second") and ran_ms < line["t"][-1] * 1000
    return [*line[column][:-1], None if is_cut else line[column][-1]]


def _merged(values: Sequence[float | None], size: int) -> list[float | None]:
    """The largest of each `size` values."""
    return [largest(values[i : i + size]) for i in range(0, len(values), size)]


def threshold_of(run: Row, metric: str) -> float | None:
    """The strictest bound that the run's thresholds set for a metric of k6d, in its unit."""
    name, form, scale = THRESHOLDS[metric]
    bound = re.compile(form + r"(\d+(?:\.\d+)?)")
    expressions = (
        one["expression"].replace(" ", "")
        for one in run.get("thresholds") or ()
        if one["metric"] == name
    )
    found = [float(m[1]) * scale for text in expressions if (m := bound.fullmatch(text))]
    return (max if ">" in form else min)(found, default=None)


def _is_near(bound: float | None, values: Sequence[float | None]) -> bool:
    return bound is not None and bound <= SHOWN_THRESHOLD * (largest(values) or 0)


def anomalies(days: Sequence[Row]) -> Markup:
    """Draw healthy and anomalous runs by day; a day is {day, total, anomalies, severities}."""
    plot = _daily(days, [day["total"] for day in days], unit="", height=260)
    bars = [bar for day in days for bar in _bars(plot, day)]
    names = {_result(name): f"bar-{name}" for name in RESULTS}
    return figure(
        plot.svg(*bars, label="runs by day and severity", name_of=_date),
        title="Runs",
        kind="bars",
        names=names,
    )


def _result(name: str) -> str:
    """The words for a bar: a run with an error of its script is not anomalous, and not healthy."""
    return "not anomalous" if name == HEALTHY else name


def _bars(plot: Plot, day: Row) -> list[Markup]:
    """The bars of one day, one on top of the other."""
    counts = {HEALTHY: day["total"] - day["anomalies"], **day["severities"]}
    heights = [counts.get(name, 0) for name in RESULTS]
    at, half = _seconds(day["day"]), 0.4 * DAY
    left, right = plot.x(at - half), plot.x(at + half)
    return [
        tag(
            "rect",
            tag("title", f"{count} {_result(name)} ({day['day']})"),
            x=left,
            y=plot.y(above),
            width=f"{right - left:.1f}",
            height=f"{plot.y(above - count) - plot.y(above):.1f}",
            class_=f"bar-{name}",
        )
        for name, count, above in zip(RESULTS, heights, accumulate(heights), strict=True)
        if count
    ]


def anomaly_rate(days: Sequence[Row]) -> Markup:
    """Draw the share of anomalous runs by day, with a gap for days without runs."""
    rates = [day["anomalies"] / day["total"] * 100 if day["total"] else None for day in days]
    plot = _daily(days, rates, unit="%", height=160)
    line = plot.line(
        ((_seconds(d["day"]), r) for d, r in zip(days, rates, strict=True)), "series-0"
    )
    return figure(
        plot.svg(line, label="share of anomalous runs by day", name_of=_date),
        title="Anomalous runs",
        kind="line",
        names={},
    )


def _daily(days: Sequence[Row], values: Sequence[float | None], *, unit: str, height: int) -> Plot:
    """A plot with half a day of room at both ends; each day's value stands at its midnight."""
    return Plot(
        start=_seconds(days[0]["day"]) - DAY / 2,
        end=_seconds(days[-1]["day"]) + DAY / 2,
        interval_s=DAY,
        values=values,
        unit=unit,
        height=height,
    )


def spark(values: Sequence[float | None], *, label: str) -> Markup:
    """Draw values as a line in a table cell, scaled from the smallest to the largest."""
    seen = [value for value in values if value is not None]
    if len(seen) < 2:
        return Markup()
    low, high = min(seen), max(seen)
    scale = (SPARK_HEIGHT - 4) / (high - low) if high > low else 0
    step = SPARK_WIDTH / (len(values) - 1)
    points = " ".join(
        f"{i * step:.1f},{SPARK_HEIGHT - 2 - (value - low) * scale:.1f}"
        for i, value in enumerate(values)
        if value is not None
    )
    return tag(
        "svg",
        tag("polyline", points=points),
        viewBox=f"0 0 {SPARK_WIDTH} {SPARK_HEIGHT}",
        width=SPARK_WIDTH,
        height=SPARK_HEIGHT,
        class_="spark",
        role="img",
        aria_label=label,
    )


def _seconds(timestamp: str) -> float:
    """Seconds since 1970 of a time or a day, which is UTC if it has no zone."""
    moment = datetime.fromisoformat(timestamp)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _clock(span_s: float) -> Callable[[int], str]:
    """How to write the times of an axis of that length, so that no two labels are equal."""
    form = "%H:%M:%S" if span_s < 600 else "%m-%d %H:%M" if span_s < 5 * DAY else "%Y-%m-%d"
    return lambda at: datetime.fromtimestamp(at, UTC).strftime(form)


def _date(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
