"""Prepares the trend of a script for its page: values, marks and baseline."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import orjson

from k6d.alerts.incidents import regressed
from k6d.analysis.change_point import shifts
from k6d.analysis.series import CUSTOM, describe
from k6d.core.mark import between
from k6d.core.metrics import INDEXED, METRICS
from k6d.core.model import K6dError, Trigger
from k6d.storage.marks import marks
from k6d.web.rendering import charts, filters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k6d.alerts.records import IncidentState
    from k6d.alerts.recoveries import Recovery
    from k6d.core.mark import Mark
    from k6d.storage.store import Store

Row = dict[str, Any]
FIRST = ("response_time_p95", "error_rate", "requests_per_second", "response_time_avg")
MOST_KEPT = 20_000  # values that were read from files


def drawn(
    rows: Sequence[Row],
    wanted: str,
    store: Store,
    *,
    accepted: Sequence[Row],
    standing: IncidentState | None,
    recoveries: Sequence[Recovery] = (),
    cache: dict[str, object] | None = None,
) -> Row:
    """What the page of a script shows of its trend: chart, points, marks, band, threshold, unit.

    `rows` are runs, newest first. `recoveries` are past incidents of the script. `wanted` is the
    key of a series, or "" for that of the incident, else the p95. There is no chart unless two runs
    measured it. `cache` keeps values that were read from files.
    """
    newest = newest_record(rows, store)
    choices = choices_of(newest, standing)
    key = wanted if wanted in choices else _first(choices, standing)
    rows = with_values(rows, key, store, {} if cache is None else cache)
    found = points(rows, key, accepted=accepted, standing=standing, recoveries=recoveries)
    start = max((i for i, one in enumerate(found) if "accepted" in one["marks"]), default=0)
    baseline, threshold = band(newest, key), threshold_of(newest, key)
    measured = sum(point["value"] is not None for point in found)
    happened = _happened(rows, store)
    chart = None
    if measured > 1:
        chart = charts.trend(
            found,
            title=choices[key],
            unit=unit_of(key),
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
        "unit": unit_of(key),
        "metric": key,
        "metrics": choices,
    }


def _happened(rows: Sequence[Row], store: Store) -> list[Mark]:
    """Return the marks of the script (deployments and the like) between its first and last run."""
    if not rows:
        return []
    first, last = (datetime.fromisoformat(rows[i]["timestamp"]) for i in (-1, 0))
    return between(marks(store), rows[0]["script"], after=first, until=last)


def choices_of(newest: Row, standing: IncidentState | None) -> dict[str, str]:
    """The series that a trend can show: of the newest run and of the incident, with titles."""
    keys = list(dict.fromkeys([*FIRST, *(newest.get("series") or ())]))
    incident = standing.incident if standing else None
    keys += [key for key in map(regressed, incident.problems if incident else ()) if key]
    return {key: title_of(key) for key in dict.fromkeys(keys) if title_of(key)}


def _first(choices: Mapping[str, str], standing: IncidentState | None) -> str:
    """The series to show unasked: what the open incident is about."""
    incident = standing.incident if standing else None
    troubled = map(regressed, incident.problems if incident else ())
    return next((key for key in troubled if key in choices), FIRST[0])


def title_of(key: str) -> str:
    """The title of a series; "" for a key that k6d does not know."""
    if key in METRICS:
        return METRICS[key].short
    try:
        return describe(key).title
    except ValueError:
        return ""


def unit_of(key: str) -> str:
    """The unit of a series."""
    return METRICS[key].unit if key in METRICS else describe(key).unit


def with_values(rows: Sequence[Row], key: str, store: Store, cache: dict[str, object]) -> list[Row]:
    """The rows with the value of a series under its key; None where a run did not measure it.

    What the index has is taken from it. Other series are in the files of the runs; they are read
    once, and the values of the last few series are kept.
    """
    if key in INDEXED:
        return list(rows)
    known = cast("dict[tuple[str, str], float | None]", cache.setdefault("series", {}))
    if len(known) > MOST_KEPT:
        known.clear()
    for row in rows:
        place = (row["test_id"], key)
        if place not in known:
            known[place] = _read(row["test_id"], key, store)
    return [{**row, key: known[row["test_id"], key]} for row in rows]


def _read(test_id: str, key: str, store: Store) -> float | None:
    try:
        value = (orjson.loads(store.load_raw(test_id)).get("series") or {}).get(key)
    except (K6dError, ValueError, AttributeError):
        return None
    return value if isinstance(value, int | float) else None


def points(
    rows: Sequence[Row],
    metric: str,
    *,
    accepted: Sequence[Row],
    standing: IncidentState | None,
    recoveries: Sequence[Recovery] = (),
) -> list[Row]:
    """Convert runs (`rows`, newest first) to points of the trend (oldest first).

    `accepted` are the accepted levels; `standing` holds the current and the last incident of the
    script, `recoveries` has those before.
    """
    spans = [(one.first_run, one.last_run) for one in recoveries]
    if standing and standing.last:
        spans.append((standing.last.first_run, standing.last.last_run))
    if standing and standing.incident:
        spans.append((standing.incident.first_run, "~"))
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
                "incident": any(first <= test_id < last for first, last in spans),
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
    return next((c for c in compared if _key_of(c) == metric), None)


def _key_of(compared: Row) -> str:
    return (
        f"{compared['metric']} {compared['endpoint']}"
        if compared["endpoint"]
        else str(compared["metric"])
    )


def threshold_of(record: Row, key: str) -> float | None:
    """The strictest bound that the run's thresholds set for a series."""
    if key in charts.THRESHOLDS:
        return charts.threshold_of(record, key)
    if not key.startswith(CUSTOM):
        return None
    metric, stat, operator = key.removeprefix(CUSTOM).rsplit(":", 2)
    form = re.compile(re.escape(stat + operator) + r"=?(\d+(?:\.\d+)?)")
    texts = (
        one["expression"].replace(" ", "")
        for one in record.get("thresholds") or ()
        if one["metric"] == metric
    )
    found = [float(match[1]) for text in texts if (match := form.fullmatch(text))]
    return (min if operator == "<" else max)(found, default=None)


def _newest(rows: Sequence[Row]) -> Row | None:
    """Return the newest comparable run."""
    return next((row for row in rows if row["comparable"]), None)


def _shifted(rows: Sequence[Row], metric: str) -> set[str]:
    """Return the runs at which a new level began, among those comparable with the newest run."""
    newest = _newest(rows)
    if newest is None:
        return set()
    values = [
        row[metric] if row["comparable"] and row["workload"] == newest["workload"] else None
        for row in reversed(rows)
    ]
    floor = METRICS[metric].floor if metric in METRICS else describe(metric).floor
    found = shifts(values, floor=floor)
    return {rows[-1 - shift.index]["test_id"] for shift in found}
