"""Receives k6's remote-write pushes on 127.0.0.1 while a run on this machine goes on.

`PushHandler` reads and answers the pushes here and those of runners in a cluster.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import threading
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from k6d.execution.capture import Capture

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 32 * 1024 * 1024


class Receiver:
    """An HTTP server on 127.0.0.1 that feeds a `Capture` while the context is open.

    `also` is called with each accepted push, as k6 sent it, and must not block. `url` is the value
    for k6's K6_PROMETHEUS_RW_SERVER_URL. Its path is secret, so that another process on the machine
    that guesses the port cannot add to the run.
    """

    def __init__(
        self, capture: Capture, *, also: Callable[[bytes], None] = lambda _body: None
    ) -> None:
        self._path = f"/{secrets.token_urlsafe(24)}/write"
        self._server = _Server(capture, self._path, also)
        self._port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self._port}{self._path}"
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="remote-write", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        # The server waits for a connection; this one wakes it, so that it need not poll.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        self._thread.join(timeout=1)
        self._server.server_close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, address = self._server.get_request()
            except OSError as error:
                log.warning("cannot take k6's metrics, there will be no breakdown: %s", error)
                return
            if self._closing.is_set():
                connection.close()
            else:
                self._server.process_request(connection, address)


class _Server(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, capture: Capture, path: str, also: Callable[[bytes], None]) -> None:
        self.capture = capture
        self.also = also
        self.path = path
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, *_: object) -> None:
        """Log only for debugging: a killed k6 breaks its connection, and the outcome says that."""
        log.debug("remote-write connection broke", exc_info=True)


class PushHandler(BaseHTTPRequestHandler):
    """Answers the pushes of k6, 204 or an error; `take` of a subclass returns the status."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer one push."""
        self.reply(self.take())

    def take(self) -> int:
        """Take one push: see whether it may come, and hand it to `read`."""
        raise NotImplementedError

    def read(
        self,
        push: Callable[[bytes], None],
        *,
        most_bytes: int,
        may: Callable[[int], bool] = lambda _size: True,
    ) -> int:
        """Read the body for `push`, which raises ValueError if it is malformed.

        A body above `most_bytes`, or of a size that `may` refuses, is not read.
        """
        try:
            length = max(int(self.headers.get("Content-Length", "")), 0)
        except ValueError:
            return 411
        if length > most_bytes:
            return 413
        if not may(length):
            return 429
        try:
            push(self.rfile.read(length))
        except ValueError as error:
            log.debug("remote-write push refused: %s", error)
            return 400
        return 204

    def reply(self, status: int) -> None:
        """Send an answer without a body."""
        self.send_response(status)
        if status != 204:
            # The body may be unread, so the connection cannot be used again.
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing: this replaces the access log on standard error."""


class _Handler(PushHandler):
    timeout = 60  # k6 pushes every second on one connection
    server: _Server

    def take(self) -> int:
        if not secrets.compare_digest(self.path.encode(), self.server.path.encode()):
            return 404
        return self.read(self._feed, most_bytes=MAX_BODY_BYTES)

    def _feed(self, body: bytes) -> None:
        self.server.capture.feed(body)
        self.server.also(body)
