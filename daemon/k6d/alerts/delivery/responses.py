"""Records the responses of a receiver: Apprise returns only whether it delivered.

The HTTP status, Retry-After, the SMTP reply, and whether a message may have arrived without a
confirmation are taken from the adapters of requests and from smtplib. Both are replaced in the
helper process only, which sends one message and ends.

Two rules hold for every plugin. A redirect is a failure, because the server at its end is not the
configured receiver. Only the start of a body is read, and only for a short time.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import smtplib
import threading
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from k6d.core.parse import retry_after_s

# In the errors of requests when there was no connection, so that the receiver got nothing. The
# class of the error is no sign: a proxy that closes after the request is a ProxyError as well.
UNCONNECTED = ("NewConnectionError", "NameResolutionError", "Tunnel connection failed")
MAX_ADDRESS = 200
INTERIM = (102, 103)  # http.client takes these interim responses for the final one
MAX_INTERIM = 100
MAX_BODY = 64 * 1024  # bytes; the longest body that a plugin reads is a short JSON document
DATA_GO_AHEAD = 354  # the reply to DATA; before the next reply a whole message was written


@dataclass(slots=True)
class Responses:
    """The last failure in words, and whether the message may have arrived (`unsure`).

    `body_s` limits how long a body may take. `cut` says that the status was good, but the body took
    longer or was too long. `warnings` are those that Apprise logged.
    """

    body_s: float = 6.0
    cut: str | None = None
    error: str | None = None
    unsure: bool = False
    retry_after_s: float | None = None
    warnings: list[str] = field(default_factory=list)
    last_reply: int = 0

    def failed(self, error: str, *, unsure: bool = False) -> None:
        self.error, self.unsure = error, self.unsure or unsure

    def observe(self) -> None:
        """Record the responses that requests and smtplib get from now on."""
        self._observe_http()
        self._observe_smtp()

    def _observe_http(self) -> None:
        _skip_interim_responses()
        send = HTTPAdapter.send

        def observed(adapter: Any, request: Any, **options: Any) -> Any:
            try:
                response = send(adapter, request, **(options | {"stream": True}))
            except requests.RequestException as error:
                self._http_failed(error)
                raise
            self._read(response)
            self._judge(request, response)
            return response

        HTTPAdapter.send = observed  # type: ignore[method-assign, assignment]

    def _read(self, response: Any) -> None:
        """Read the start of the body only; the status alone decides about the delivery."""
        body, cut = _start_of(response.raw, within_s=self.body_s)
        response._content, response._content_consumed = body, True
        if cut and response.status_code < 300:
            self.cut = f"HTTP {response.status_code}, but {cut}"

    def _judge(self, request: Any, response: Any) -> None:
        """Record the status; raise for a redirect, so that no plugin counts it as a success."""
        status = response.status_code
        if 300 <= status < 400 and not _is_discovery(request):
            where = _address(request.url, response.headers.get("Location") or "")
            leads = f"it redirects to {where}; use that address" if where else "it redirects"
            self.failed(f"HTTP {status}: {leads}")
            raise requests.TooManyRedirects(f"HTTP {status}", response=response)
        if status >= 400:
            text = " ".join(response.text[:80].split())
            plain = text and not text.startswith("<")
            self.failed(f"HTTP {status}{f': {text}' if plain else ''}")
            self.retry_after_s = retry_after_s(response.headers.get("Retry-After"))

    def _http_failed(self, error: requests.RequestException) -> None:
        if isinstance(error, requests.exceptions.ConnectTimeout):
            self.failed("it could not be reached in time")
        elif isinstance(error, requests.exceptions.Timeout):
            self.failed("it took the request and did not answer in time", unsure=True)
        elif isinstance(error, requests.exceptions.SSLError):
            self.failed("TLS failed: its certificate is not trusted, or it speaks no TLS")
        elif any(sign in repr(error) for sign in UNCONNECTED):
            proxy = isinstance(error, requests.exceptions.ProxyError)
            why = "connection refused, or an unknown host"
            self.failed(
                "the proxy could not reach it" if proxy else f"it could not be reached: {why}"
            )
        else:
            self.failed("it closed the connection without an answer", unsure=True)

    def _observe_smtp(self) -> None:
        getreply, connect = smtplib.SMTP.getreply, smtplib.SMTP.connect

        def replied(session: Any) -> tuple[int, bytes]:
            try:
                code, text = getreply(session)
            except (OSError, smtplib.SMTPException) as error:
                late = "timed out" in str(error)
                how = "did not answer in time" if late else "ended the connection"
                self.failed(f"the mail server {how}", unsure=self.last_reply == DATA_GO_AHEAD)
                raise
            if code >= 400:
                words = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
                self.failed(f"SMTP {code}: {words}")
            self.last_reply = code
            return code, text

        def connected(session: Any, *args: Any, **options: Any) -> Any:
            try:
                return connect(session, *args, **options)
            except OSError as error:
                if self.error is None:
                    why = error.strerror or str(error)
                    self.failed(f"the mail server could not be reached: {why}")
                raise

        smtplib.SMTP.getreply = replied  # type: ignore[method-assign, assignment]
        smtplib.SMTP.connect = connected  # type: ignore[method-assign, assignment]


class WarningCollector(logging.Handler):
    """Collects the warnings that Apprise logs."""

    def __init__(self, warnings: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._warnings = warnings

    def emit(self, record: logging.LogRecord) -> None:
        self._warnings.append(record.getMessage())


def _skip_interim_responses() -> None:
    """Let http.client wait for the final response after 102 and 103, as it does after 100."""
    read_status = vars(http.client.HTTPResponse)["_read_status"]

    def status(response: Any) -> tuple[str, int, str]:
        for _ in range(MAX_INTERIM):
            version, code, reason = read_status(response)
            if code not in INTERIM:
                return version, code, reason
            http.client.parse_headers(response.fp)
        raise http.client.HTTPException(f"more than {MAX_INTERIM} interim responses")

    vars_of = cast("Any", http.client.HTTPResponse)
    vars_of._read_status = status


def _start_of(raw: Any, *, within_s: float) -> tuple[bytes, str | None]:
    """Return the start of a body, and why the rest is missing; None if it is complete."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # it has just ended by itself
            raw.shutdown()  # the read that waits returns

    body = b""
    broken = False
    timer = threading.Timer(within_s, stop)
    timer.start()
    try:
        while len(body) < MAX_BODY and not late.is_set():
            piece = raw.read1(MAX_BODY - len(body), decode_content=True)
            if not piece:
                break
            body += piece
    except (HTTPError, OSError, ValueError):
        broken = True
    finally:
        timer.cancel()
        raw.close()
    if late.is_set():
        return body, f"the rest of its answer did not come within {within_s:.1f} s"
    if len(body) >= MAX_BODY:
        return body, f"its answer is longer than {MAX_BODY // 1024} KB"
    return body, "it closed the connection in the middle of its answer" if broken else None


def _is_discovery(request: Any) -> bool:
    """Return whether a plugin looks up the receiver's address (RFC 8615): redirects are fine."""
    found = request.method == "GET" and urlsplit(request.url).path.startswith("/.well-known/")
    return bool(found)


def _address(base: str, location: str) -> str:
    """Return the target of a redirect without user, password and query; "" if it names none."""
    try:
        parts = urlsplit(urljoin(base, location))
    except ValueError:
        return ""
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:MAX_ADDRESS]
    return where if location else ""
