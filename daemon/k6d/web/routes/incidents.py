"""Routes for incidents and mutes."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from k6d.alerts.alerting import Alerts
from k6d.alerts.outbox import Outbox
from k6d.core.parse import LONGEST_S, parse_duration
from k6d.web.context import Context, K6d, as_json
from k6d.web.problems import Problem
from k6d.web.routes import schemas

router = APIRouter(prefix="/api/v1", tags=["incidents"])


class Mute(BaseModel):
    """Send no notifications about a script for a while; runs and incidents are still stored."""

    script: str = Field(min_length=1, max_length=500, description="a script or a pattern, “shop/*”")
    duration: str = Field(default="2h", max_length=40, description="30m, 2h, 7d; 0s ends the mute")


@router.get("/incidents", responses=schemas.response(schemas.INCIDENTS))
async def incidents(k6d: K6d) -> Response:
    """Open incidents, the last resolved one of each script, and mutes with their end."""

    def read() -> dict[str, Any]:
        alerts = alerts_of(k6d)
        standings = alerts.standings().values()
        return {
            "incidents": [asdict(s.incident) for s in standings if s.incident],
            "resolved": [asdict(s.last) for s in standings if s.last],
            "mutes": alerts.mutes(datetime.now(UTC)),
        }

    return as_json(await asyncio.to_thread(read))


@router.post("/mutes", responses=schemas.response(schemas.MUTE))
async def mute(body: Mute, k6d: K6d) -> Response:
    """Mute a script or a pattern of scripts, or end the mute."""
    until = await asyncio.to_thread(mute_for, k6d, body.script, body.duration)
    return as_json({"script": body.script, "until": until})


def mute_for(k6d: Context, script: str, duration: str) -> datetime | None:
    """Mute like `k6d mute`; return the end of the mute, or None if it has ended."""
    try:
        seconds = parse_duration(duration)
        script.encode()
    except ValueError as error:
        raise Problem(422, "duration: should be such as 30m, 2h, 7d") from error
    if not 0 <= seconds <= LONGEST_S:
        raise Problem(422, "duration: should be a year at most")
    until = datetime.now(UTC) + timedelta(seconds=seconds) if seconds else None
    alerts_of(k6d).mute(script, until)
    return until


def alerts_of(k6d: Context) -> Alerts:
    """Return the incidents in the data folder; the daemon keeps none in memory."""
    return Alerts(k6d.settings, k6d.store, Outbox(k6d.settings.data))
