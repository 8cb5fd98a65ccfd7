"""Login and logout for browsers, and the static files of the pages."""

import re
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from k6d.web.access import ASKED, FROM
from k6d.web.context import K6d
from k6d.web.page import page
from k6d.web.problems import Problem
from k6d.web.rendering import STATIC

router = APIRouter(include_in_schema=False)

SESSION_S = 30 * 86_400
# What the buttons of pages do; nothing else is done after a login.
ACTION = re.compile(r"/scripts/[a-z]+|/queue/[\w-]+/cancel")
OWN_FIELDS = ("token", "user", "next", "do")
FILES = {
    "style.css": "text/css",
    "live.js": "text/javascript",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


@router.get("/login")
async def login_page(request: Request, k6d: K6d) -> HTMLResponse:
    """Ask for the token."""
    target = request.query_params.get("next", "/")
    about = _about(_local_path(target), "", {})
    return page(request, k6d, "login.html", wrong=False, **about)


@router.post("/login")
async def login(request: Request, k6d: K6d) -> Response:
    """Check the token and start a session, then do what was asked for without it.

    The middleware sends requests of buttons without a login here, with their path in the scope. The
    page then has their fields, and after the login the browser sends them to that path (307).
    """
    given = await form(request)
    asked = request.scope.get(ASKED)
    target = _local_path(request.scope.get(FROM, given.get("next", "/")))
    action = asked or given.get("do", "")
    fields = {key: value for key, value in given.items() if key not in OWN_FIELDS}
    if not ACTION.fullmatch(action):
        action, fields = "", {}
    about = _about(target, action, fields)
    if asked:
        return page(request, k6d, "login.html", status=401, wrong=False, **about)
    if not k6d.access.is_token(given.get("token", "").strip()):
        return page(request, k6d, "login.html", status=403, wrong=True, **about)
    answer = RedirectResponse(action or target, status_code=307 if action else 303)
    answer.set_cookie(
        k6d.access.cookie,
        k6d.access.session(),
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.headers.get("x-forwarded-proto") == "https",
    )
    return answer


@router.post("/logout")
async def logout(k6d: K6d) -> Response:
    """End the session."""
    answer = RedirectResponse("/", status_code=303)
    answer.delete_cookie(k6d.access.cookie, httponly=True, samesite="strict")
    return answer


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """Send a static file; the name must be in FILES, so it never becomes a path."""
    if name not in FILES:
        raise Problem(404, "no such file")
    headers = {"Cache-Control": "public, max-age=3600"}
    return FileResponse(STATIC / name, media_type=FILES[name], headers=headers)


async def form(request: Request) -> dict[str, str]:
    """Return the fields of a form, each once."""
    try:
        fields = parse_qs((await request.body()).decode(), max_num_fields=50)
    except ValueError as error:
        raise Problem(400, "this is not a form") from error
    return {name: values[-1] for name, values in fields.items()}


def _about(target: str, action: str, fields: dict[str, str]) -> dict[str, Any]:
    """Return what the page keeps, and what was asked for in words: "mute shop.js for 2h"."""
    length = fields.get("duration", "")
    words = [action.rpartition("/")[2]]
    if length == "0s" or fields.get("off"):
        words, length = [*words, "off"], ""
    words += [fields.get("script", ""), length and f"for {length}"]
    asked = " ".join(filter(None, words))
    return {"next": target, "do": action, "fields": fields, "asked": asked}


def _local_path(target: str) -> str:
    """Return the target if it is on this site; else "/"."""
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if safe else "/"
