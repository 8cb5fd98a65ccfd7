"""A real Prometheus, and a server that speaks its wire format and answers as a test says."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.parse
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import orjson

from support.daemon import until
from support.programs import program
from support.serving import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def prometheus(folder: Path, config: str, *flags: str) -> Iterator[str]:
    """A real Prometheus; its host and port."""
    folder.mkdir()
    (folder / "prometheus.yml").write_text(config)
    url = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={url}",
                *flags,
            ],
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: _ready(url), "Prometheus")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def query(url: str, expression: str) -> list[dict[str, Any]]:
    """The result of an instant query."""
    path = f"http://{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(path, timeout=10) as answer:
        found: list[dict[str, Any]] = orjson.loads(answer.read())["data"]["result"]
        return found


def matrix(*series: list[tuple[float, str]], **more: object) -> bytes:
    """An answer of a Prometheus: each series with its moments and values."""
    result = [{"metric": {"n": str(n)}, "values": one} for n, one in enumerate(series)]
    data = {"resultType": "matrix", "result": result}
    return json.dumps({"status": "success", "data": data, **more}).encode()


class FakePrometheus:
    """Answers each range query with what `answer` gives for its form: status and body.

    `seen` has the forms, `headers` the headers of all requests.
    """

    def __init__(self, answer: Callable[[dict[str, str]], tuple[int, bytes]]) -> None:
        self.answer = answer
        self.seen: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.more_headers: dict[str, str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = dict(urllib.parse.parse_qsl(body))
                fake.seen.append(form | {"path": self.path})
                fake.headers.append(dict(self.headers))
                status, answer = fake.answer(form)
                self.send_response(status)
                for name, value in fake.more_headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: object) -> None:
                """Nothing on the console."""

        return Handler

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
