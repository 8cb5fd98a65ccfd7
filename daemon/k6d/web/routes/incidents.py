"""Routes for incidents and mutes."""

from dataclasses import asdict
from datetime import UTC, datetime

from fastapi import APIRouter, Response
from pydantic import Field

from k6d.alerts.alerting import Alerts
from k6d.alerts.mutes import Mutes
from k6d.web.context import Context, K6d, as_json
from k6d.web.problems import Problem
from k6d.web.routes import schemas
from k6d.web.routes.body import Body

router = APIRouter(prefix="/api/v1", tags=["incidents"])


class Mute(Body):
    """Send no notifications about a script for a while; runs and incidents are still stored."""

    script: str = Field(min_length=1, max_length=500, description="a script or a pattern, “shop/*”")
    duration: str = Field(default="2h", max_length=40, description="30m, 2h, 7d; 0s ends the mute")


@router.get("/incidents", responses=schemas.response(schemas.INCIDENTS))
def incidents(k6d: K6d) -> Response:
    """Open incidents, the last resolved one of each script, and mutes with their end."""
    alerts = alerts_of(k6d)
    states = alerts.incident_states().values()
    return as_json(
        {
            "incidents": [asdict(state.incident) for state in states if state.incident],
            "resolved": [asdict(state.last) for state in states if state.last],
            "mutes": alerts.mutes.active(datetime.now(UTC)),
        }
    )


class Acknowledgement(Body):
    """Acknowledge the open incident of a script: no reminders until it gets worse."""

    script: str = Field(min_length=1, max_length=500)
    comment: str = Field(default="", max_length=1000, description="for the others")
    acknowledged: bool = Field(default=True, description="false takes it back")


@router.post(
    "/incidents/acknowledge",
    responses=schemas.response(schemas.ACKNOWLEDGED, _404="No open incident"),
)
def acknowledge(body: Acknowledgement, k6d: K6d) -> Response:
    """Acknowledge the open incident of a script, or take that back."""
    off = not body.acknowledged
    found = alerts_of(k6d).acknowledge(body.script, body.comment, off=off)
    if found is None:
        raise Problem(404, f"{body.script[:100]} has no open incident")
    about = {"script": body.script, "incident": found.id}
    return as_json({**about, "acknowledged": bool(found.acknowledged), "comment": found.comment})


@router.get("/outages", responses=schemas.response(schemas.OUTAGES))
def outages(k6d: K6d) -> Response:
    """What keeps scripts from a verdict at present: no network, no k6, a module server is down.

    When each script is tried again is in the queue, under `retries`.
    """
    return as_json({"outages": [asdict(outage) for outage in alerts_of(k6d).outages()]})


@router.post("/mutes", responses=schemas.response(schemas.MUTE))
def mute(body: Mute, k6d: K6d) -> Response:
    """Mute a script or a pattern of scripts, or end the mute."""
    return as_json({"script": body.script, "until": mute_for(k6d, body.script, body.duration)})


def mute_for(k6d: Context, script: str, duration: str) -> datetime | None:
    """See `Mutes.put`; Problem for a wrong duration."""
    try:
        return Mutes(k6d.store).put(script, duration)
    except ValueError as error:
        raise Problem(422, f"duration: {error}") from error


def alerts_of(k6d: Context) -> Alerts:
    """Return the incidents in the data folder; the daemon keeps none in memory."""
    return Alerts(k6d.settings, k6d.store)
