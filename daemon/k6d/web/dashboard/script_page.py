"""The page of one script: its state, its trend, what holds for it, its runs."""

import asyncio
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response

from k6d.alerts.delivery.planning import tags_for
from k6d.alerts.mutes import Mutes
from k6d.core.model import K6dError, Severity, Trigger
from k6d.core.parse import end_of, in_utc
from k6d.scripts.catalog import entries, path_of
from k6d.scripts.registry import Registry
from k6d.storage.accepted import accepted_levels
from k6d.storage.query import Query
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
from k6d.web.dashboard.front_page import facts_of
from k6d.web.dashboard.routing import page_router
from k6d.web.page import page
from k6d.web.problems import Problem
from k6d.web.routes.incidents import alerts_of

router = page_router()

GIVEN = ("name", "metric", "range", "workload", "since", "until")
KEPT = ("name", "metric", "range", "workload")  # where a chosen range is left
LISTED = 50
MOST = 1000  # runs in a trend; more could not be distinguished
# Of a choice of the page: the most runs of a trend, or its length in days.
RANGES = {
    "100": "last 100 runs", "30": "last 30 runs", "7d": "7 days", "30d": "30 days",
    "90d": "90 days", "all": f"all, at most {MOST:,}",
}  # fmt: skip


@router.get("/script")
async def script(request: Request, k6d: K6d) -> Response:
    """Show one script with its trend."""
    return await asyncio.to_thread(_page, request, k6d, await k6d.daemon.queue())


def _page(request: Request, k6d: Context, queue: dict[str, Any]) -> Response:
    given = {key: request.query_params.get(key, "") for key in GIVEN}
    since, until = (_moment(key, given[key].strip()) for key in ("since", "until"))
    name = given["name"]
    if not name:
        raise Problem(404, "The address names no script.")
    rows = k6d.store.search(Query(script=name), limit=LISTED)
    if not rows and not _in_folder(name, k6d):
        raise Problem(404, f"There is no script {name[:200]} and no run of it.")
    known, chosen = _workloads(name, given["workload"] or OWN, k6d)
    asked = narrowed(Query(script=name, since=since, until=until), k6d.store, chosen)
    judged = _judged(asked, given["range"], k6d)
    alerts = alerts_of(k6d)
    standing = alerts.incident_states().get(name)
    accepted = _accepted(name, k6d)
    drawn = trend.drawn(
        judged,
        given["metric"],
        k6d.store,
        accepted=accepted,
        standing=standing if chosen in (OWN, ALL) else None,
        recoveries=[one for one in alerts.recoveries.all() if one.script == name]
        if chosen in (OWN, ALL)
        else [],
        cache=k6d.cache,
    )
    entry = next((one for one in entries(k6d.settings, k6d.store) if one.script == name), None)
    facts = facts_of(k6d, alerts, home.METRIC)
    return page(
        request,
        k6d,
        "script.html",
        name=name,
        rows=rows,
        judged=judged,
        card=home.card(entry, facts) if entry else None,
        problem=home.problems([standing.incident], facts.mutes)[0]
        if standing and standing.incident
        else None,
        workload=chosen,
        workloads=[one for one in known if not one.own],
        in_folder=_in_folder(name, k6d),
        disabled=entry.disabled if entry else None,
        mutes=_mutes(name, k6d),
        accepted=accepted,
        ranges=RANGES,
        range=given["range"] if given["range"] in RANGES else "",
        since=since,
        until=until,
        zoomed=bool(since or until),
        whole=f"/script?{urlencode({k: given[k] for k in KEPT if given[k]})}",
        ended=next((one["job"] for one in queue["ended"] if one["script"] == name), ""),
        own=_own(name, k6d),
        alerts=_alerts(name, k6d, standing.notify if standing else True),
        **drawn,
    )


def _moment(name: str, text: str) -> datetime | None:
    """Parse the begin or the end of a chosen range."""
    try:
        if not text:
            return None
        return end_of(text) if name == "until" else in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        words = {"since": "From", "until": "To"}[name]
        example = "2026-11-22 or 2026-11-22T14:05"
        raise Problem(422, f"{words}: {text[:100]!r} is no time, such as {example}.") from None


def _judged(query: Query, chosen: str, k6d: Context) -> list[dict[str, Any]]:
    """Return the runs of the trend, newest first, without re-runs."""
    limit = 100
    if query.since or query.until:
        limit = MOST
    elif chosen.endswith("d") and chosen in RANGES:
        since = datetime.now(UTC) - timedelta(days=int(chosen[:-1]))
        query, limit = replace(query, since=since), MOST
    elif chosen in RANGES:
        limit = MOST if chosen == "all" else int(chosen)
    found = k6d.store.search(query, limit=limit)
    return [row for row in found if row["trigger"] != Trigger.CONFIRMATION]


def _own(name: str, k6d: Context) -> dict[str, Any]:
    """Return the settings that the script itself has, as it wrote them."""
    state = Registry(k6d.store, k6d.settings.scripts).get(name)
    return state.settings if state and isinstance(state.settings, dict) else {}


def _alerts(name: str, k6d: Context, notify: bool | list[str]) -> str:
    """Return in words who gets messages about the script."""
    settings = k6d.settings.notify
    if not settings.urls and not settings.config:
        return "nobody: no receiver is set"
    if notify is False:
        return "nobody: the script has notify: false"
    tags = tags_for(name, Severity.HIGH, settings.routes, notify)
    if tags is None:
        return "all receivers"
    return f"receivers with the tags {', '.join(tags)}" if tags else "no receiver: no route matches"


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


def _in_folder(name: str, k6d: Context) -> bool:
    try:
        return bool(path_of(name, k6d.settings))
    except (K6dError, OSError, ValueError):
        return False
