"""Takes a runner's log apart: k6's log, its standard output, and the JSON of its summary.

A pod has one log for both streams. k6 logs JSON objects, one a line, to standard error. Its text
summary and, by `--summary-export /dev/stdout`, its JSON summary go to standard output, in either
order.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import orjson

from k6d.core.model import K6dError
from k6d.execution import summary
from k6d.execution.log_buffer import LogBuffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from k6d.execution.summary import Parts

MOST_TRIES = 20
MAX_OUTPUT_CHARS = 32 * 1024 * 1024
_LOGGED = re.compile(r'\{(?=")(?=.*"level":)(?=.*"msg":)')
# The export is indented by four spaces and has two members. What a script's handleSummary may
# print has more.
_BEGINS = re.compile(r'\{\n {4}"(?:root_group|metrics)":')
_MEMBERS = {"root_group", "metrics"}


class PodLog:
    """Reads the log of one runner line by line; `hide` removes secrets from what is cut."""

    def __init__(self, limit: int, *, hide: Callable[[str], str] = str) -> None:
        self.log = LogBuffer(limit, hide=hide)
        self.output = LogBuffer(limit, hide=hide)
        self.parts: Parts | None = None
        self._printed: list[str] = []
        self._chars = 0

    def feed(self, line: str) -> None:
        """Read a line without its line end."""
        if _LOGGED.match(line) or line.startswith('time="'):
            self.log.feed(line.encode() + b"\n")
            return
        # What was printed may lack a line end: then k6's log goes on in the same line.
        if at := _logged_at(line):
            self.log.feed(line[at:].encode() + b"\n")
            line = line[:at]
        if self._chars < MAX_OUTPUT_CHARS:
            self._printed.append(line)
            self._chars += len(line) + 1

    def close(self) -> None:
        """Find the summary in what was printed; the rest is the output."""
        text = "\n".join(self._printed)
        self._printed = []
        for begin in _BEGINS.finditer(text):
            end = _end(text, begin.start())
            try:
                document = orjson.loads(text[begin.start() : end])
                if document.keys() <= _MEMBERS:
                    self.parts = summary.read_document(document)
                    text = text[: begin.start()] + text[end:]
                    break
            except (orjson.JSONDecodeError, K6dError):
                continue
        self.output.feed(text.strip("\n").encode())
        self.output.close()
        self.log.close()


def _logged_at(line: str) -> int:
    """Return where a line of k6's log begins behind other text; 0 if none does."""
    if not (line.endswith("}") and '"level":' in line):
        return 0
    at = line.find('{"')
    for _ in range(MOST_TRIES):
        if at < 0:
            break
        with contextlib.suppress(orjson.JSONDecodeError):
            if {"level", "msg", "time"} <= orjson.loads(line[at:]).keys():
                return at
        at = line.find('{"', at + 1)
    return 0


def _end(text: str, start: int) -> int:
    """Return the end of an indented JSON object: after the first brace that is not indented."""
    end = text.find("\n}", start)
    return len(text) if end < 0 else end + 2
