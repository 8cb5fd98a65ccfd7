"""A real HTTP target on 127.0.0.1 for load tests: latency and status by path, all counted.

`with Target() as target: target.latency["/cart"] = 0.02; target.status["/cart"] = 500`, then
`target.requests["GET /cart"]` is how many came and `target.served` when, and how long each took.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One request as the target saw it; `latency_s` is its own time, from read to written."""

    method: str
    path: str
    status: int
    at: float
    latency_s: float


class Target:
    """Latency (seconds, or a function that gives them) and status are set by path, at any time.

    Paths come without their query. `failing` answers 503 to everything while it is true.
    """

    def __init__(self) -> None:
        self.latency: dict[str, float | Callable[[], float]] = {}
        self.status: dict[str, int | Callable[[], int]] = {}
        self.failing = False
        self.requests: Counter[str] = Counter()
        self.served: list[Served] = []
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), name="target", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str) -> int:
        """Take as long as this path is to take; the status to answer with."""
        latency = self.latency.get(path, 0.0)
        seconds = latency() if callable(latency) else latency
        if seconds > 0:
            time.sleep(seconds)
        status = self.status.get(path, 200)
        return 503 if self.failing else status() if callable(status) else status

    def record(self, served: Served) -> None:
        """Count one request."""
        with self._lock:
            self.requests[f"{served.method} {served.path}"] += 1
            self.served.append(served)


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target: Target) -> None:
        self.target = target
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no error of the target's."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # Nagle and delayed ACK would cost 40 ms a request
    wbufsize = -1  # head and body in one packet

    def log_message(self, *_: object) -> None:
        """Nothing on the console."""

    def _serve(self) -> None:
        started = time.perf_counter()
        assert isinstance(self.server, _Server)
        target = self.server.target
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        status = target.answer(path)
        body = b"" if self.command == "HEAD" else b"ok\n"
        # Counted before it is answered: a test may look as soon as its client has the answer.
        took = time.perf_counter() - started
        target.record(
            Served(method=self.command, path=path, status=status, at=time.time(), latency_s=took)
        )
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve  # noqa: N815
