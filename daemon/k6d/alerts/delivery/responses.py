"""What receivers really say: noted where the bytes of the helper process pass.

Apprise tells only yes or no. The status, Retry-After, the SMTP reply, and whether a receiver may
have taken a message without saying so are seen at the `send` of requests' adapters and at the
replies of smtplib; both are changed in this process alone, which sends one message and ends.

Two rules hold here for every plugin. A redirect is a failure: whoever answers at its end is not the
receiver that was configured. Of a body only the start is read, for a short time.
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

# In what requests says when no connection to the receiver came about, so that it got nothing. The
# class of its error does not tell: a proxy that closes after the request is a ProxyError as well.
UNCONNECTED = ("NewConnectionError", "NameResolutionError", "Tunnel connection failed")
MAX_ADDRESS = 200
HINTS = (102, 103)  # interim answers that http.client takes for the last one
MAX_HINTS = 100
MAX_BODY = 64 * 1024  # bytes of an answer; plugins look for a short JSON document at most
DATA_GO_AHEAD = 354  # the reply to DATA: a whole message was written when the next one is due


@dataclass(slots=True)
class Wire:
    """What passed on the wire: the last failure in words, and whether a message may be over.

    `body_s` is how long the body of an answer may take; `cut` says of an answer with a good status
    that its body was longer than that, or too long.
    """

    body_s: float = 6.0
    cut: str | None = None
    error: str | None = None
    unsure: bool = False
    retry_after_s: float | None = None
    said: list[str] = field(default_factory=list)
    last_reply: int = 0

    def failed(self, error: str, *, unsure: bool = False) -> None:
        self.error, self.unsure = error, self.unsure or unsure

    def tap(self) -> None:
        """Listen to requests and smtplib from now on."""
        self._tap_http()
        self._tap_smtp()

    def _tap_http(self) -> None:
        _pass_over_hints()
        send = HTTPAdapter.send

        def tapped(adapter: Any, request: Any, **options: Any) -> Any:
            try:
                response = send(adapter, request, **(options | {"stream": True}))
            except requests.RequestException as error:
                self._http_failed(error)
                raise
            self._read(response)
            self._judge(request, response)
            return response

        HTTPAdapter.send = tapped  # type: ignore[method-assign, assignment]

    def _read(self, response: Any) -> None:
        """Give the response the start of its body; the status decides, whatever the body does."""
        body, cut = _start_of(response.raw, within_s=self.body_s)
        response._content, response._content_consumed = body, True
        if cut and response.status_code < 300:
            self.cut = f"HTTP {response.status_code}, but {cut}"

    def _judge(self, request: Any, response: Any) -> None:
        """Note what the status says; a redirect raises, so that no plugin takes it for success."""
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

    def _tap_smtp(self) -> None:
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


class Heard(logging.Handler):
    """Keeps what Apprise warns of."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


def _pass_over_hints() -> None:
    """Let http.client wait for the answer itself after 102 and 103, as it does after 100."""
    read_status = vars(http.client.HTTPResponse)["_read_status"]

    def status(response: Any) -> tuple[str, int, str]:
        for _ in range(MAX_HINTS):
            version, code, reason = read_status(response)
            if code not in HINTS:
                return version, code, reason
            http.client.parse_headers(response.fp)
        raise http.client.HTTPException(f"more than {MAX_HINTS} answers that are none")

    vars_of = cast("Any", http.client.HTTPResponse)
    vars_of._read_status = status


def _start_of(raw: Any, *, within_s: float) -> tuple[bytes, str | None]:
    """The start of a body, and why the rest of it is missing; None when nothing is."""
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
    """Whether a plugin only looks up where the receiver is (RFC 8615), and redirects are usual."""
    found = request.method == "GET" and urlsplit(request.url).path.startswith("/.well-known/")
    return bool(found)


def _address(base: str, location: str) -> str:
    """Where a redirect leads, without user, password and query; empty when it does not say."""
    try:
        parts = urlsplit(urljoin(base, location))
    except ValueError:
        return ""
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:MAX_ADDRESS]
    return where if location else ""
