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
from k6d.web.routes.exposition import (
    CONTENT_TYPE,
    MOST_SCRIPTS,
    Facts,
    endpoints_of,
    exposition,
    failed_checks_of,
)
from k6d.web.routes.incidents import alerts_of

router = APIRouter(tags=["metrics"])

Details = tuple[list[dict[str, object]], float | None]


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
    details = _details(k6d, [document["test_id"] for document in last])
    return exposition(
        Facts(
            last=last,
            dropped=max(0, len(latest) - MOST_SCRIPTS),
            endpoints={test_id: rows for test_id, (rows, _) in details.items()},
            failed_checks={test_id: ratio for test_id, (_, ratio) in details.items()},
            **counts,
            incidents=Counter(s.incident.severity for s in incident_states if s.incident),
            messages={
                "waiting": len(outbox.waiting()),
                "undeliverable": len(outbox.undeliverable()),
            },
        )
    )


def _details(k6d: Context, test_ids: list[str]) -> dict[str, Details]:
    """Endpoint rows and failed checks by run; those of runs that are still the last are cached."""
    known = k6d.cache.get("details")
    before: dict[str, Details] = known if isinstance(known, dict) else {}
    now = {test_id: before.get(test_id) or _read(k6d, test_id) for test_id in test_ids}
    k6d.cache["details"] = now
    return now


def _read(k6d: Context, test_id: str) -> Details:
    try:
        run = orjson.loads(k6d.store.load_raw(test_id))
        return endpoints_of(run), failed_checks_of(run)
    except (K6dError, ValueError, KeyError, TypeError):
        return [], None
