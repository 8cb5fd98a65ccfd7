"""Prepares the trend of a script for its page: values, marks and baseline."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from k6d.analysis.change_point import shifts
from k6d.core.mark import between
from k6d.core.metrics import METRICS
from k6d.core.model import K6dError, Trigger
from k6d.storage.marks import marks
from k6d.web.rendering import charts, filters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k6d.alerts.records import IncidentState
    from k6d.core.mark import Mark
    from k6d.storage.store import Store

Row = dict[str, Any]


def drawn(
    rows: Sequence[Row],
    metric: str,
    store: Store,
    *,
    accepted: Sequence[Row],
    standing: IncidentState | None,
) -> Row:
    """What the page of a script shows of its trend: chart, points, marks, band, threshold, unit.

    `rows` are runs, newest first. There is no chart unless two of them measured the metric.
    """
    found = points(rows, metric, accepted=accepted, standing=standing)
    newest, about = newest_record(rows, store), METRICS[metric]
    start = max((i for i, one in enumerate(found) if "accepted" in one["marks"]), default=0)
    baseline, threshold = band(newest, metric), charts.threshold_of(newest, metric)
    measured = sum(point["value"] is not None for point in found)
    happened = _happened(rows, store)
    chart = None
    if measured > 1:
        chart = charts.trend(
            found,
            title=about.short,
            unit=about.unit,
            band=baseline,
            start=start,
            threshold=threshold,
            marks=[(mark.at, mark.text) for mark in happened],
        )
    return {
        "chart": chart,
        "points": found,
        "happened": happened,
        "marks": {mark for point in found for mark in point["marks"]},
        "band": baseline,
        "threshold": threshold,
        "unit": about.unit,
    }


def _happened(rows: Sequence[Row], store: Store) -> list[Mark]:
    """Return the marks of the script (deployments and the like) between its first and last run."""
    if not rows:
        return []
    first, last = (datetime.fromisoformat(rows[i]["timestamp"]) for i in (-1, 0))
    return between(marks(store), rows[0]["script"], after=first, until=last)


def points(
    rows: Sequence[Row], metric: str, *, accepted: Sequence[Row], standing: IncidentState | None
) -> list[Row]:
    """Convert runs (`rows`, newest first) to points of the trend (oldest first).

    `accepted` are the accepted levels; `standing` holds the incidents of the script.
    """
    reasons = {entry["since"]: entry.get("reason") for entry in accepted}
    began = _shifted(rows, metric)
    found = []
    for row in reversed(rows):
        test_id, notes = row["test_id"], {}
        if test_id in began:
            notes["change"] = "a new level began"
        if row["trigger"] == Trigger.IMPORTED:
            notes["imported"] = "imported"
        if test_id in reasons:
            reason = reasons[test_id]
            notes["accepted"] = f"level accepted: {reason}" if reason else "level accepted"
        found.append(
            {
                "test_id": test_id,
                "timestamp": row["timestamp"],
                "value": row[metric],
                "verdict": filters.verdict(row),
                "incident": _in_incident(test_id, standing),
                "marks": list(notes),
                "notes": list(notes.values()),
            }
        )
    return found


def newest_record(rows: Sequence[Row], store: Store) -> Row:
    """The stored JSON of the newest comparable run in `rows`; empty when there is none."""
    newest = _newest(rows)
    try:
        record: Row = orjson.loads(store.load_raw(newest["test_id"])) if newest else {}
    except (K6dError, ValueError):
        return {}
    return record


def band(record: Row, metric: str) -> Row | None:
    """The baseline band of a run."""
    compared = record.get("comparisons") or []
    return next((c for c in compared if c["metric"] == metric and c["endpoint"] is None), None)


def _newest(rows: Sequence[Row]) -> Row | None:
    """Return the newest comparable run."""
    return next((row for row in rows if row["comparable"]), None)


def _in_incident(test_id: str, standing: IncidentState | None) -> bool:
    """Return whether the script's current or last incident was open at this run."""
    if standing is None:
        return False
    now, last = standing.incident, standing.last
    if now and now.first_run <= test_id:
        return True
    return last is not None and last.first_run <= test_id < last.last_run


def _shifted(rows: Sequence[Row], metric: str) -> set[str]:
    """Return the runs at which a new level began, among those comparable with the newest run."""
    newest = _newest(rows)
    if newest is None:
        return set()
    values = [
        row[metric] if row["comparable"] and row["workload"] == newest["workload"] else None
        for row in reversed(rows)
    ]
    found = shifts(values, floor=METRICS[metric].floor)
    return {rows[-1 - shift.index]["test_id"] for shift in found}
