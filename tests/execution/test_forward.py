"""What is said of a Prometheus that does not take what is forwarded."""

from __future__ import annotations

import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

from k6d.execution.forward import Forwarder
from k6d.settings import Forward

if TYPE_CHECKING:
    import pytest

PATIENCE_S = 30.0


class _Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b"<html>\n  <body>\n    no\n"
        self.send_response(501)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on the console."""


def test_a_refusal_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """However many lines the receiver's answer has."""
    with HTTPServer(("127.0.0.1", 0), _Refusing) as server, caplog.at_level(logging.WARNING):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/write"
        with Forwarder(Forward(url=url)) as forwarder:
            forwarder.push(b"x")
        deadline = time.monotonic() + PATIENCE_S
        while not caplog.messages and time.monotonic() < deadline:
            time.sleep(0.02)
        server.shutdown()
    said = "the receiver answers 501 (<html> <body> no)"
    assert caplog.messages == [f"1 pushes of k6's metrics were not forwarded: {said}"]
