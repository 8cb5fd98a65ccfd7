"""Charts: the scale of time, labels, gaps, thresholds, short runs, the last second of a run."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from k6d.web.rendering import charts
from k6d.web.rendering.svg import DAY, MOST_LABELS, Plot
from support.records import NOON, make_run, make_target

if TYPE_CHECKING:
    from markupsafe import Markup


def run(*rates: float | None, vus: list[int | None], ran_s: float, bound: str = "") -> Any:
    """The JSON of a run, as far as charts read it."""
    count = len(rates)
    return {
        "breakdown": {
            "timeline": {
                "resolution_s": 1,
                "t": list(range(1, count + 1)),
                "vus": vus,
                "requests_per_second": list(rates),
                "errors_per_second": [0.0] * count,
                "p95_ms": [100.0] * count,
            }
        },
        "metrics": {"duration_ms": ran_s * 1000},
        "thresholds": [{"metric": "http_req_duration", "expression": bound}] if bound else [],
    }


def lines(svg: Markup, name: str = "series-0") -> list[list[tuple[float, float]]]:
    """The pieces of a line, each the places of its points."""
    (path,) = (p for p in ET.fromstring(svg).iter("path") if p.get("class") == f"line {name}")
    pieces = (path.get("d") or "").split("M")[1:]
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", piece)]
        for piece in pieces
    ]


@pytest.mark.parametrize(
    "span_s",
    [0, 1, 2, 7, 59, 60, 601, 3_600, 50_000, DAY, 5 * DAY, 17 * DAY, 400 * DAY, 9_000 * DAY],
)
def test_at_most_six_labels_of_a_time_axis(span_s: int) -> None:
    """They are evenly spaced, far enough apart for the longest text, and inside the axis."""
    start = NOON.timestamp()
    plot = Plot(start=start, end=start + span_s, interval_s=1, values=[1.0], unit="ms")
    times = plot.labelled_times()
    assert len(times) <= MOST_LABELS
    assert all(start <= at <= start + span_s for at in times)
    places = [plot.x(at) for at in times]
    assert all(b - a > 100 for a, b in itertools.pairwise(places))
    assert span_s < 1 or times


def test_time_is_true_to_scale() -> None:
    """A run a day after two runs of one hour stands far from them."""
    times = [NOON, NOON + timedelta(hours=1), NOON + timedelta(hours=25)]
    points = [
        {
            "test_id": f"run-{at.isoformat()}",
            "timestamp": at.isoformat(),
            "value": 100.0,
            "verdict": "healthy",
            "marks": [],
            "notes": [],
            "incident": False,
        }
        for at in times
    ]
    ((first, second, third),) = lines(charts.trend(points, title="p95", unit="ms"))
    assert (third[0] - second[0]) == pytest.approx(24 * (second[0] - first[0]), rel=0.01)


@pytest.mark.parametrize("span_s", [5, 30, 100, 599, 600, 5_000, 90_000, 5 * DAY, 60 * DAY])
def test_labels_of_a_trend_differ(span_s: int) -> None:
    """Runs within seconds have labels, too."""
    at = [NOON, NOON + timedelta(seconds=span_s)]
    points = [
        {
            "test_id": one.isoformat(),
            "timestamp": one.isoformat(),
            "value": 1.0,
            "verdict": "healthy",
            "marks": [],
            "notes": [],
            "incident": False,
        }
        for one in at
    ]
    svg = ET.fromstring(charts.trend(points, title="p95", unit="ms"))
    texts = [text.text for text in svg.iter("text") if (text.get("class") or "")[0] == "x"]
    assert texts
    assert len(set(texts)) == len(texts)


def test_what_was_not_measured_is_a_gap() -> None:
    """The line has two pieces; a lone value between gaps is as wide as its second."""
    made = charts.timeline(run(5, 5, None, 5, None, 5, 5, vus=[1] * 7, ran_s=7.0))
    pieces = lines(made[0])
    assert [len(piece) for piece in pieces] == [2, 2, 2]
    (left, _), (right, _) = pieces[1]
    assert right - left == pytest.approx(1000 / 7, abs=0.2)


def test_a_partial_last_second_is_no_collapse() -> None:
    """The rate of a second that the end cut short is not drawn; that of a whole one is."""
    cut = charts.timeline(run(50, 50, 50, 7, vus=[5] * 4, ran_s=3.2))
    assert len({y for piece in lines(cut[0]) for _, y in piece}) == 1
    whole = charts.timeline(run(50, 50, 50, 7, vus=[5] * 4, ran_s=4.0))
    assert len({y for piece in lines(whole[0]) for _, y in piece}) == 2


def test_virtual_users_of_a_short_run() -> None:
    """A single known value is drawn, over its second."""
    made = charts.timeline(run(50, 7, vus=[None, 5], ran_s=1.4))
    (((left, _), (right, _)),) = lines(made[-1])
    assert right - left > 300


def test_a_threshold_is_a_line() -> None:
    """The p95 chart shows the bound of the script; one far above all values is left out."""
    for bound, shown in (("p(95)<250", True), ("p(95) < 250", True), ("p(95)<9000", False)):
        made = charts.timeline(run(5, 5, vus=[1, 1], ran_s=2.0, bound=bound))
        assert ("level threshold" in made[1]) is shown, bound
        assert ("threshold p(95)&lt;250" in made[1]) is shown, bound
        assert "threshold" not in made[0] + made[2]


@pytest.mark.parametrize(
    ("metric", "thresholds", "expected"),
    [
        ("response_time_p95", [("http_req_duration", "p(95)<500")], 500.0),
        ("response_time_p95", [("http_req_duration", f"p(95)<{n}") for n in (500, "=300")], 300.0),
        ("response_time_avg", [("http_req_duration", "avg<200.5")], 200.5),
        ("error_rate", [("http_req_failed", "rate<0.01")], 1.0),
        ("requests_per_second", [("http_reqs", "rate>10"), ("http_reqs", "rate>20")], 20.0),
        ("response_time_p95", [("http_req_duration{name:a}", "p(95)<500")], None),
        ("response_time_p95", [("http_req_duration", "p(99)<500")], None),
    ],
)  # fmt: skip
def test_the_bound_of_a_metric(
    metric: str, thresholds: list[tuple[str, str]], expected: float | None
) -> None:
    """It is the strictest of the script's thresholds for all requests."""
    given = [{"metric": name, "expression": text} for name, text in thresholds]
    assert charts.threshold_of({"thresholds": given}, metric) == expected
    assert charts.threshold_of({}, metric) is None


def test_statistics_of_days() -> None:
    """Bars stand on one another; a day without runs has none, and leaves a gap in the rate."""
    days = [
        {"day": "2026-11-20", "total": 4, "anomalies": 2, "severities": {"low": 1, "high": 1}},
        {"day": "2026-11-21", "total": 0, "anomalies": 0, "severities": {}},
        {"day": "2026-11-22", "total": 2, "anomalies": 0, "severities": {}},
    ]
    bars = [
        b for b in ET.fromstring(charts.anomalies(days)).iter("rect") if b.find("title") is not None
    ]
    assert [b.findtext("title") for b in bars] == [
        "2 not anomalous (2026-11-20)",
        "1 low (2026-11-20)",
        "1 high (2026-11-20)",
        "2 not anomalous (2026-11-22)",
    ]
    ends = [float(b.get("y") or 0) + float(b.get("height") or 0) for b in bars[:3]]
    assert ends[1] == pytest.approx(float(bars[0].get("y") or 0), abs=0.2)
    assert ends[2] == pytest.approx(float(bars[1].get("y") or 0), abs=0.2)
    assert len(lines(charts.anomaly_rate(days))) == 2


def test_the_targets_own_numbers_are_on_the_same_axis() -> None:
    """A chart each, with its gap; a value is drawn at its moment, and no threshold of k6 is."""
    drawn = make_run(target=[make_target(), make_target(title="none", values=[])])
    found = charts.timeline(orjson.loads(orjson.dumps(drawn)))
    first, cpu = found[0], found[-1]
    assert "Target: checkout CPU" in cpu
    assert "Target: none" not in "".join(found)
    parts = lines(cpu)
    assert [x for part in parts for x, _ in part][:2] == [0, pytest.approx(1000 * 5 / 60, abs=0.1)]
    assert len(parts) == 2
    assert parts[-1][-1][0] == 1000
    assert "threshold" not in cpu
    assert lines(first)[0][-1][0] < 1000
