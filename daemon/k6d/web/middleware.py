"""Checks every request's access and body size, and adds headers to every response."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse

from k6d.web import cors
from k6d.web.access import ASKED, FROM, SAFE
from k6d.web.problems import Problem, wants_page

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from k6d.web.access import Access, Refusal

MAX_BODY_BYTES = 1024 * 1024
# Pages may load only k6d's own files, so a script's text that is not escaped can do no harm.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With no-referrer, browsers would send forms with "Origin: null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class AccessMiddleware:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request or pass it on."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        answer = _with_headers(send)
        if self._access.is_named_page(headers):
            answer = cors.readable_by(headers["origin"], answer)
        path = scope["path"]
        refusal = self._access.refusal(scope["method"], path, headers)
        if cors.is_preflight(scope["method"], headers) and self._may_ask(headers, refusal):
            await cors.preflight()(scope, receive, answer)
            return
        if refusal:
            if refusal.login and wants_page(scope["path"], headers.get("accept", "")):
                here = _page_of(scope, headers)
                if scope["method"] == "POST":  # its page asks for the token, then does it
                    scope = {**scope, "path": "/login", "raw_path": b"/login"}
                    scope |= {ASKED: path, FROM: here}
                    await self._limited(scope, receive, answer, headers)
                    return
                here = quote(here, safe="")
                login = RedirectResponse(f"/login?next={here}", status_code=303)
                await login(scope, receive, answer)
                return
            ask = {"WWW-Authenticate": 'Bearer realm="k6d"'} if refusal.status == 401 else None
            problem = Problem(refusal.status, refusal.detail, headers=ask)
            await problem.response()(scope, receive, answer)
            return
        await self._limited(scope, receive, answer, headers)

    async def _limited(
        self, scope: Scope, receive: Receive, answer: Send, headers: Headers
    ) -> None:
        """Pass the request on, with a limit for its body."""
        try:
            length = int(headers.get("content-length") or 0)
        except ValueError:
            problem = Problem(400, "Content-Length is no number")
            await problem.response()(scope, receive, answer)
            return
        body = _Body(receive, too_large=length > MAX_BODY_BYTES)
        if not body.too_large:
            with contextlib.suppress(_TooLargeError):
                await self._app(scope, body.receive, body.unless_too_large(answer))
        if body.too_large:
            problem = Problem(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
            await problem.response()(scope, receive, answer)

    def _may_ask(self, headers: Headers, refusal: Refusal | None) -> bool:
        """Return whether to answer a CORS preflight, which browsers send without the token."""
        told = refusal is None or refusal.status == 401
        return self._access.is_named_page(headers) and told


class _TooLargeError(Exception):
    """The body is too large; ends its reading."""


class _Body:
    """A request's body with a limit; above it, only the middleware's own response is sent."""

    def __init__(self, receive: Receive, *, too_large: bool) -> None:
        self._receive = receive
        self._received = 0
        self.too_large = too_large

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > MAX_BODY_BYTES:
            self.too_large = True
            raise _TooLargeError
        return message

    def unless_too_large(self, send: Send) -> Send:
        async def send_on(message: Message) -> None:
            if not self.too_large:
                await send(message)

        return send_on


def _page_of(scope: Scope, headers: Headers) -> str:
    """Return the page to open after the login: the requested one, or the one with the button."""
    if scope["method"] not in SAFE:
        _, _, place = headers.get("referer", "").partition(
            "://"
        )  # works for any host and for malformed values
        return f"/{place.partition('/')[2]}"
    return f"{scope['path']}?{scope['query_string'].decode('latin-1')}".removesuffix("?")


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return with_headers
