"""Draws charts as inline SVG with pygal; points are links, and the page sets the colours.

pygal's style sheet and script are removed, because the pages' security policy forbids them. The
page sets colours by class, so that they follow the reader's light or dark mode.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from k6d.core.model import Severity
from k6d.core.numbers import in_unit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
WIDTH, HEIGHT = 900, 260
MOST_POINTS = 240  # more could not be distinguished at this width
LABELS = 6
HEADROOM = 1.06  # above the highest point, for the ring around it
SPARK_WIDTH, SPARK_HEIGHT = 120, 24

Row = dict[str, Any]


def trend(
    points: Sequence[Row], *, title: str, unit: str, band: Row | None = None, start: int = 0
) -> Markup:
    """Draw a metric over a script's runs, oldest first.

    Each point is {test_id, timestamp, value, verdict, marks, notes, incident}. `marks` are classes
    ("change", "accepted"), `notes` are the same in words, and `incident` is whether one was open.
    `band` is the last run's comparison with its baseline, {expected, low, high}; it is drawn from
    the point `start` on.
    """
    levels = [band.get(name) if band else None for name in ("expected", "low", "high")]
    tops = [value for value in (*levels, *(point["value"] for point in points)) if value]
    options = {"range": (0, max(tops) * HEADROOM)} if tops else {}
    chart = _made(_pygal().Line, unit, title, dots_size=3, **options)
    chart.x_labels = [_short(point["timestamp"]) for point in points]
    chart.x_labels_major = _some([_short(point["timestamp"]) for point in points])
    chart.add(title, [_point(point) for point in points], allow_interruptions=True)
    for level in levels:
        line = [level and max(0.0, level)] * (len(points) - start)
        chart.add("", [None] * start + line, show_dots=False, allow_interruptions=True)
    chart.add(
        "",
        [0 if point["incident"] else None for point in points],
        allow_interruptions=True,
        formatter=lambda _: "an incident was open",
    )
    return _svg(chart, f"{title} of the last {len(points)} runs, oldest first", kind="trend")


def _point(point: Row) -> Row:
    when = f"{point['timestamp'][:19].replace('T', ' ')} UTC"
    verdict = f"v-{point['verdict'].replace(' ', '-')}"
    return {
        "value": point["value"],
        "label": ", ".join([when, point["verdict"], *point["notes"]]),
        "xlink": {"href": f"/runs/{point['test_id']}"},
        "node": {"class": " ".join([verdict, *point["marks"]])},
    }


def timeline(run: Row) -> list[Markup]:
    """Draw the time line of a run: requests and errors, response time, virtual users."""
    line = run["breakdown"]["timeline"]
    if len(line["t"]) < 2:
        return []
    step = -(-len(line["t"]) // MOST_POINTS)
    labels = [f"{t} s" for t in line["t"][::step]]
    parts = [
        (
            "requests/s",
            "/s",
            [("requests/s", "requests_per_second"), ("errors/s", "errors_per_second")],
        ),
        ("p95 of each second", "ms", [("p95", "p95_ms")]),
        ("virtual users", "", [("virtual users", "vus")]),
    ]
    charts = []
    for title, unit, series in parts:
        chart = _made(_pygal().Line, unit, title, show_dots=False, height=180)
        chart.x_labels, chart.x_labels_major = labels, _some(labels)
        for name, column in series:
            values = [_top(line[column][i : i + step]) for i in range(0, len(line[column]), step)]
            chart.add(name, values, allow_interruptions=True)
        charts.append(_svg(chart, f"{title} over the run"))
    return charts


def anomalies(days: Sequence[Row]) -> Markup:
    """Draw healthy and anomalous runs by day; a day is {day, total, anomalies, severities}."""
    chart = _made(_pygal().StackedBar, "", "runs by day")
    chart.x_labels = [day["day"] for day in days]
    chart.x_labels_major = _some(chart.x_labels)
    chart.add("not anomalous", [day["total"] - day["anomalies"] for day in days])
    for severity in Severity:
        counts = [day["severities"].get(severity.value, 0) for day in days]
        chart.add(severity.value, [count or None for count in counts])
    return _svg(chart, "runs by day and severity", kind="bars")


def anomaly_rate(days: Sequence[Row]) -> Markup:
    """Draw the share of anomalous runs by day, with a gap for days without runs."""
    chart = _made(_pygal().Line, "%", "anomaly rate", dots_size=2, height=160)
    chart.x_labels = [day["day"] for day in days]
    chart.x_labels_major = _some(chart.x_labels)
    rates = [day["anomalies"] / day["total"] * 100 if day["total"] else None for day in days]
    chart.add("anomaly rate", rates, allow_interruptions=True)
    return _svg(chart, "share of anomalous runs by day")


def spark(values: Sequence[float | None], *, label: str) -> Markup:
    """Draw values as a line in a table cell, scaled from the smallest to the largest."""
    seen = [value for value in values if value is not None]
    if len(seen) < 2:
        return Markup("")
    low, high = min(seen), max(seen)
    scale = (SPARK_HEIGHT - 4) / (high - low) if high > low else 0
    step = SPARK_WIDTH / (len(values) - 1)
    points = " ".join(
        f"{i * step:.1f},{SPARK_HEIGHT - 2 - (value - low) * scale:.1f}"
        for i, value in enumerate(values)
        if value is not None
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">'
        '<polyline points="{}"/></svg>'
    ).format(SPARK_WIDTH, SPARK_HEIGHT, SPARK_WIDTH, SPARK_HEIGHT, label, points)


@cache
def _pygal() -> Any:
    """Import pygal on first use, and remove its finder for map plug-ins, which causes a warning.

    lxml, if it is installed, is not loaded: it takes 5 MiB and is not needed.
    """
    hidden = "lxml" not in sys.modules
    if hidden:
        sys.modules["lxml"] = None  # type: ignore[assignment]  # makes the import fail
    try:
        import pygal
    finally:
        if hidden:
            del sys.modules["lxml"]

    sys.meta_path[:] = [one for one in sys.meta_path if type(one).__module__ != "pygal"]
    return pygal


def _made(kind: Any, unit: str, title: str, **options: Any) -> Any:
    return kind(
        width=WIDTH,
        height=options.pop("height", HEIGHT),
        js=[],
        css=[],
        show_legend=title in ("requests/s", "runs by day"),
        legend_at_bottom=True,
        legend_box_size=10,
        truncate_label=-1,
        truncate_legend=-1,
        show_minor_x_labels=False,
        margin=8,
        margin_right=36,  # half of the last label
        include_x_axis=True,
        range=options.pop("range", None),
        max_scale=6,
        disable_xml_declaration=True,
        formatter=lambda value: in_unit(value, unit),
        value_formatter=lambda value: in_unit(value, unit),
        **options,
    )


def _svg(chart: Any, label: str, *, kind: str = "line") -> Markup:
    import xml.etree.ElementTree as ET

    root = ET.fromstring(chart.render(is_unicode=True))  # noqa: S314  (pygal wrote it just now)
    _clean(root)
    linked = root.find(f".//{{{SVG}}}a") is not None
    root.attrib.pop("id", None)
    root.attrib |= {
        "class": f"chart {kind}",
        "role": "group" if linked else "img",
        "aria-label": label,
    }
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704  (serialised, so escaped)


def _clean(node: Element) -> None:
    """Keep only the drawing; turn pygal's descriptions into titles, which browsers show."""
    node.attrib.pop("style", None)
    if node.get("class") != "legend":
        node.attrib.pop("id", None)
    texts: dict[str, str] = {}
    for child in list(node):
        name = child.tag.rpartition("}")[2] if isinstance(child.tag, str) else ""
        if name == "desc":
            texts[child.get("class") or ""] = child.text or ""
        if name in ("desc", "style", "script", "title", "") or "tooltip-overlay" in (
            child.get("class") or ""
        ):
            node.remove(child)
        else:
            _clean(child)
    if node.tag == f"{{{SVG}}}a":
        node.attrib.pop("target", None)
    if "value" in texts:
        title = node.makeelement(f"{{{SVG}}}title", {})
        label = texts.get("label") or texts.get("x_label", "")
        title.text = f"{texts['value']} ({label})" if label else texts["value"]
        node.insert(0, title)
        if node.tag == f"{{{SVG}}}a":
            node.set("aria-label", title.text)


def _short(timestamp: str) -> str:
    return timestamp[5:16].replace("T", " ")


def _some(labels: Sequence[str]) -> list[str]:
    """Return a few labels, evenly spaced, since all of them would overlap."""
    step = max(1, -(-len(labels) // LABELS))
    return list(labels[::step])


def _top(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
