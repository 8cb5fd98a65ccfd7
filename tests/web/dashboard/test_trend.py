"""What a script's page draws of its runs: levels, accepted ones, incidents; the SVG itself."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import timedelta
from typing import Any

from k6d.alerts.records import Incident, IncidentState
from k6d.core.model import Severity
from k6d.web.dashboard import trend
from k6d.web.rendering import charts
from support.records import NOON


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
