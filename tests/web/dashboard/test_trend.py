"""What a script's page draws of its runs: levels, accepted ones, incidents; the SVG itself."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson

from k6d.alerts.records import Incident, IncidentState
from k6d.alerts.recoveries import Recovery
from k6d.core.measurements import Threshold
from k6d.core.model import Comparison, Severity
from k6d.storage.query import Query
from k6d.storage.store import Store
from k6d.web.dashboard import trend
from k6d.web.rendering import charts
from support.records import NOON, make_run

if TYPE_CHECKING:
    from pathlib import Path


def rows(*values: float | None, **changes: Any) -> list[dict[str, Any]]:
    """Index documents, newest first, of runs an hour apart; the values are given oldest first."""
    found = [
        {
            "test_id": f"run-{number:02}",
            "timestamp": (NOON + timedelta(hours=number)).isoformat(),
            "response_time_p95": value,
            "severity": None,
            "outcome": "completed",
            "trigger": "changed",
            "comparable": True,
            "workload": "w",
            **changes,
        }
        for number, value in enumerate(values)
    ]
    return found[::-1]


def incident(first: int, last: int) -> Incident:
    """An incident from one run to another."""
    return Incident(
        id=f"run-{first:02}",
        script="a.js",
        since=NOON,
        severity=Severity.HIGH,
        peak=Severity.HIGH,
        problems={},
        first_run=f"run-{first:02}",
        last_run=f"run-{last:02}",
        last_seen=NOON,
    )


STEP = [100.0, 101.0, 99.0, 100.0, 102.0, 100.0, 150.0, 151.0, 149.0, 150.0, 151.0, 150.0]


def test_what_is_marked() -> None:
    """A new level by its first run, an accepted one with the reason, every run in an incident."""
    standing = IncidentState(script="a.js", incident=incident(10, 11), last=incident(6, 8))
    accepted = [{"since": "run-06", "reason": "worth it"}]
    found = trend.points(rows(*STEP), "response_time_p95", accepted=accepted, standing=standing)
    assert [point["value"] for point in found] == STEP
    assert {p["test_id"]: p["notes"] for p in found if p["notes"]} == {
        "run-06": ["a new level began", "level accepted: worth it"]
    }
    during = [point["test_id"] for point in found if point["incident"]]
    assert during == ["run-06", "run-07", "run-10", "run-11"]
    before = Recovery(script="a.js", since=NOON, ended=NOON, first_run="run-02", last_run="run-04")
    found = trend.points(
        rows(*STEP), "response_time_p95", accepted=[], standing=standing, recoveries=[before]
    )
    during = [point["test_id"] for point in found if point["incident"]]
    assert during[:2] == ["run-02", "run-03"]


def test_imported_runs_are_marked() -> None:
    """They are none of k6d's; the mark and the words say so."""
    found = trend.points(
        [*rows(100.0), *rows(90.0, trigger="imported")],
        "response_time_p95",
        accepted=[],
        standing=None,
    )
    assert [(point["marks"], point["notes"]) for point in found] == [
        (["imported"], ["imported"]),
        ([], []),
    ]


def test_the_chart() -> None:
    """Links and titles of the runs, the band from its start on, the bar of the incidents; what
    was not measured leaves a gap.
    """
    found = trend.points(
        rows(*STEP, None),
        "response_time_p95",
        accepted=[{"since": "run-06", "reason": "<b>"}],
        standing=IncidentState(script="a.js", incident=incident(10, 11)),
    )
    band = {"expected": 150.0, "low": 140.0, "high": 160.0}
    svg = ET.fromstring(charts.trend(found, title="p95", unit="ms", band=band, start=6))
    links = svg.findall(".//{*}a")
    assert [link.get("href") for link in links] == [
        f"/runs/run-{number:02}" for number in range(12)
    ]
    assert links[6].get("aria-label") == (
        "150 ms (2026-11-22 18:00:00 UTC, healthy, a new level began, level accepted: <b>)"
    )
    titles = [title.text or "" for title in svg.iter("title")]
    assert sum("an incident was open" in title for title in titles) == 3


def test_marks_in_the_chart() -> None:
    """A deployment is an upright line with its text; one outside of the time shown is left out."""
    found = trend.points(rows(*STEP), "response_time_p95", accepted=[], standing=None)
    marks = [(NOON + timedelta(hours=2), "v1.2 <b>"), (NOON - timedelta(hours=2), "v1.1")]
    svg = ET.fromstring(charts.trend(found, title="p95", unit="ms", marks=marks))
    uprights = [path for path in svg.iter("path") if path.get("class") == "level mark"]
    assert [path.findtext("title") for path in uprights] == ["v1.2 <b>"]


def test_many_points_are_not_many_stops_for_the_keyboard() -> None:
    """Above MOST_LINKS runs only those that stand out are links; the script has all of them."""
    values = [100.0 + number % 7 for number in range(charts.MOST_LINKS + 50)]
    given = rows(*values)
    given[3]["severity"] = "high"
    found = trend.points(given, "response_time_p95", accepted=[], standing=None)
    svg = ET.fromstring(charts.trend(found, title="p95", unit="ms"))
    assert [link.get("href") for link in svg.findall(".//{*}a")] == [f"/runs/{given[3]['test_id']}"]
    data = orjson.loads(svg.get("data-chart") or "")
    assert len(data["runs"]) == len(values)
    assert data["series"][0]["values"][-4].endswith(" ms, high")


def test_any_series_of_the_runs_can_be_shown(tmp_path: Path) -> None:
    """Endpoints and metrics of the script, from the files of the runs, with band and threshold; the
    series of the open incident comes first.
    """
    store, endpoint = Store(tmp_path), "error_rate GET /cart"
    custom = "custom:basket:avg:<"
    for number in range(3):
        at = NOON + timedelta(hours=number)
        compared = Comparison(
            metric="error_rate", endpoint="GET /cart", unit="%", state="worse", observed=8.0,
            expected=0.0, low=0.0, high=1.0,
        )  # fmt: skip
        store.save(
            make_run(
                test_id=f"{at:%Y%m%d-%H%M%S}-00000{number}",
                timestamp=at,
                comparable=True,
                series={endpoint: float(number), custom: 3.0} if number else {},
                comparisons=[compared],
                thresholds=[Threshold(metric="basket", expression="avg < 4", crossed=False)],
            )
        )
    history = store.search(Query(), limit=9)
    key = "regression|error_rate|GET /cart"
    open_ = replace(incident(1, 2), problems={key: "errors"})
    standing, cache = IncidentState(script="a.js", incident=open_), {}
    shown = trend.drawn(history, "", store, accepted=[], standing=standing, cache=cache)
    assert shown["metric"] == endpoint
    assert [point["value"] for point in shown["points"]] == [None, 1.0, 2.0]
    assert shown["band"]["high"] == 1.0
    assert shown["metrics"][custom] == "basket avg"
    other = trend.drawn(history, custom, store, accepted=[], standing=standing, cache=cache)
    assert (other["metric"], other["unit"], other["threshold"]) == (custom, "", 4.0)
    assert trend.drawn(history, "x", store, accepted=[], standing=None)["metric"] == trend.FIRST[0]
