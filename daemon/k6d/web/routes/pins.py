"""Routes for pinned runs, which retention keeps whole."""

from dataclasses import asdict

from fastapi import APIRouter, Response
from pydantic import Field

from k6d.storage import pinned
from k6d.web.context import K6d, as_json
from k6d.web.problems import Problem
from k6d.web.routes import schemas
from k6d.web.routes.body import Body
from k6d.web.routes.runs import full_id

router = APIRouter(prefix="/api/v1/pins", tags=["runs"])


class Pin(Body):
    """A run to keep whole, whatever retention says."""

    run: str = Field(min_length=1, max_length=40, description="its id, or “latest”")
    reason: str = Field(default="", max_length=1000, description="for those who ask later")


@router.get("", responses=schemas.response(schemas.PINS))
def pins(k6d: K6d) -> Response:
    """The pinned runs, the newest first."""
    return as_json({"pins": [asdict(one) for one in pinned.pins(k6d.store)]})


@router.post("", responses=schemas.response(schemas.PIN, _404="No such run"))
def pin(body: Pin, k6d: K6d) -> Response:
    """Pin a run: retention keeps it whole. A pin changes no verdict."""
    run = k6d.store.load(full_id(k6d, body.run))
    return as_json(asdict(pinned.pin(run, k6d.store, reason=body.reason)))


@router.delete("/{test_id}", responses=schemas.response(schemas.PINS, _404="It is not pinned"))
def unpin(test_id: str, k6d: K6d) -> Response:
    """Unpin a run; the answer lists the others."""
    if not pinned.unpin(test_id[:40], k6d.store):
        raise Problem(404, f"run {test_id[:40]!r} is not pinned")
    return pins(k6d)
