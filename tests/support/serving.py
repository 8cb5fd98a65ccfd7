"""A daemon with its API on, and a small client for it: real HTTP, nothing that normalises paths."""

from __future__ import annotations

import http.client
import itertools
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from support.daemon import PATIENCE_S, Daemon


@dataclass(frozen=True)
class Answer:
    """A response; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return orjson.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class Served(Daemon):
    """A daemon whose API listens on a free port of loopback."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def environment(self, **variables: str) -> dict[str, str]:
        """As the daemon's, with the API on."""
        api = {"K6D_API__ENABLED": "true", "K6D_API__PORT": str(self.port)}
        return super().environment(**(api | variables))

    def answering(self) -> list[int]:
        """The process that answers requests, if there is one."""
        ours = f"HOME={self.home}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (folder / "cmdline").read_bytes()
                if b"k6d.web.server" in command and ours in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    @property
    def token(self) -> str:
        """The token that the daemon made."""
        return (self.data / "api-token").read_text().strip()

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        raw: bytes | None = None,
        token: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request, the path as it is written; `body` is sent as JSON."""
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            raw = orjson.dumps(body)
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2 * PATIENCE_S)
        try:
            connection.request(method, path, body=raw, headers=sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Answer:
        """GET."""
        return self.ask("GET", path, **options)

    def post(self, path: str, body: Any, **options: Any) -> Answer:
        """POST of JSON, with the token unless `token=False`."""
        return self.ask("POST", path, body=body, **{"token": True, **options})


_ports = itertools.count(os.getpid() * 131)  # each process of the tests walks its own way


def free_port() -> int:
    """A port that nobody has just now, and that the kernel gives to no connection meanwhile.

    A process of the tests gives each port once, until it has given all: who asked for it may take
    it later.
    """
    while True:
        port = 12_000 + next(_ports) % 20_000
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


HOSTILE = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"


def small_script(url: str) -> str:
    """A request every 0.2 s, a threshold that holds, hostile words wherever a script has words."""
    return f"""import http from 'k6/http';
import {{ check, group, sleep }} from 'k6';
export const options = {{ thresholds: {{ http_req_failed: ['rate<0.5'] }} }};
const words = "{HOSTILE}";
export default function () {{
  group(words, () => {{
    const answer = http.get('{url}', {{ tags: {{ name: words }} }});
    check(answer, {{ [words]: (r) => r.status === 200 }});
  }});
  console.log(words);
  sleep(0.2);
}}
"""
