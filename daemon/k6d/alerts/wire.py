"""What receivers really say: noted where the bytes of the helper process pass.

Apprise tells only yes or no. The status, Retry-After, the SMTP reply, and whether a receiver may
have taken a message without saying so are seen at the `send` of requests' sessions and at the
replies of smtplib; both are changed in this process alone, which sends one message and ends.
"""

from __future__ import annotations

import logging
import smtplib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests

LONGEST_RETRY_AFTER_S = 86_400.0
# In what requests says when no connection to the receiver came about, so that it got nothing. The
# class of its error does not tell: a proxy that closes after the request is a ProxyError as well.
UNCONNECTED = ("NewConnectionError", "NameResolutionError", "Tunnel connection failed")
DATA_GO_AHEAD = 354  # the reply to DATA: a whole message was written when the next one is due


@dataclass(slots=True)
class Wire:
    """What passed on the wire: the last failure in words, and whether a message may be over."""

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
        send = requests.Session.send

        def tapped(session: Any, request: Any, **options: Any) -> Any:
            try:
                response = send(session, request, **options)
            except requests.RequestException as error:
                self._http_failed(error)
                raise
            if response.status_code >= 400:
                text = " ".join(response.text[:80].split())
                plain = text and not text.startswith("<")
                self.failed(f"HTTP {response.status_code}{f': {text}' if plain else ''}")
                self.retry_after_s = _retry_after(response.headers.get("Retry-After"))
            return response

        requests.Session.send = tapped  # type: ignore[method-assign, assignment]

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


def _retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After, which is a number or a date (RFC 9110, 10.2.3)."""
    if not header:
        return None
    try:
        wait = float(header)
    except ValueError:
        try:
            wait = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(wait, 0.0), LONGEST_RETRY_AFTER_S)
