"""Keeps the beginning, the end and the first errors of a log, in bounded memory."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

import orjson

from k6d.core.measurements import Log

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LINE_BYTES = 2000  # one console.log of a whole response must not displace all other lines
MAX_ERRORS = 5
MAX_ERROR_CHARS = 4000  # for each error, because a script can throw a megabyte
MAX_PENDING_BYTES = 1 << 20
FIELDS_BYTES = 1000  # at the end of a line, for the fields that follow the message
_WHOLE_ESCAPES = re.compile(r"(?:[^\\]|\\u[0-9a-fA-F]{4}|\\[^u])*")
_LAST_FIELDS = re.compile(rb'"(?:,"\w+":"[^"\\]*")+\}\r?$')
# In lines about receivers of metrics, which say nothing of the script or its target.
OUTPUTS = (b'"output":"Prometheus remote write"', b"OpenTelemetry metric provider")
# k6 2.x logs a line about the feature that k6d enables; no line of a script has this field.
ABOUT_OUR_FLAG = b'"feature":"native-histograms"'
# k6 refuses a flag before it has read the log format, so this line is text; all others are JSON.
_REFUSED_FLAG = re.compile(rb'time="[^"]*" level=(?:error|fatal) msg=("(?:[^"\\]|\\.)*")')


class LogBuffer:
    """Reads a stream and keeps at most `limit` bytes of readable lines: half first, half last.

    `hide` removes known secrets from a text before the text is cut, because half of a secret can
    no longer be recognised. A text that is not cut is left as it is: files are found by the paths
    in errors.
    """

    def __init__(self, limit: int, *, hide: Callable[[str], str] = str) -> None:
        self._hide = hide
        self._half = limit // 2
        self._pending = b""
        self._skipped: tuple[bytes, bytes] | None = None  # the start and the end of a huge line
        self._head: list[str] = []
        self._head_size = 0
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._head_full = False
        self._cut_lines = 0
        self._cut_bytes = 0
        self.errors: list[str] = []
        self.exceptions = 0
        self.first_exception: str | None = None

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes; a line may arrive in pieces."""
        if self._skipped:
            start, end = self._skipped
            more, newline, chunk = chunk.partition(b"\n")
            self._skipped = start, (end + more)[-FIELDS_BYTES:]
            if newline:
                self._add_huge(*self._skipped)
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        for line in lines:
            self._add(line)
        if len(self._pending) > MAX_PENDING_BYTES:
            start = self._pending[: 2 * MAX_LINE_BYTES]
            self._skipped = start, self._pending[-FIELDS_BYTES:]
            self._pending = b""

    def close(self) -> None:
        """End the stream; a last line without a line end is kept too."""
        if self._skipped:
            self._add_huge(*self._skipped)
        if self._pending:
            self._add(self._pending)
            self._pending = b""

    def _add_huge(self, start: bytes, end: bytes) -> None:
        """Add a line of which only the start and the end are known; its fields are at the end."""
        self._skipped = None
        text = self._hide(start.decode(errors="replace"))[: MAX_LINE_BYTES // 2]
        if whole := _WHOLE_ESCAPES.match(text):
            text = whole[0]
        fields = _LAST_FIELDS.search(end) if text.startswith("{") else None
        self._add(f"{text} … (over 1 MB)".encode() + (fields[0] if fields else b""))

    def log(self) -> Log:
        """Return the kept lines and the size of the rest."""
        tail = [readable(line) for line in self._tail]
        return (
            Log(
                head="\n".join(self._head),
                tail="\n".join(tail) if self._cut_lines else "",
                cut_lines=self._cut_lines,
                cut_bytes=self._cut_bytes,
            )
            if self._cut_lines
            else Log(head="\n".join([*self._head, *tail]))
        )

    def _add(self, line: bytes) -> None:
        if line.startswith(b"{") and ABOUT_OUR_FLAG in line:
            return
        self._note(line)
        self._keep(line if len(line) <= MAX_LINE_BYTES else _shorten(line, self._hide))

    def _keep(self, line: bytes) -> None:
        if not self._head_full and self._head_size + len(line) + 1 <= self._half:
            self._head.append(readable(line))
            self._head_size += len(line) + 1
            return
        self._head_full = True
        self._tail.append(line)
        self._tail_size += len(line) + 1
        while self._tail_size > self._half and len(self._tail) > 1:
            gone = len(self._tail.popleft()) + 1
            self._tail_size -= gone
            self._cut_lines += 1
            self._cut_bytes += gone

    def _note(self, line: bytes) -> None:
        """Count the exceptions of iterations; keep k6's first errors and its last.

        The log line of an exception in an iteration names the executor. An exception in init code,
        setup, teardown or handleSummary does not and counts as an error of k6. Since 2.1, k6 marks
        it as a stack trace.
        """
        if refused := _REFUSED_FLAG.match(line):
            self.errors[MAX_ERRORS - 1 :] = [self._cut(_unquoted(refused[1]))]
        if b'"level":"error"' not in line or any(output in line for output in OUTPUTS):
            return
        if b'"source":"console"' in line:
            return
        if b'"executor":' in line and (b'"source":"stacktrace"' in line or _is_rejection(line)):
            self.exceptions += 1
            self.first_exception = self.first_exception or self._message(line)
        else:
            self.errors[MAX_ERRORS - 1 :] = [self._message(line)]

    def _message(self, line: bytes) -> str:
        return self._cut(readable(line, message_only=True))

    def _cut(self, message: str) -> str:
        if len(message) <= MAX_ERROR_CHARS:
            return message
        return self._hide(message[: 2 * MAX_ERROR_CHARS])[:MAX_ERROR_CHARS]


def _is_rejection(line: bytes) -> bool:
    """Return whether the line is an exception of asynchronous code; it has no `source` field."""
    return b'"msg":"Uncaught (in promise)' in line and b'"source":' not in line


def _unquoted(text: bytes) -> str:
    try:
        return str(orjson.loads(text))
    except orjson.JSONDecodeError:
        return text.decode(errors="replace").strip('"')


def _shorten(line: bytes, hide: Callable[[str], str]) -> bytes:
    """Cut a long line; a JSON line keeps its fields, and only its message is cut."""
    try:
        record = orjson.loads(line)
        room = MAX_LINE_BYTES - 200
        for key in ("msg", "error"):
            if len(str(record.get(key, ""))) > room:
                said = hide(str(record[key])[: 2 * MAX_LINE_BYTES])
                record[key] = said[:room] + f" … ({len(line)} bytes)"
        return bytes(orjson.dumps(record))
    except (orjson.JSONDecodeError, AttributeError):
        start = hide(line[: 2 * MAX_LINE_BYTES].decode(errors="replace")).encode()
        return start[:MAX_LINE_BYTES] + f" … ({len(line)} bytes)".encode()


def readable(line: bytes, *, message_only: bool = False) -> str:
    """Format a JSON log line as "12:00:00 warning Request Failed: …"; other lines are unchanged."""
    text = line.decode(errors="replace").rstrip()
    if not text.startswith("{"):
        return text
    try:
        record = orjson.loads(line)
        message = str(record["msg"]).strip()
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return text
    if error := record.get("error"):
        message += f": {error}"
    if message_only:
        return message
    source = " console" if record.get("source") == "console" else ""
    return f"{str(record.get('time', ''))[11:19]} {record.get('level', 'info')}{source} {message}"
