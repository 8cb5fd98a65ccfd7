"""Sends all errors as RFC 9457 problem details."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from k6d.core.model import K6dError
from k6d.web.local_paths import without_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20


class Problem(Exception):  # noqa: N818  (the RFC's word for it)
    """Ends a request with `status`; `detail` is a sentence for the person who sent it."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.more = more

    def response(self) -> Response:
        """Return the problem as a response."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }
        return Response(
            orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS, default=str),
            status_code=self.status,
            media_type=MEDIA_TYPE,
            headers=dict(self.headers or {}),
        )


def wants_page(path: str, accept: str) -> bool:
    """Return whether the client is a browser that shows the response to a person."""
    return "text/html" in accept and not path.startswith("/api/")


def install(app: FastAPI) -> None:
    """Send every error of `app` as a problem; a browser gets a page with the same text."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(K6dError, _k6d)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _mistake)


def _answer(request: Request, problem: Problem) -> Response:
    data = request.app.state.context.settings.data
    problem.detail = without_folder(problem.detail, data)
    if not wants_page(request.url.path, request.headers.get("accept", "")):
        return problem.response()
    from k6d.web.page import page

    title = HTTPStatus(problem.status).phrase.capitalize()
    return page(
        request,
        request.app.state.context,
        "problem.html",
        status=problem.status,
        title=title,
        detail="" if problem.detail.capitalize() == title else problem.detail,
    )


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101  (for the type checker)
    return _answer(request, error)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    problem = Problem(error.status_code, str(error.detail), headers=error.headers)
    return _answer(request, problem)


async def _invalid(_: Request, error: Exception) -> Response:
    """Name the invalid fields without their values, which may be long or secret."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors = [
        {"where": ".".join(map(str, one["loc"])), "problem": one["msg"]}
        for one in error.errors()[:MAX_ERRORS]
    ]
    detail = "; ".join(f"{one['where']}: {one['problem']}" for one in errors)
    return Problem(422, detail, errors=errors).response()


async def _gone(_: Request, __: Exception) -> Response:
    """Nobody waits for the answer any more, and there is nothing to log."""
    return Problem(400, "the request ended in its middle").response()


async def _k6d(request: Request, error: Exception) -> Response:
    logger.error("a request failed: %s", error)
    return _answer(request, Problem(500, str(error)))


async def _mistake(_: Request, error: Exception) -> Response:
    logger.error("a request failed for a mistake of k6d's own; please report it", exc_info=error)
    return Problem(500, "a mistake of k6d's own; its log says more").response()
