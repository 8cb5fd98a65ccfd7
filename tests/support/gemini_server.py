"""A local server that speaks Gemini's wire format, well or badly; the only fake of it."""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "AQ.test-key-0123456789"
MODEL = "gemini-3.6-flash"

ANSWER = {
    "summary": "The checkout fails under load. Its database is the likely cause.",
    "severity": "high",
    "severity_reason": "",
    "issues": ["GET /cart slows down before anything fails."],
    "recommendations": ["Look at the connection pool of the checkout."],
    "confidence": 0.7,
}


@dataclass(frozen=True, slots=True)
class Response:
    """What the server says: a status, a body, headers.

    `hang` says nothing until the server is stopped; `trickle` a byte now and then, without end.
    """

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    trickle: bool = False


def _json(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(body).encode(), status=status, headers=headers or {})


def answer(text: str | None = None, *, finish: str = "STOP", **changes: Any) -> Response:
    """A candidate with `text`, by default `ANSWER` changed in the fields named."""
    said = json.dumps(ANSWER | changes) if text is None else text
    parts = [{"text": said}] if said else []
    candidate = {
        "content": {"parts": parts, "role": "model"},
        "finishReason": finish,
        "index": 0,
    }
    usage = {"promptTokenCount": 12, "candidatesTokenCount": 34, "totalTokenCount": 46}
    return _json({"candidates": [candidate], "usageMetadata": usage, "modelVersion": MODEL})


def blocked_prompt() -> Response:
    """The prompt itself was refused: feedback and no candidate."""
    return _json({"promptFeedback": {"blockReason": "SAFETY"}})


def error(status: int, name: str, message: str, *, retry_after: str | None = None) -> Response:
    """Google's error body; `retry_after` goes into the header."""
    headers = {"Retry-After": retry_after} if retry_after else {}
    body = {"error": {"code": status, "message": message, "status": name}}
    return _json(body, status=status, headers=headers)


def quota(delay: str) -> Response:
    """429 as Gemini words it: the time to wait stands in the body."""
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    status = {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}
    return _json({"error": status | {"details": [info]}}, status=429)


HANG = Response(b"", hang=True)
TRICKLE = Response(b" " * 1_000_000, trickle=True)
BAD_KEY = error(400, "INVALID_ARGUMENT", f"API key not valid: {KEY}. Please pass a valid API key.")


class Gemini(ThreadingHTTPServer):
    """Answers with `script`, one response a request, the last one again and again.

    `requests` holds every body, `wrong` what was not as the API wants it; `asked` is set by the
    first request.
    """

    daemon_threads = True

    def __init__(self, script: list[Response]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = list(script)
        self.requests: list[dict[str, Any]] = []
        self.wrong: list[str] = []
        self.asked = threading.Event()
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def take(self, body: dict[str, Any]) -> Response:
        """Note a request and say what to answer."""
        with self.lock:
            self.requests.append(body)
            self.asked.set()
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    @property
    def said(self) -> str:
        """The text of the last request's message."""
        return str(self.requests[-1]["contents"][0]["parts"][0]["text"])

    @property
    def instructions(self) -> str:
        """The system instruction of the last request."""
        return str(self.requests[-1]["systemInstruction"]["parts"][0]["text"])


class _Handler(BaseHTTPRequestHandler):
    server: Gemini
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Check the request, then answer as scripted."""
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw)
        self.server.wrong += _mistakes(self.path, dict(self.headers), body)
        response = self.server.take(body)
        if response.hang:
            self.server.stopping.wait(120)
            self.close_connection = True
            return
        self.send_response(response.status)
        headers = {"Content-Type": "application/json; charset=UTF-8"} | response.headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if response.trickle:
            self._trickle(response.body)
        else:
            self.wfile.write(response.body)

    def _trickle(self, body: bytes) -> None:
        """So slowly that it doesn't end, and so steadily that no read times out."""
        self.close_connection = True
        try:
            for place in range(len(body)):
                self.wfile.write(body[place : place + 1])
                if self.server.stopping.wait(0.05):
                    return
        except OSError:  # whoever asked has been killed
            return

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _mistakes(path: str, headers: dict[str, str], body: dict[str, Any]) -> list[str]:
    """What is wrong with a request, by the public reference of models.generateContent."""
    lowered = {name.lower(): value for name, value in headers.items()}
    config = body.get("generationConfig", {})
    schema = config.get("responseSchema", {})
    contents = body.get("contents", [])
    expected = {
        "path": re.fullmatch(rf"/v1beta/models/{MODEL}:generateContent(\?.*)?", path),
        "key in the URL": KEY not in path,
        "key": lowered.get("x-goog-api-key") == KEY,
        "content type": lowered.get("content-type", "").startswith("application/json"),
        "one message of the user": [c.get("role", "user") for c in contents] == ["user"],
        "its text": contents and contents[0]["parts"][0]["text"],
        "system instruction": body.get("systemInstruction", {}).get("parts"),
        "JSON asked for": config.get("responseMimeType") == "application/json",
        "schema": set(schema.get("properties", ())) == set(ANSWER),
        "required fields": set(schema.get("required", ())) == set(ANSWER),
        "temperature": config.get("temperature") == 0.25,
        "room for the answer": config.get("maxOutputTokens", 0) >= 4096,
    }
    return [f"{name}: {path} {body}" for name, good in expected.items() if not good]


@contextmanager
def gemini(*script: Response) -> Iterator[Gemini]:
    """A server that answers with `script`; every request must have been right at the end."""
    server = Gemini(list(script) or [answer()])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
    assert server.wrong == []
