"""The buttons of the pages: run, accept, mute, acknowledge, enable, disable, cancel."""

from urllib.parse import urlencode

from fastapi import Response
from fastapi.responses import RedirectResponse

from k6d.scripts.disabled import Disabled
from k6d.web.context import K6d
from k6d.web.dashboard.routing import Fields, page_router
from k6d.web.routes.incidents import alerts_of, mute_for
from k6d.web.routes.jobs import run_known
from k6d.web.routes.scripts import accept_level

router = page_router()


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
    """Take on the incident of a script, or take that back (button)."""
    name = fields.get("script", "")
    alerts_of(k6d).acknowledge(name, off=bool(fields.get("off")))
    return _back(fields, name)


@router.post("/scripts/disable")
def disable(fields: Fields, k6d: K6d) -> Response:
    """Keep a script from running by itself (button)."""
    name = fields.get("script", "")
    Disabled(k6d.store).put(name, fields.get("reason", ""))
    return _back(fields, name)


@router.post("/scripts/enable")
def enable(fields: Fields, k6d: K6d) -> Response:
    """Let disabled scripts run by themselves again (button)."""
    name = fields.get("script", "")
    Disabled(k6d.store).remove(name)
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
