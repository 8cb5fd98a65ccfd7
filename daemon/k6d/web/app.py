"""Builds the web application: routes, error handlers and middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

from k6d import __version__
from k6d.web import problems
from k6d.web.dashboard import actions, front_page, login, pages, script_page, settings_page
from k6d.web.middleware import AccessMiddleware
from k6d.web.routes import (
    hooks,
    in_force,
    incidents,
    jobs,
    live,
    marks,
    metrics,
    pins,
    runs,
    scripts,
    tests,
)
from k6d.web.routes.schemas import PROBLEM

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from k6d.web.context import Context

DESCRIPTION = (
    "Runs k6 scripts and looks at what came of them. Reading needs no token on loopback; whatever "
    "runs or changes something does: `Authorization: Bearer …` (`k6d token` prints it). Errors are "
    "problem details (RFC 9457)."
)


def create(context: Context) -> ASGIApp:
    """Return the ASGI application."""
    app = FastAPI(
        title="k6d",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
        responses={
            code: {"description": text, "content": {problems.MEDIA_TYPE: {"schema": PROBLEM}}}
            for code, text in {
                400: "The request is malformed",
                401: "The token is missing or wrong",
                403: "From a page of another site",
                413: "The body is too large",
                422: "A parameter is not what it should be",
            }.items()
        },
    )
    app.state.context = context
    problems.install(app)
    for part in (
        tests,
        runs,
        scripts,
        jobs,
        hooks,
        incidents,
        in_force,
        pins,
        marks,
        live,
        metrics,
        login,
        pages,
        front_page,
        script_page,
        settings_page,
        actions,
    ):
        app.include_router(part.router)
    app.include_router(tests.alive)
    return AccessMiddleware(app, access=context.access)
