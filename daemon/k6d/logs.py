"""How the daemon logs: one line an event on standard error, in the form that its reader likes."""

from __future__ import annotations

import logging
import os
import sys

# syslog(3) priorities; the journal takes them from the start of a line (sd-daemon(3)).
_PRIORITY = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}
_COLOUR = {"CRITICAL": "1;31", "ERROR": "31", "WARNING": "33", "DEBUG": "2"}


class _Formatter(logging.Formatter):
    """For the journal a priority and no time, for a terminal colours, else plain text."""

    def __init__(self, *, journal: bool, colour: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)-7s %(message)s")
        self.default_msec_format = ""
        self._journal = journal
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).replace("\n", "\n  ")
        if self._journal:
            return f"<{_PRIORITY.get(record.levelname, 6)}>{text}"
        if self._colour and (code := _COLOUR.get(record.levelname)):
            return f"\x1b[{code}m{text}\x1b[0m"
        return text


def set_up(level: str) -> None:
    """Log k6d's own lines from `level` on, other libraries' from warning on."""
    handler = logging.StreamHandler(sys.stderr)
    journal = "JOURNAL_STREAM" in os.environ and not sys.stderr.isatty()
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    handler.setFormatter(_Formatter(journal=journal, colour=colour))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("k6d").setLevel(level.upper())
