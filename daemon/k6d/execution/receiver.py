"""Receives k6's remote-write pushes on 127.0.0.1 while a run on this machine goes on."""

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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60  # k6 pushes every second on one connection
    server: _Server

    def do_POST(self) -> None:
        """Answer one push: 204, or an error with its reason."""
        self._reply(self._take())

    def _take(self) -> int:
        if not secrets.compare_digest(self.path.encode(), self.server.path.encode()):
            return 404
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            return 411
        if length > MAX_BODY_BYTES:
            return 413
        try:
            body = self.rfile.read(max(length, 0))
            self.server.capture.feed(body)
            self.server.also(body)
        except ValueError as error:
            log.debug("remote-write push refused: %s", error)
            return 400
        return 204

    def _reply(self, status: int) -> None:
        self.send_response(status)
        if status != 204:
            # The body may be unread, so the connection cannot be used again.
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing: this replaces the access log on standard error."""
