"""Receives the pushes of runners in a cluster, and hands them the snapshot.

The server is open only while a run needs it. Each run has a token; without one, a request gets 401
before its body is read. A run may push so often and so much as its runners need, and no more.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
import socket
import threading
import time
from dataclasses import dataclass, field
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING

from k6d.core.model import K6dError, reason
from k6d.execution.kubernetes.testrun import DOWNLOAD, PUSH
from k6d.execution.receiver import PushHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * 1024 * 1024
# k6 pushes once a second, and once more at its end.
PUSHES_PER_S, BYTES_PER_S = 4.0, 4.0 * 1024 * 1024  # for each runner
BURST_S = 15.0
FIRST_S, IDLE_S = 10.0, 60.0  # for a request without, and with the token of a run
MOST_CONNECTIONS = 128  # beside two for each runner
CHUNK_BYTES = 1 << 16


@dataclass(slots=True)
class _Bucket:
    """Lets through `rate` a second, and what was not used of the last BURST_S seconds."""

    rate: float
    left: float = 0.0
    at: float = 0.0

    def takes(self, amount: float) -> bool:
        now = time.monotonic()
        most = self.rate * BURST_S
        self.left = most if not self.at else min(most, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < amount:
            return False
        self.left -= amount
        return True


@dataclass(slots=True)
class Guest:
    """A run whose runners may push. `push` gets each body; it raises ValueError if malformed.

    `archive` is the snapshot that they may download; None: there is none.
    """

    push: Callable[[bytes], None]
    runners: int
    archive: Path | None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    pushes: _Bucket = field(init=False)
    bytes: _Bucket = field(init=False)

    def __post_init__(self) -> None:
        self.pushes = _Bucket(PUSHES_PER_S * self.runners)
        self.bytes = _Bucket(BYTES_PER_S * self.runners)

    def may_push(self, size: int) -> bool:
        """Whether the rates allow another push of this size."""
        with self.lock:
            allowed = self.pushes.takes(1) and self.bytes.takes(size)
            self.refused += not allowed
            return allowed


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, bind: str, port: int) -> None:
        self.guests: dict[bytes, Guest] = {}
        self.connections = 0
        self.counting = threading.Lock()
        if ":" in bind:
            self.address_family = socket.AF_INET6
        super().__init__((bind, port), _Handler)
        self.port: int = self.server_address[1]
        self.thread = threading.Thread(
            target=self.serve_forever, args=(0.5,), name="cluster-receiver", daemon=True
        )
        self.thread.start()

    def guest(self, token: str) -> Guest | None:
        return self.guests.get(_key(token))

    def verify_request(self, *_: object) -> bool:
        """Refuse a connection beyond what the runners need."""
        most = MOST_CONNECTIONS + 2 * sum(one.runners for one in list(self.guests.values()))
        with self.counting:
            self.connections += 1
            return self.connections <= most

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        with self.counting:
            self.connections -= 1
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        """Log only for debugging: a runner that ends breaks its connection."""
        logger.debug("the connection of a runner broke", exc_info=True)

    def close(self) -> None:
        self.shutdown()
        self.server_close()


_open: dict[tuple[str, int], _Server] = {}
_opening = threading.Lock()


@contextlib.contextmanager
def receiving(guest: Guest, *, bind: str, port: int) -> Iterator[int]:
    """Receive the pushes of a run while the context is open; yield the port.

    Runs of one process share the server. Raises K6dError if the port is not free.
    """
    with _opening:
        server = _open.get((bind, port)) or _listen(bind, port)
        _open[bind, port] = server
        server.guests[_key(guest.token)] = guest
    try:
        yield server.port
    finally:
        with _opening:
            del server.guests[_key(guest.token)]
            is_last = not server.guests
            if is_last:
                del _open[bind, port]
        if is_last:
            server.close()
        if guest.refused:
            logger.warning("%d pushes of runners came too fast and were refused", guest.refused)


def _listen(bind: str, port: int) -> _Server:
    try:
        return _Server(bind, port)
    except OSError as error:
        raise K6dError(
            f"cannot receive the pushes of runners on {bind}:{port}: {reason(error)}; another k6d "
            "may run a test on the cluster: wait for it, or set kubernetes.receiver_port"
        ) from error


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class _Handler(PushHandler):
    server_version = "k6d"
    sys_version = ""
    timeout = FIRST_S
    server: _Server

    def do_GET(self) -> None:  # noqa: N802  (the name that http.server calls)
        """Send the snapshot of the run whose token this is."""
        guest = self._guest()
        if guest is None:
            self.reply(401)
        elif self.path != DOWNLOAD or guest.archive is None:
            self.reply(404)
        else:
            self._send(guest.archive)

    def _guest(self) -> Guest | None:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        guest = self.server.guest(token.strip()) if scheme.lower() == "bearer" else None
        if guest:
            self.connection.settimeout(IDLE_S)
        return guest

    def take(self) -> int:
        guest = self._guest()
        if guest is None:
            return 401
        if self.path != PUSH:
            return 404
        return self.read(guest.push, most_bytes=MAX_BODY_BYTES, may=guest.may_push)

    def _send(self, archive: Path) -> None:
        with archive.open("rb") as file:
            self.send_response(200)
            self.send_header("Content-Type", "application/x-tar")
            self.send_header("Content-Length", str(archive.stat().st_size))
            self.end_headers()
            while chunk := file.read(CHUNK_BYTES):
                self.wfile.write(chunk)
