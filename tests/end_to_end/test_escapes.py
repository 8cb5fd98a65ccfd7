"""Names and texts from anybody drive no terminal and turn no direction of text."""

from __future__ import annotations

import logging

import orjson
import pytest

from k6d.cli.common import say, terminal
from k6d.core import logs
from k6d.core.numbers import escaped
from k6d.web.reports.markdown import write_markdown
from support.records import make_anomaly, make_run

HOSTILE = "a\x1b[31m\u202egnp\u2066\x9b\r\x07.js"
SPELLED = r"a\x1b[31m\u202egnp\u2066\x9b\r\x07.js"


def test_what_drives_a_terminal_is_spelled_out() -> None:
    """Controls, bidirectional marks and surrogates; words of any language stay."""
    assert escaped(HOSTILE) == SPELLED
    assert escaped("\udcff") == r"\udcff"
    for text in ("plain", "two\nlines\tand a tab", "Größe 12\u202fms", "日本語 ✓ é"):
        assert escaped(text) == text


def test_the_terminal_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    """In plain lines and in what rich prints."""
    say(f"muted: {HOSTILE}")
    terminal().print(HOSTILE, markup=False)
    shown = capsys.readouterr().out
    assert SPELLED in shown
    assert not set(shown) & set("\x1b\u202e\u2066\x9b\r\x07")


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_log_shows_it(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As text and as JSON."""
    try:
        logs.set_up("info", form=form)
        logging.getLogger("k6d.test").info("%s is gone", HOSTILE)
        shown = capsys.readouterr().err
    finally:
        logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    message = orjson.loads(shown)["message"] if form == "json" else shown
    assert f"{SPELLED} is gone" in message
    assert not set(message) & set("\x1b\u202e\u2066\x9b\r\x07")


def test_markdown_shows_it() -> None:
    """A finding about such a name, in a summary for a pull request."""
    run = make_run(script=HOSTILE, anomaly_analysis=make_anomaly(f"{HOSTILE} is slow"))
    shown = write_markdown(run)
    assert "u202e" in shown
    assert not set(shown) & set("\x1b\u202e\u2066\x9b\r\x07")
