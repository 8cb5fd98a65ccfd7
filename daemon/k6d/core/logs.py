"""Logging of the daemon: one line for each event, on standard error and in `log_file`."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler, WatchedFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from k6d.core.errors import K6dError, reason
from k6d.core.numbers import escaped

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import TextIOWrapper

FILE_BYTES = 10 << 20
OLD_FILES = 9

# syslog(3) priorities; the journal takes them from the start of a line (sd-daemon(3)).
_PRIORITY = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}
_COLOUR = {"CRITICAL": "1;31", "ERROR": "31", "WARNING": "33", "DEBUG": "2"}


class _Formatter(logging.Formatter):
    """Text lines: with a priority and no time for the journal, with colours for a terminal."""

    def __init__(self, hide: Callable[[str], str], *, journal: bool, colour: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)-7s %(message)s")
        self.default_msec_format = ""
        self._hide = hide
        self._journal = journal
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        text = escaped(self._hide(super().format(record))).replace("\n", "\n  ")
        if self._journal:
            return f"<{_PRIORITY.get(record.levelname, 6)}>{text}"
        if self._colour and (code := _COLOUR.get(record.levelname)):
            return f"\x1b[{code}m{text}\x1b[0m"
        return text


class _Json(logging.Formatter):
    """One JSON object a line; `time` is in UTC."""

    def __init__(self, hide: Callable[[str], str]) -> None:
        super().__init__()
        self._hide = hide

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": escaped(self._hide(record.getMessage())),
        }
        if record.exc_info:
            line["exception"] = self._hide(self.formatException(record.exc_info))
        return orjson.dumps(line, default=str).decode(errors="replace")


def set_up(
    level: str,
    *,
    form: str = "text",
    file: Path | None = None,
    rotate: bool = True,
    hide: Callable[[str], str] = str,
) -> None:
    """Log k6d's own lines from `level` on and other libraries' from "warning" on.

    May be called again. `form` is "text" or "json". `file` gets the lines as well. Only one process
    may `rotate` the file; the others reopen it after each rotation. `hide` removes secrets from
    each line. K6dError when the file cannot be opened.
    """
    handler = logging.StreamHandler(sys.stderr)
    journal = "JOURNAL_STREAM" in os.environ and not sys.stderr.isatty()
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    plain = _Json(hide) if form == "json" else _Formatter(hide, journal=False, colour=False)
    shown = plain if form == "json" else _Formatter(hide, journal=journal, colour=colour)
    handler.setFormatter(shown)
    handlers: list[logging.Handler] = [handler]
    if file:
        handlers.append(_rotating(file) if rotate else WatchedFileHandler(file, encoding="utf-8"))
        handlers[-1].setFormatter(plain)
    logging.basicConfig(handlers=handlers, level=logging.WARNING, force=True)
    logging.getLogger("k6d").setLevel(level.upper())


class _Rotating(RotatingFileHandler):
    """A rotating log; only the user may write its files, only the user and the group read them."""

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).touch(mode=0o640)
        return super()._open()


def _rotating(file: Path) -> logging.Handler:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return _Rotating(
            file, maxBytes=FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8", errors="replace"
        )
    except OSError as error:
        why = reason(error)
        raise K6dError(f"cannot log into {file}: {why}; choose another log_file") from error
