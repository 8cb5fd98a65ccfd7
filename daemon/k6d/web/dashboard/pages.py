"""The dashboard's pages about runs, rendered on the server; only live progress needs JavaScript.

FastAPI runs routes that are no coroutines in threads, so that they may read the disk.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode

import orjson
from fastapi import Request, Response
from fastapi.responses import HTMLResponse

from k6d.alerts.recoveries import typical_s
from k6d.analysis.side_by_side import compare
from k6d.core.model import HEALTHY, Outcome, Trigger
from k6d.core.parse import end_of, finite, in_utc
from k6d.core.text import common_origin
from k6d.scripts.registry import Registry
from k6d.storage.marks import between_runs
from k6d.storage.query import VERDICTS, Query
from k6d.storage.record import is_test_id
from k6d.web.context import Context, K6d
from k6d.web.dashboard import trend
from k6d.web.dashboard.routing import page_router
from k6d.web.page import page
from k6d.web.problems import Problem
from k6d.web.rendering import charts
from k6d.web.routes.incidents import alerts_of
from k6d.web.routes.runs import load_run, stored_run
from k6d.web.routes.serializers import kept_log

router = page_router()

T = TypeVar("T")

PAGE = 50
MOST_COUNTED = 1000
MOST_NOISE = 50  # scripts whose newest run is read for it
DAYS, MOST_DAYS = 7, 366  # of statistics: ten years take a CPU for ten seconds


def _plain(record: object) -> dict[str, Any] | None:
    """Convert a record for templates; times become texts."""
    return orjson.loads(orjson.dumps(record)) if record else None


@router.get("/runs")
def runs(request: Request, k6d: K6d) -> Response:
    """Search through all runs."""
    given = {key: request.query_params.get(key, "").strip() for key in _FILTERS}
    problem, found, total = None, [], 0
    try:
        query = _query(given)
        found = k6d.store.search(query, limit=PAGE + 1)
        everything = replace(query, before=None)
        total = len(found)
        if len(found) > PAGE or query.before:
            total = len(k6d.store.search(everything, limit=MOST_COUNTED))
    except ValueError as error:
        problem = str(error)
    more = {k: v for k, v in given.items() if v and k != "before"}
    following = None
    if len(found) > PAGE:
        following = "/runs?" + urlencode({**more, "before": found[PAGE - 1]["test_id"]})
    return page(
        request,
        k6d,
        "runs.html",
        status=422 if problem else 200,
        rows=found[:PAGE],
        given=given,
        verdicts=VERDICTS,
        total=total,
        most=MOST_COUNTED,
        triggers=[one.value for one in Trigger],
        outcomes=[one.value for one in Outcome],
        names=sorted(Registry(k6d.store, k6d.settings.scripts).all()),
        problem=problem,
        following=following,
    )


_FILTERS = (
    *("text", "script", "severity", "min_error_rate", "max_response_time"),
    *("since", "until", "trigger", "outcome", "reruns", "anomalies_only", "before"),
)


def _query(given: dict[str, str]) -> Query:
    """Convert the form to a query; ValueError names an invalid field."""

    def field(name: str, parse: Callable[[str], T], allowed: str) -> T | None:
        try:
            return parse(given[name]) if given[name] else None
        except ValueError:
            asked = f"{name.replace('_', ' ')}: {given[name]!r} is not allowed"
            raise ValueError(f"{asked}, it should be {allowed}") from None

    if given["before"] and not is_test_id(given["before"]):
        raise ValueError("before: this is not the id of a run")
    return Query(
        text=given["text"] or None,
        script=given["script"] or None,
        severity=field("severity", _verdict, f"one of {', '.join(VERDICTS)}"),
        anomalies_only=bool(given["anomalies_only"]),
        reruns=bool(given["reruns"]) or given["trigger"] == Trigger.CONFIRMATION,
        trigger=field("trigger", Trigger, f"one of {', '.join(Trigger)}"),
        outcome=field("outcome", Outcome, f"one of {', '.join(Outcome)}"),
        min_error_rate=field("min_error_rate", finite, "a number of percent"),
        max_response_time=field("max_response_time", finite, "a number of ms"),
        since=field("since", _moment, "a day or a time such as 2026-11-22T14:05Z"),
        until=field("until", end_of, "a day or a time such as 2026-11-22T14:05Z"),
        before=given["before"] or None,
    )


def _moment(text: str) -> datetime:
    return in_utc(datetime.fromisoformat(text))


def _verdict(text: str) -> str:
    if text not in VERDICTS:
        raise ValueError(text)
    return text


@router.get("/runs/{test_id}")
def run(test_id: str, request: Request, k6d: K6d) -> Response:
    """Show one run."""
    try:
        record = load_run(k6d, test_id)
    except Problem as problem:
        if problem.status != HTTPStatus.NOT_FOUND:
            raise
        raise Problem(404, f"There is no run {test_id[:200]!r}.") from None
    earlier = Query(script=record["script"], before=record["test_id"])
    previous = k6d.store.search(earlier, limit=30)
    snapshot = (record["snapshot"] or {}).get("id")
    return page(
        request,
        k6d,
        "run.html",
        run=record,
        earlier=[row for row in previous if row["trigger"] != Trigger.CONFIRMATION],
        charts=charts.timeline(record),
        origin=common_origin(row["name"] for row in record["breakdown"]["endpoints"]),
        log=kept_log(record),
        snapshot=snapshot is not None and k6d.store.snapshot_path(snapshot).is_file(),
    )


@router.get("/compare")
def comparison(request: Request, k6d: K6d) -> Response:
    """Show two runs side by side."""
    before, after = (stored_run(k6d, one) for one in _two_runs(request, k6d))
    found = compare(before, after)
    return page(
        request,
        k6d,
        "compare.html",
        found=found,
        endpoints=sorted(found["endpoints"], key=_badness, reverse=True),
        origin=common_origin(row.name for row in after.breakdown.endpoints),
        before=_plain(before),
        after=_plain(after),
        happened=between_runs(before, after, k6d.store),
    )


def _badness(endpoint: dict[str, Any]) -> tuple[bool, float, float]:
    """Order the endpoints of a comparison: those worse than noise, then by change."""
    p95, errors = endpoint["p95_ms"], endpoint["error_rate"]
    worse = "worse" in (p95["state"], errors["state"])
    return worse, errors["change_points"] or 0.0, p95["change_percent"] or 0.0


def _two_runs(request: Request, k6d: Context) -> tuple[str, str]:
    """The ids of two chosen runs, the older one first; of one run, the last healthy one before."""
    given = [one for name in ("to", "run") for one in request.query_params.getlist(name) if one]
    if len(given) == 1:
        after = load_run(k6d, given[0])
        earlier = Query(script=after["script"], before=after["test_id"], reruns=False)
        healthy = k6d.store.search(replace(earlier, severity=HEALTHY), limit=1)
        found = healthy or k6d.store.search(earlier, limit=1)
        if not found:
            raise Problem(404, f"There is no earlier run of {after['script'][:200]}.")
        given.insert(0, found[0]["test_id"])
    if len(given) != 2:
        raise Problem(422, f"Choose two runs to compare, not {len(given)}.")
    explicit = "to" in request.query_params
    first, second = given if explicit else sorted(given)
    return first, second


@router.get("/statistics")
def statistics(request: Request, k6d: K6d) -> HTMLResponse:
    """Show anomalies over time."""
    wanted = request.query_params.get("days", "")
    days = int(wanted) if re.fullmatch("[0-9]{1,6}", wanted) else DAYS
    days = min(max(days, 1), MOST_DAYS)
    stats = asdict(k6d.store.statistics(days=days))
    alerts, since = alerts_of(k6d), datetime.now(UTC) - timedelta(days=days)
    states = alerts.incident_states()
    ended = alerts.recoveries.all(state.last for state in states.values())
    ended = [one for one in ended if one.ended >= since]
    for row in stats["scripts"]:
        state, own = states.get(row["script"]), [o for o in ended if o.script == row["script"]]
        row["incident"] = state.incident if state else None
        row["recovered"], row["typical_s"] = len(own), typical_s(own)
    for row in stats["scripts"][:MOST_NOISE]:
        row["noise"] = _noise(row["script"], k6d)
    return page(
        request,
        k6d,
        "statistics.html",
        stats=stats,
        recovered=len(ended),
        typical_s=typical_s(ended),
        chart=charts.anomalies(stats["days"]),
        rate=charts.anomaly_rate(stats["days"]),
    )


def _noise(script: str, k6d: Context) -> float | None:
    """The smallest change of the p95 that is told from noise, in percent; None while learning."""
    newest = k6d.store.search(Query(script=script, reruns=False), limit=1)
    band = trend.band(trend.newest_record(newest, k6d.store), "response_time_p95")
    return band["visible_percent"] if band else None


@router.get("/queue")
async def queue(request: Request, k6d: K6d) -> HTMLResponse:
    """Show the queue."""
    return page(request, k6d, "queue.html", queue=await k6d.daemon.queue())


@router.get("/docs")
def docs(request: Request, k6d: K6d) -> HTMLResponse:
    """Show the documentation of the API, from its OpenAPI document."""
    return page(request, k6d, "docs.html", spec=request.app.openapi())
