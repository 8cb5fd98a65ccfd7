"""The HTTP side of the tests' Kubernetes API: paths, tokens, watches and logs, on 127.0.0.1."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from support.kubernetes_api import RefusedError, Request, failure
from support.kubernetes_store import KINDS, TESTRUNS, TooOldError, now, selected

if TYPE_CHECKING:
    import ssl

    from support.kubernetes_api import Api
    from support.kubernetes_store import Kind, Object

MAX_BODY_BYTES = 3 * 1024 * 1024
BOOKMARK_S = 1.0
_PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<sub>\w+))?"
)


class ApiServer(ThreadingHTTPServer):
    """Serves an `Api`; `close` breaks the open connections too."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, api: Api, port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self.api = api
        self._tls = tls
        self.closing = False
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Refuse connections from now on."""
        self.closing = True
        self.shutdown()
        self.server_close()
        for one in list(self._connections):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the thread of the connection."""
        if self._tls:
            request = self._tls.wrap_socket(request, server_side=True)
            self._connections.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            if self._tls:
                self._connections.discard(request)
                request.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget it."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no error of the server's."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: ApiServer

    def log_message(self, *_: object) -> None:
        """Nothing on the console."""

    def _serve(self) -> None:
        try:
            self._answer()
        except RefusedError as refused:
            self._send(refused.code, refused.status)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            raise RefusedError(413, f"Request entity too large: limit is {MAX_BODY_BYTES}")
        raw = self.rfile.read(length)
        api = self.server.api
        if self.headers.get("Authorization") != f"Bearer {api.token}":
            raise RefusedError(401, "Unauthorized")
        try:
            body = json.loads(raw) if raw else None
        except ValueError as error:
            raise RefusedError(400, f"the object provided is not JSON: {error}") from error
        url = urlsplit(self.path)
        if fixed := self._fixed(url.path, body):
            api.requests.append(f"{self.command} {url.path}")
            self._send(201 if self.command == "POST" else 200, fixed)
            return
        request = self._request(url.path, url.query, body)
        api.check(request)
        if request.verb == "watch":
            self._watch(request)
        elif request.sub == "log":
            self._log(request)
        else:
            self._send(*api.answer(request))

    def _fixed(self, path: str, body: Any) -> Object | None:
        api = self.server.api
        if path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            return api.review(body)
        if path == f"/apis/{TESTRUNS.api_version}" and api.has_crd:
            verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
            found = {"name": "testruns", "kind": "TestRun", "namespaced": True, "verbs": verbs}
            return {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": TESTRUNS.api_version,
                "resources": [found],
            }
        return None

    def _request(self, path: str, query: str, body: Any) -> Request:
        match = _PATH.fullmatch(path)
        group = match and (match["group"] or "")
        kinds = {(one.group, one.version, one.plural): one for one in KINDS}
        kind = match and kinds.get((group, match["core"] or match["version"], match["plural"]))
        if not match or not kind:
            raise RefusedError(404, "404 page not found")
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        asked["content-type"] = self.headers.get("Content-Type", "").partition(";")[0]
        verb = {"POST": "create", "DELETE": "delete", "PATCH": "patch", "PUT": "update"}.get(
            self.command, "get" if match["name"] else "list"
        )
        if verb == "list" and asked.get("watch") in {"true", "1"}:
            verb = "watch"
        return Request(
            method=self.command,
            verb=verb,
            kind=kind,
            namespace=match["namespace"],
            name=match["name"],
            sub=match["sub"],
            query=asked,
            body=body,
        )

    def _log(self, request: Request) -> None:
        api = self.server.api
        api.found(request)
        assert request.namespace
        assert request.name
        code, text = api.read_log(request.namespace, request.name)
        if code != 200:
            raise RefusedError(code, text.decode())
        if request.query.get("follow") in {"true", "1"}:
            self._follow(request.namespace, request.name)
            return
        if tail := request.query.get("tailLines"):
            text = b"".join(text.splitlines(keepends=True)[-int(tail) :])
        if most := request.query.get("limitBytes"):
            text = text[: int(most)]
        self._send_bytes(200, text, "text/plain")

    def _follow(self, namespace: str, name: str) -> None:
        """Send the log as it grows, until the container has ended."""
        api = self.server.api
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = 0
        while not self.server.closing:
            ended = api.has_ended(name)
            new = api.read_log(namespace, name)[1][sent:]
            if new:
                sent += len(new)
                self._chunk(new)
            elif ended:
                break
            else:
                time.sleep(0.05)
        self.wfile.write(b"0\r\n\r\n")

    def _watch(self, request: Request) -> None:
        store, api = self.server.api.store, self.server.api
        version = int(request.query.get("resourceVersion") or 0)
        until = time.monotonic() + float(request.query.get("timeoutSeconds") or 1800)
        labels = request.query.get("labelSelector", "")
        fields = request.query.get("fieldSelector", "")
        bookmarks = request.query.get("allowWatchBookmarks") in {"true", "1"}
        era, marked = api.era, time.monotonic()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if version == 0:
            with store.changed:
                version = store.version
                every = store.list(request.kind, request.namespace)
            for one in every:
                if selected(one, labels=labels, fields=fields):
                    self._event("ADDED", one)
        while time.monotonic() < until and era == api.era and not self.server.closing:
            try:
                with store.changed:
                    changes = store.since(version, request.kind, request.namespace)
                    if not changes:
                        store.changed.wait(0.1)
                        changes = store.since(version, request.kind, request.namespace)
                    current = store.version
            except TooOldError:
                gone = f"too old resource version: {version} ({store.version})"
                self._event("ERROR", failure(410, gone))
                break
            for one in changes:
                version = one.version
                if selected(one.body, labels=labels, fields=fields):
                    self._event(one.type, one.body)
            if bookmarks and not changes and time.monotonic() - marked > BOOKMARK_S:
                marked = time.monotonic()
                version = current
                self._event("BOOKMARK", _bookmark(request.kind, version))
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _chunk(self, part: bytes) -> None:
        self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.wfile.flush()

    def _event(self, type_: str, body: Object) -> None:
        self._chunk(json.dumps({"type": type_, "object": body}).encode() + b"\n")

    def _send(self, code: int, body: Object) -> None:
        if body.get("message") == "404 page not found":
            self._send_bytes(404, b"404 page not found\n", "text/plain; charset=utf-8")
        else:
            self._send_bytes(code, json.dumps(body).encode(), "application/json")

    def _send_bytes(self, code: int, body: bytes, content_type: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def _bookmark(kind: Kind, version: int) -> Object:
    meta = {"resourceVersion": str(version), "creationTimestamp": now()}
    return {"kind": kind.name, "apiVersion": kind.api_version, "metadata": meta}
