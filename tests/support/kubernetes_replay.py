"""A recorded k6 that runs as the image "replay" in the tests' cluster: a hundred fit on a machine.

`record` runs a real k6 once and keeps its pushes and its summary, for so many runners. The program
that `program` writes stands in for k6 in a pod: it answers `/v1/status`, waits for its start, sends
the pushes of its runner, one a second, and prints the summary.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

URL, TOKEN = "K6_PROMETHEUS_RW_SERVER_URL", "K6_PROMETHEUS_RW_BEARER_TOKEN"


def record(folder: Path, command: Sequence[str | Path], *, runners: int) -> int:
    """Run k6 once and write its pushes for each runner; return how many pushes each has.

    `command` is `k6 run …` without the output. Only the number of the runner differs.
    """
    import subprocess

    from k6d.execution.local.variables import remote_write

    pushed: list[bytes] = []
    with _Recorder(pushed) as server:
        summary = folder / "summary.json"
        url = f"http://127.0.0.1:{server.server_port}/"
        out = ["--out", "experimental-prometheus-rw", "--summary-export", summary]
        stats = ["--summary-trend-stats", "avg,min,med,max,p(90),p(95),p(99),count"]
        subprocess.run(
            [*command, *out, *stats, "--tag", "instance_id=0"],
            env=os.environ | remote_write(url, version=(1, 1), env={}),
            check=True,
            capture_output=True,
        )
    for number in range(1, runners + 1):
        bodies = [numbered(body, number) for body in pushed]
        lengths = [len(body) for body in bodies]
        head = json.dumps(lengths).encode() + b"\n"
        (folder / f"{number}.pushes").write_bytes(head + b"".join(bodies))
    return len(pushed)


def pushes(folder: Path, number: int) -> list[bytes]:
    """The pushes of a runner."""
    head, _, bodies = (folder / f"{number}.pushes").read_bytes().partition(b"\n")
    found, at = [], 0
    for length in json.loads(head):
        found.append(bodies[at : at + length])
        at += length
    return found


def numbered(body: bytes, number: int) -> bytes:
    """A push with the number of another runner."""
    import cramjam

    from support.prompb import WriteRequest, pack

    request = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    for series in request.timeseries:
        for label in series.labels:
            if label.name == "instance_id":
                label.value = str(number)
    return pack(request)


def program(path: Path, folder: Path) -> Path:
    """Write the program for what is recorded in `folder`."""
    path.write_text(
        f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import kubernetes_replay\nkubernetes_replay.main({str(folder)!r}, sys.argv[1:])\n"
    )
    path.chmod(0o755)
    return path


def main(folder: str, arguments: list[str]) -> None:
    """Be the runner of a pod."""
    words = " ".join(arguments)
    number, port = (
        int(found[1])
        for pattern in (r"instance_id=(\d+)", r"--address=127\.0\.0\.1:(\d+)")
        if (found := re.search(pattern, words))
    )
    started = threading.Event()
    server = _status_server(port, started)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    bodies = pushes(Path(folder), number)
    started.wait()
    host, _, path = os.environ[URL].removeprefix("http://").partition("/")
    connection = HTTPConnection(host, timeout=10)
    headers = {"Authorization": f"Bearer {os.environ[TOKEN]}"}
    began = time.monotonic()
    for second, body in enumerate(bodies):
        time.sleep(max(began + second - time.monotonic(), 0))
        connection.request("POST", f"/{path}", body, headers)
        connection.getresponse().read()
    sys.stdout.write(Path(folder, "summary.json").read_text())


def _status_server(port: int, started: threading.Event) -> HTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"data": {"attributes": {"paused": not started.is_set()}}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PATCH(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            started.set()
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    return HTTPServer(("127.0.0.1", port), Handler)


class _Recorder(HTTPServer):
    """Keeps each push."""

    def __init__(self, pushes: list[bytes]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                pushes.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        super().__init__(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
