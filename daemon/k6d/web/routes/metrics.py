"""GET /metrics: the state of k6d for Prometheus."""

import asyncio
from collections import Counter
from typing import Any

import orjson
from fastapi import APIRouter, Response

from k6d.alerts.outbox import Outbox
from k6d.core.model import K6dError
from k6d.web.context import Context, K6d
from k6d.web.routes import schemas
from k6d.web.routes.exposition import CONTENT_TYPE, MOST_SCRIPTS, Facts, endpoints_of, exposition
from k6d.web.routes.incidents import alerts_of

router = APIRouter(tags=["metrics"])

Endpoints = list[dict[str, object]]


@router.get("/metrics", responses=schemas.text(CONTENT_TYPE, description="Prometheus text format"))
async def metrics(k6d: K6d) -> Response:
    """Last results by script and endpoint, verdicts, queue and runs, with bounded cardinality."""
    contents = await asyncio.to_thread(_scrape, k6d, await k6d.daemon.counts())
    return Response(contents, media_type=CONTENT_TYPE)


def _scrape(k6d: Context, counts: dict[str, Any]) -> bytes:
    latest = list(k6d.store.latest_states(recent=1).values())
    last = [state.last for state in latest[:MOST_SCRIPTS]]
    incident_states = alerts_of(k6d).incident_states().values()
    outbox = Outbox(k6d.settings.data)
    return exposition(
        Facts(
            last=last,
            dropped=max(0, len(latest) - MOST_SCRIPTS),
            endpoints=_endpoints(k6d, [document["test_id"] for document in last]),
            **counts,
            incidents=Counter(s.incident.severity for s in incident_states if s.incident),
            messages={
                "waiting": len(outbox.waiting()),
                "undeliverable": len(outbox.undeliverable()),
            },
        )
    )


def _endpoints(k6d: Context, test_ids: list[str]) -> dict[str, Endpoints]:
    """Endpoint rows by run; rows of runs that are still the last ones are cached."""
    known = k6d.cache.get("endpoints")
    before: dict[str, Endpoints] = known if isinstance(known, dict) else {}
    now = {test_id: before.get(test_id) or _read(k6d, test_id) for test_id in test_ids}
    k6d.cache["endpoints"] = now
    return now


def _read(k6d: Context, test_id: str) -> Endpoints:
    try:
        return endpoints_of(orjson.loads(k6d.store.load_raw(test_id)))
    except (K6dError, ValueError, KeyError, TypeError):
        return []
