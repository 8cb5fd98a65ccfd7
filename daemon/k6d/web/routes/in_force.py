"""The route for the settings in force; it needs the token: settings hold addresses and paths."""

from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from k6d.settings.in_force import in_force
from k6d.web.context import K6d, as_json
from k6d.web.problems import Problem
from k6d.web.routes import schemas

router = APIRouter(prefix="/api/v1/settings", tags=["settings"])


@router.get("", responses=schemas.response(schemas.SETTINGS))
def settings(k6d: K6d, request: Request) -> Response:
    """The daemon's settings, each with the file or variable that it came from; no secrets."""
    if not k6d.access.knows(request.headers):
        raise Problem(401, "the settings need the token: Authorization: Bearer …")
    return as_json({"settings": [asdict(one) for one in in_force(k6d.settings)]})
