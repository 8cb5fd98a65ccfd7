"""The dashboard's pages, rendered on the server; only live progress needs JavaScript.

FastAPI runs routes that are no coroutines in threads, so that they may read the disk.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute

from k6d.alerts.alerting import Alerts
from k6d.alerts.mutes import Mutes
from k6d.analysis.side_by_side import compare
from k6d.core.metrics import METRICS
from k6d.core.model import K6dError, Trigger
from k6d.core.parse import finite, in_utc
from k6d.core.text import common_origin
from k6d.scripts.catalog import entries, path_of
from k6d.scripts.registry import Registry
from k6d.scripts.starts import next_starts
from k6d.storage.accepted import accepted_levels, newest_accepted
from k6d.storage.damage import damages
from k6d.storage.query import VERDICTS, Query
from k6d.storage.record import is_test_id
from k6d.storage.workloads import (
    ALL,
    OWN,
    UnknownWorkloadError,
    Workload,
    find_workload,
    narrowed,
    workloads,
)
from k6d.web.context import Context, K6d
from k6d.web.dashboard import home, trend
from k6d.web.dashboard.login import form
from k6d.web.page import page
from k6d.web.problems import Problem
from k6d.web.rendering import charts
from k6d.web.routes.incidents import alerts_of, mute_for
from k6d.web.routes.jobs import run_known
from k6d.web.routes.runs import load_run, stored_run
from k6d.web.routes.scripts import accept_level
from k6d.web.routes.serializers import kept_log


class PageRoute(APIRoute):
    """A route whose problems are pages, whatever the client accepts."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler."""
        handler = super().get_route_handler()

        async def with_problem_page(request: Request) -> Response:
            try:
                return await handler(request)
            except Problem as problem:
                title = "Not found" if problem.status == 404 else "This did not work"
                about = {"title": title, "detail": problem.detail}
                context = request.app.state.context
                return page(request, context, "problem.html", status=problem.status, **about)

        return with_problem_page


router = APIRouter(
    include_in_schema=False, default_response_class=HTMLResponse, route_class=PageRoute
)
Fields = Annotated[dict[str, str], Depends(form)]

T = TypeVar("T")

RECENT = 120  # runs in a trend; more would make the page slow
PAGE = 50
DAYS, MOST_DAYS = 7, 366  # of statistics: ten years take a CPU for ten seconds
TREND = ("response_time_p95", "response_time_avg", "error_rate", "requests_per_second")


@router.get("/")
async def scripts(request: Request, k6d: K6d) -> HTMLResponse:
    """Show all scripts with their state."""
    queue = await k6d.daemon.queue()
    given = {key: request.query_params.get(key, "") for key in ("text", "state", "sort", "metric")}
    if given["metric"] not in home.SHOWN:
        given["metric"] = home.METRIC

    def make() -> HTMLResponse:
        found = entries(k6d.settings, k6d.store, metric=given["metric"])
        alone = [entry for entry in found if entry.left_alone and not entry.latest]
        alerts = alerts_of(k6d)
        facts = _facts(k6d, alerts, given["metric"])
        cards = [home.card(entry, facts) for entry in found if entry not in alone]
        shown = home.chosen(cards, text=given["text"], state=given["state"], sort=given["sort"])
        open_ = [state.incident for state in facts.incidents.values() if state.incident]
        notify = k6d.settings.notify
        return page(
            request,
            k6d,
            "scripts.html",
            rows=shown,
            total=len(cards),
            given=given,
            states=list(dict.fromkeys(card.state.word for card in cards)),
            sorts=home.SORTS,
            metrics={key: METRICS[key].short for key in home.SHOWN},
            unit=METRICS[given["metric"]].unit,
            receivers=bool(notify.urls or notify.config),
            alone=[entry.row() for entry in alone],
            incidents=home.problems(open_, facts.mutes),
            damages=[f"{one.path.name}: {one.meaning}" for one in damages(k6d.settings.data)],
            folder=k6d.settings.scripts,
            ended=queue["ended"][0]["job"] if queue["ended"] else "",
            outages=[outage.line for outage in alerts.outages()],
            queue=queue,
        )

    return await asyncio.to_thread(make)


def _facts(k6d: Context, alerts: Alerts, metric: str) -> home.Facts:
    """Gather what the front page needs besides the scripts."""
    compare = k6d.settings.compare
    return home.Facts(
        incidents=alerts.incident_states(),
        mutes=alerts.mutes.active(datetime.now(UTC)),
        starts=next_starts(k6d.store),
        accepted=newest_accepted(k6d.store),
        needed=compare.min_runs if compare.enabled else 0,
        metric=metric,
    )


@router.get("/script")
def script(request: Request, k6d: K6d) -> Response:
    """Show one script with its trend."""
    name = request.query_params.get("name", "")
    metric = request.query_params.get("metric", TREND[0])
    if metric not in TREND:
        metric = TREND[0]
    rows = k6d.store.search(Query(script=name), limit=RECENT)
    known, chosen = _workloads(name, request.query_params.get("workload", OWN), k6d)
    mine = k6d.store.search(narrowed(Query(script=name), k6d.store, chosen), limit=RECENT)
    judged = [row for row in mine if row["trigger"] != Trigger.CONFIRMATION]
    state = k6d.store.latest_states().get(name)
    in_folder = _in_folder(name, k6d)
    if not rows and not in_folder:
        raise Problem(404, f"There is no script {name[:200]} and no run of it.")
    standing = alerts_of(k6d).incident_states().get(name)
    accepted = _accepted(name, k6d)
    drawn = trend.drawn(
        judged,
        metric,
        k6d.store,
        accepted=accepted,
        standing=standing if chosen in (OWN, ALL) else None,
    )
    return page(
        request,
        k6d,
        "script.html",
        name=name,
        rows=rows,
        judged=judged,
        state=state.last if state else None,
        workload=chosen,
        workloads=[one for one in known if not one.own],
        in_folder=in_folder,
        incident=_plain(standing.incident) if standing else None,
        mutes=_mutes(name, k6d),
        accepted=accepted,
        metric=metric,
        metrics={key: METRICS[key].short for key in TREND},
        **drawn,
    )


def _plain(record: object) -> dict[str, Any] | None:
    """Convert a record for templates; times become texts."""
    return orjson.loads(orjson.dumps(record)) if record else None


def _workloads(name: str, given: str, k6d: Context) -> tuple[list[Workload], str]:
    """The workloads of a script, and the one that was asked for; its own when there is no such."""
    known = workloads(k6d.store, name)
    try:
        return known, find_workload(known, given)
    except UnknownWorkloadError:
        return known, OWN


def _mutes(name: str, k6d: Context) -> dict[str, str]:
    """Return the mutes that match the script, with their ends, for templates."""
    mutes = Mutes(k6d.store).of(name, datetime.now(UTC))
    return {pattern: end.isoformat() for pattern, end in mutes.items()}


def _accepted(name: str, k6d: Context) -> list[dict[str, Any]]:
    """Return the accepted levels, newest first."""
    levels = [asdict(level) for level in accepted_levels(k6d.store, name).values()]
    return sorted(levels, key=lambda level: level["at"], reverse=True)


@router.get("/runs")
def runs(request: Request, k6d: K6d) -> Response:
    """Search through all runs."""
    given = {key: request.query_params.get(key, "").strip() for key in _FILTERS}
    problem, found = None, []
    try:
        found = k6d.store.search(_query(given), limit=PAGE + 1)
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
        names=sorted(Registry(k6d.store, k6d.settings.scripts).all()),
        problem=problem,
        following=following,
    )


_FILTERS = (
    *("text", "script", "severity", "min_error_rate", "max_response_time"),
    *("since", "anomalies_only", "before"),
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
        min_error_rate=field("min_error_rate", finite, "a number of percent"),
        max_response_time=field("max_response_time", finite, "a number of ms"),
        since=field(
            "since",
            lambda text: in_utc(datetime.fromisoformat(text)),
            "a day or a time such as 2026-11-22T14:05Z",
        ),
        before=given["before"] or None,
    )


def _verdict(text: str) -> str:
    if text not in VERDICTS:
        raise ValueError(text)
    return text


@router.get("/runs/{test_id}")
def run(test_id: str, request: Request, k6d: K6d) -> Response:
    """Show one run."""
    record = load_run(k6d, test_id)
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
    ids = [request.query_params.get(name, "") for name in ("to", "run")]
    before, after = (stored_run(k6d, one) for one in ids)
    found = compare(before, after)
    return page(
        request, k6d, "compare.html", found=found, before=_plain(before), after=_plain(after)
    )


@router.get("/statistics")
def statistics(request: Request, k6d: K6d) -> HTMLResponse:
    """Show anomalies over time."""
    wanted = request.query_params.get("days", "")
    days = int(wanted) if re.fullmatch("[0-9]{1,6}", wanted) else DAYS
    days = min(max(days, 1), MOST_DAYS)
    stats = asdict(k6d.store.statistics(days=days))
    return page(
        request,
        k6d,
        "statistics.html",
        stats=stats,
        chart=charts.anomalies(stats["days"]),
        rate=charts.anomaly_rate(stats["days"]),
    )


@router.get("/queue")
async def queue(request: Request, k6d: K6d) -> HTMLResponse:
    """Show the queue."""
    return page(request, k6d, "queue.html", queue=await k6d.daemon.queue())


@router.get("/docs")
def docs(request: Request, k6d: K6d) -> HTMLResponse:
    """Show the documentation of the API, from its OpenAPI document."""
    return page(request, k6d, "docs.html", spec=request.app.openapi())


@router.post("/scripts/run")
async def run_now(fields: Fields, k6d: K6d) -> Response:
    """Run a script now (button)."""
    await run_known(k6d, fields.get("script", ""))
    return RedirectResponse("/queue", status_code=303)


@router.post("/scripts/accept")
def accept(fields: Fields, k6d: K6d) -> Response:
    """Accept the present level of a script (button)."""
    name = fields.get("script", "")
    accept_level(k6d, name, fields.get("reason", ""))
    return RedirectResponse(f"/script?{urlencode({'name': name})}", status_code=303)


@router.post("/scripts/mute")
def mute(fields: Fields, k6d: K6d) -> Response:
    """Mute a script, or end its mute (button)."""
    name = fields.get("script", "")
    mute_for(k6d, name, fields.get("duration", ""))
    return _back(fields, name)


@router.post("/scripts/acknowledge")
def acknowledge(fields: Fields, k6d: K6d) -> Response:
    """Take on the incident of a script (button)."""
    name = fields.get("script", "")
    alerts_of(k6d).acknowledge(name)
    return _back(fields, name)


def _back(fields: dict[str, str], name: str) -> Response:
    """Return to the page with the button: the front page, or that of a script."""
    page_of = urlencode({"name": fields.get("page", name)})
    target = "/" if fields.get("back") == "/" else f"/script?{page_of}"
    return RedirectResponse(target, status_code=303)


@router.post("/queue/{job}/cancel")
async def cancel(job: str, k6d: K6d) -> Response:
    """Cancel a job (button); a job that is over is not an error."""
    await k6d.daemon.cancel(job)
    return RedirectResponse("/queue", status_code=303)


def _in_folder(name: str, k6d: Context) -> bool:
    try:
        return bool(path_of(name, k6d.settings))
    except (K6dError, OSError, ValueError):
        return False
