"""How the daemon's log looks to its reader: a file, a terminal, the journal."""

from __future__ import annotations

import os
import re
import subprocess
import sys

LOGGING = """
import logging
from k6d.core import logs
logs.set_up("info")
logging.getLogger("k6d.x").debug("not wanted")
logging.getLogger("k6d.x").info("said\\nmore")
logging.getLogger("k6d.x").error("bad")
logging.getLogger("other").info("chatter")
logging.getLogger("other").warning("other warns")
"""


def _logged(**environment: str) -> list[str]:
    made = {"PATH": os.environ["PATH"], "TZ": "UTC"} | environment
    done = subprocess.run(
        [sys.executable, "-c", LOGGING],
        env=made,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stderr.splitlines()


def _in_a_terminal(**environment: str) -> str:
    """The same with a pseudo-terminal for its standard error."""
    ours, theirs = os.openpty()
    made = {"PATH": os.environ["PATH"], "TERM": "xterm"} | environment
    try:
        command = [sys.executable, "-c", LOGGING]
        subprocess.run(command, env=made, stderr=theirs, check=True, timeout=120)
        return os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_file_gets_time_and_level_and_an_event_stays_together() -> None:
    """Ours from the level on, others' from warning on; a second line is indented."""
    said, more, bad, other = _logged()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO    said", said)
    assert more == "  more"
    assert bad.endswith(" ERROR   bad")
    assert other.endswith(" WARNING other warns")


def test_the_journal_gets_priorities_and_no_time() -> None:
    """As sd-daemon(3) wants them."""
    assert _logged(JOURNAL_STREAM="8:1") == ["<6>said", "  more", "<3>bad", "<4>other warns"]


def test_a_terminal_gets_colours_unless_it_wants_none() -> None:
    """NO_COLOR is honoured."""
    assert "\x1b[31m" in _in_a_terminal()
    assert "\x1b" not in _in_a_terminal(NO_COLOR="1")
