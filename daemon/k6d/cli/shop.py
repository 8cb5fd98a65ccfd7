"""The little shop that `k6d demo` and `k6d demo-target` test: an HTTP server on this machine.

Its checkout fails or is slow on demand. It also receives alerts, at /alerts.
"""

from __future__ import annotations

import http.client
import random
import time
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.errors import K6dError, reason

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "127.0.0.1"
LATENCY_S = {"/": 0.004, "/products": 0.012, "/cart": 0.020, "/checkout": 0.035}
SLOW_S = 0.8  # beyond the threshold of 500 ms in the examples
LONGEST_BODY = 1 << 20


class Checkout(StrEnum):
    """What the shop's checkout does."""

    OK = "ok"
    SLOW = "slow"
    FAIL = "fail"


class Shop(ThreadingHTTPServer):
    """The server; port 0 is a free port. Alerts go to `on_alert`, or else into `alerts`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, *, port: int = 0, on_alert: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        super().__init__((HOST, port), _Handler)
        self.checkout = Checkout.OK
        self.alerts: list[dict[str, Any]] = []
        self.on_alert = on_alert or self.alerts.append
        self.address = f"{HOST}:{self.server_address[1]}"


def change(port: int, checkout: Checkout) -> None:
    """Make the checkout of the shop that runs at this port behave so; K6dError if none answers."""
    try:
        connection = http.client.HTTPConnection(HOST, port, timeout=10)
        connection.request("POST", "/state", body=checkout.value)
        status = connection.getresponse().status
        connection.close()
    except (OSError, http.client.HTTPException) as error:
        why = reason(error) if isinstance(error, OSError) else "its answer is not HTTP"
        raise K6dError(
            f"no demo target answers at {HOST}:{port} ({why}): start one with 'k6d demo-target'"
        ) from error
    if status != http.client.NO_CONTENT:
        raise K6dError(f"what answers at {HOST}:{port} is no demo target: name another --port")


class _Handler(BaseHTTPRequestHandler):
    server: Shop
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # sends a whole response with one write

    def do_GET(self) -> None:
        """Send a page of the shop, after a random delay around its usual latency."""
        checkout = self.server.checkout if self.path == "/checkout" else Checkout.OK
        usual_s = LATENCY_S.get(self.path, 0.001)
        time.sleep(
            SLOW_S if checkout is Checkout.SLOW else random.lognormvariate(0, 0.15) * usual_s
        )
        failed = checkout is Checkout.FAIL
        self._answer(503 if failed else 200, b"sorry\n" if failed else b"welcome\n")

    def do_POST(self) -> None:
        """Like GET; an alert is passed on, and /state changes the checkout."""
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(length, LONGEST_BODY))
        try:
            if self.path == "/alerts":
                self.server.on_alert(orjson.loads(body))
                self._answer(200, b"")
            elif self.path == "/state":
                self.server.checkout = Checkout(body.decode())
                self._answer(204, b"")
            else:
                self.do_GET()
        except ValueError:
            self._answer(400, b"neither an alert nor a state\n")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing: the demo prints what happens."""
