"""k6 sends its metrics to an OpenTelemetry collector: each k6 at hand, a server that takes OTLP."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from k6d.core.model import K6dError
from k6d.settings import load
from support.binaries import BINARIES
from support.daemon import Daemon, hitting, lasting

if TYPE_CHECKING:
    from pathlib import Path

    from support.target import Target


class Collector:
    """Takes POSTs of protobuf by path, as a collector does."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[bytes]] = {}
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/x-protobuf"
                collector.bodies.setdefault(self.path, []).append(body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing on the console."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.mark.parametrize("version", BINARIES)
def test_a_collector_gets_the_metrics(version: str, tmp_path: Path, target: Target) -> None:
    """Beside k6d itself, with the run's id and script as tags; a path of its own is used."""
    collector, home = Collector(), Daemon(tmp_path / "home")
    home.write("cart.js", lasting(f"{target.url}/cart", seconds=3, graceful_s=30))
    given = {"K6D_K6__PATH": str(BINARIES[version])}
    done = home.call("run", "cart.js", K6D_FORWARD__OTLP=f"{collector.url}/otlp/v1/m", **given)
    collector.server.shutdown()
    collector.server.server_close()
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = home.runs("cart.js")
    assert run.metrics.total_requests == target.requests["GET /cart"]
    assert run.breakdown.endpoints[0].count == run.metrics.total_requests
    assert list(collector.bodies) == ["/otlp/v1/m"]
    sent = b"".join(collector.bodies["/otlp/v1/m"])
    for part in (b"http_reqs", b"http_req_duration", run.test_id.encode(), b"cart.js"):
        assert part in sent


@pytest.mark.parametrize("version", BINARIES)
def test_a_collector_that_is_down_changes_no_verdict(
    version: str, tmp_path: Path, target: Target
) -> None:
    """The run is healthy; a run without any data has its own reason, not that of the collector."""
    home = Daemon(tmp_path / "home")
    home.write("cart.js", hitting(f"{target.url}/cart"))
    home.write("none.js", "import http from 'k6/http'; export default function () {}")
    given = {"K6D_K6__PATH": str(BINARIES[version]), "K6D_FORWARD__OTLP": "http://127.0.0.1:9"}
    assert home.call("run", "cart.js", **given).returncode == 0
    home.call("run", "none.js", **given)
    (run,) = home.runs("none.js")
    assert "OpenTelemetry" not in str(run.anomaly_analysis)


@pytest.mark.parametrize("url", ["http://u:p@127.0.0.1:4318", "http://127.0.0.1:4318/?key=x"])
def test_an_address_with_a_secret_is_refused(url: str, tmp_path: Path) -> None:
    """Scripts could read it."""
    with pytest.raises(K6dError, match=r"forward\.otlp: .*should have no login and no query"):
        load(data=tmp_path, forward__otlp=url)
