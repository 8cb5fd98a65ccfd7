"""A runner's log, in which k6's log, its text summary and its JSON summary are mixed."""

from __future__ import annotations

import orjson
import pytest

from k6d.execution.kubernetes.pod_log import PodLog

SUMMARY = {
    "root_group": {"name": "", "path": "", "groups": {}, "checks": {}},
    "metrics": {"http_reqs": {"count": 3, "rate": 1.5}},
}
TEXT = "\n  █ TOTAL RESULTS\n\n    { expected_response:true }...: avg=1ms\n"
LOGGED = (
    '{"level":"warning","msg":"Request Failed","error":"refused","time":"2026-11-27T07:35:30Z"}'
)
CONSOLE = (
    '{"level":"info","msg":"{\\"metrics\\": 1}","source":"console","time":"2026-11-27T07:35:30Z"}'
)


def _indented(document: object) -> str:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode().replace("  ", "    ")


def _read(text: str) -> PodLog:
    log = PodLog(4096)
    for line in text.split("\n"):
        log.feed(line)
    log.close()
    return log


@pytest.mark.parametrize(
    "text",
    [
        f"{LOGGED}\n{TEXT}\n{_indented(SUMMARY)}",
        f"{_indented(SUMMARY)}{TEXT}\n{LOGGED}",
        f"printed by handleSummary, without an end{_indented(SUMMARY)}\n{LOGGED}\n{TEXT}",
        f"{TEXT}\n{_indented(SUMMARY)}{LOGGED}\n",
        _indented(SUMMARY).replace("\n", f"\n{LOGGED}\n", 1) + TEXT,
    ],
    ids=[
        "behind",
        "before",
        "after a line without end",
        "the log in its last line",
        "with a line of the log inside",
    ],
)
def test_the_summary_is_found(text: str) -> None:
    """The JSON is taken out, wherever it stands; the rest is log and output."""
    log = _read(text)
    assert log.parts
    assert log.parts.metrics == {"http_reqs": {"count": 3, "rate": 1.5}}
    assert '"root_group"' not in log.output.log().head
    assert log.log.log().head == "07:35:30 warning Request Failed: refused"


def test_what_a_script_prints_is_no_summary() -> None:
    """A handleSummary that prints its data has more members than k6's export."""
    printed = _indented({**SUMMARY, "options": {}, "state": {}})
    log = _read(f"{CONSOLE}\n{printed}\n{_indented(SUMMARY)}")
    assert log.parts
    assert '"state"' in log.output.log().head
    assert "console" in log.log.log().head


def test_a_log_that_is_cut_off_has_no_summary() -> None:
    """A runner that was killed leaves none, or half of it."""
    assert _read(LOGGED).parts is None
    assert _read(_indented(SUMMARY)[:60]).parts is None
