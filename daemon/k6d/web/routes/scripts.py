"""Routes for scripts: the list, the accepted level, and series of metrics."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from k6d.core.metrics import IndexedMetric
from k6d.scripts.catalog import entries
from k6d.scripts.disabled import Disabled
from k6d.storage.accepted import forget
from k6d.storage.query import Query as Search
from k6d.storage.workloads import (
    OWN,
    NoComparableRunError,
    UnknownWorkloadError,
    find_workload,
    narrowed,
    workloads,
)
from k6d.web.context import Context, K6d, as_json
from k6d.web.problems import Problem
from k6d.web.routes import schemas
from k6d.web.routes.body import Body
from k6d.web.routes.incidents import alerts_of
from k6d.web.routes.marks import marks_during

router = APIRouter(prefix="/api/v1/scripts", tags=["scripts"])


@router.get("", responses=schemas.response(schemas.SCRIPTS))
def scripts(k6d: K6d) -> Response:
    """All scripts that are in the folder or have runs, each with its last run."""
    found = entries(k6d.settings, k6d.store)
    return as_json({"scripts": [entry.row() for entry in found]})


class Acceptance(Body):
    """Accept the present level of a script as its new baseline."""

    script: str = Field(min_length=1, max_length=500)
    reason: str = Field(default="", max_length=1000, description="for those who ask later")


@router.post("/accept", responses=schemas.response(schemas.ACCEPTED, _404="No comparable run"))
def accept(body: Acceptance, k6d: K6d) -> Response:
    """Accept the present level of a script; an incident that is only about it is resolved."""
    since = accept_level(k6d, body.script, body.reason)
    return as_json({"script": body.script, "since": since})


def accept_level(k6d: Context, script: str, reason: str) -> str:
    """See `Alerts.accept`; return the run with which the accepted level began."""
    try:
        return alerts_of(k6d).accept(script, reason)[0]
    except NoComparableRunError as error:
        raise Problem(404, f"{script[:100]} has no comparable run yet") from error


class Taking(Body):
    """A script of which nothing is accepted any more."""

    script: str = Field(min_length=1, max_length=500)


@router.post(
    "/unaccept", responses=schemas.response(schemas.UNACCEPTED, _404="No level was accepted")
)
def unaccept(body: Taking, k6d: K6d) -> Response:
    """Take back what was accepted: the runs before that level are compared with again."""
    levels = forget(body.script, k6d.store)
    if not levels:
        raise Problem(404, f"no level of {body.script[:100]} was accepted")
    return as_json({"script": body.script, "levels": levels})


class Switch(Body):
    """A script or a pattern of scripts to disable or enable."""

    script: str = Field(min_length=1, max_length=500, description="a script or a pattern, “shop/*”")
    reason: str = Field(default="", max_length=1000, description="for those who ask later")


@router.post("/disable", responses=schemas.response(schemas.SWITCHED))
def disable(body: Switch, k6d: K6d) -> Response:
    """Keep scripts from running by themselves; a person can still run them."""
    made = Disabled(k6d.store).put(body.script, body.reason)
    return as_json({"script": made.pattern, "disabled": True})


@router.post("/enable", responses=schemas.response(schemas.SWITCHED, _404="It is not disabled"))
def enable(body: Switch, k6d: K6d) -> Response:
    """Let disabled scripts run by themselves again; `disabled` if a pattern still disables it."""
    kept = Disabled(k6d.store)
    if not kept.remove(body.script):
        raise Problem(404, f"{body.script[:100]} is not disabled by this name")
    return as_json({"script": body.script, "disabled": kept.of(body.script) is not None})


@router.get("/series", responses=schemas.response(schemas.SERIES))
def series(
    k6d: K6d,
    script: Annotated[str, Query(max_length=500)],
    metric: IndexedMetric = "response_time_p95",
    limit: Annotated[int, Query(ge=1, le=2000)] = 200,
    workload: Annotated[
        str, Query(max_length=64, description='"own", "all", or the id of a workload or its start')
    ] = OWN,
) -> Response:
    """A metric of a script's last runs, oldest first; null where a run did not measure it.

    Without `workload`, of the runs without options given beside the script.
    """
    known = workloads(k6d.store, script)
    try:
        chosen = find_workload(known, workload)
    except UnknownWorkloadError as error:
        raise Problem(422, str(error)) from error
    query = narrowed(Search(script=script), k6d.store, chosen)
    points = [
        {
            "test_id": document["test_id"],
            "timestamp": document["timestamp"],
            "value": document[metric],
            "severity": document["severity"],
            "outcome": document["outcome"],
            "workload": document["workload"],
        }
        for document in reversed(k6d.store.search(query, limit=limit))
    ]
    listed = [asdict(one) for one in known]
    about = {"script": script, "metric": metric, "workload": chosen, "workloads": listed}
    about["marks"] = [asdict(mark) for mark in marks_during(k6d.store, script, points)]
    return as_json({**about, "points": points})
