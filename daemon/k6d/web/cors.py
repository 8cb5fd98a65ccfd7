"""Allows cross-origin requests (CORS of the Fetch standard) from the origins in `api.origins`.

Credentials are never allowed: a page must send the token itself; a browser's session is ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Message, Send

METHODS = "GET, HEAD, POST, DELETE"
SENT = "Authorization, Content-Type, If-None-Match, Last-Event-ID"
READ = "Content-Disposition, ETag, Link, Location, Retry-After, WWW-Authenticate"
PREFLIGHT_KEPT_S = 600


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Return whether the request is a browser's CORS preflight."""
    return method == "OPTIONS" and "access-control-request-method" in headers


def preflight() -> Response:
    """Return the response with the methods and headers that a page may send."""
    headers = {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": SENT,
        "Access-Control-Max-Age": str(PREFLIGHT_KEPT_S),
    }
    return Response(status_code=204, headers=headers)


def readable_by(origin: str, send: Send) -> Send:
    """Let pages of `origin` read the response, also a refusal."""

    async def with_origin(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = READ
            headers.add_vary_header("Origin")
        await send(message)

    return with_origin
