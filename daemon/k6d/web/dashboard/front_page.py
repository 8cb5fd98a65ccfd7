"""The front page: open incidents, and all scripts."""

import asyncio
from datetime import UTC, datetime

from fastapi import Request
from fastapi.responses import HTMLResponse

from k6d.alerts.alerting import Alerts
from k6d.core.metrics import METRICS
from k6d.scripts.catalog import entries
from k6d.scripts.starts import next_starts
from k6d.storage.accepted import newest_accepted
from k6d.storage.damage import damages
from k6d.web.context import Context, K6d
from k6d.web.dashboard import home
from k6d.web.dashboard.routing import page_router
from k6d.web.page import page
from k6d.web.routes.incidents import alerts_of

router = page_router()


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
        facts = facts_of(k6d, alerts, given["metric"])
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


def facts_of(k6d: Context, alerts: Alerts, metric: str) -> home.Facts:
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
