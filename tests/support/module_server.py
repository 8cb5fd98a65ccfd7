"""A real HTTPS server for modules that scripts import, on 127.0.0.1."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

from support.receivers import TestCa

if TYPE_CHECKING:
    from pathlib import Path

SILENCE_S = 90.0


class ModuleServer:
    """`server.modules["/m.js"] = "export const x = 1;"`; a status where it is a number.

    None takes the request and never answers it. `trust` are the variables with which k6 trusts the
    server.
    """

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.modules: dict[str, str | int | None] = {}
        self._ended = threading.Event()
        authority = TestCa(folder)
        self.trust = {"SSL_CERT_FILE": str(authority.path)}
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        context = authority.server_context("localhost")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = served.modules.get(self.path.partition("?")[0], 404)
                if found is None:
                    served._ended.wait(SILENCE_S)
                    self.close_connection = True
                    return
                status, text = (found, "") if isinstance(found, int) else (200, found)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_words: object) -> None:
                """Stay silent."""

        return Handler
