"""What is kept of a log: head and tail within the bound, first errors, whatever comes in."""

from __future__ import annotations

import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k6d.execution.log_buffer import MAX_LINE_BYTES, LogBuffer, readable


def _line(message: str, *, level: str = "info", **more: str) -> bytes:
    record = {"level": level, "msg": message, "time": "2026-11-22T12:00:01Z", **more}
    return orjson.dumps(record) + b"\n"


def _kept(data: bytes, *, limit: int = 4096, chunk: int = 65536) -> LogBuffer:
    log = LogBuffer(limit)
    for start in range(0, len(data), chunk):
        log.feed(data[start : start + chunk])
    log.close()
    return log


def test_a_short_log_is_kept_whole_and_reads_well() -> None:
    """Nothing is cut, k6's JSON becomes plain lines, and other lines stay as they are."""
    data = _line("ready") + _line("hi", source="console") + b"plain\n" + _line("no", error="why")
    kept = _kept(data).log()
    assert kept.head.splitlines() == [
        "12:00:01 info ready",
        "12:00:01 info console hi",
        "plain",
        "12:00:01 info no: why",
    ]
    assert (kept.tail, kept.cut_lines, kept.cut_bytes) == ("", 0, 0)


def test_of_a_hundred_thousand_lines_head_and_tail_are_kept_and_the_rest_is_counted() -> None:
    """The bound holds, the first and last lines are there, and every line is kept or counted."""
    total = 100_000
    kept = _kept(b"".join(b"line %d\n" % i for i in range(total))).log()
    head, tail = kept.head.splitlines(), kept.tail.splitlines()
    assert (head[0], head[1], tail[-1]) == ("line 0", "line 1", f"line {total - 1}")
    assert len(head) + len(tail) + kept.cut_lines == total
    assert len(kept.head) + len(kept.tail) <= 4096
    whole = sum(len(f"line {i}\n") for i in range(total))
    assert len(kept.head) + len(kept.tail) + 2 + kept.cut_bytes == whole


def test_one_huge_line_is_shortened_and_says_so() -> None:
    """A console.log of a whole response keeps its head and its size, and pushes nothing out."""
    data = _line("before") + _line("x" * 3_000_000, source="console") + _line("after")
    kept = _kept(data, limit=16384).log()
    first, huge, last = kept.head.splitlines()
    assert (first, last) == ("12:00:01 info before", "12:00:01 info after")
    assert "xxxx" in huge
    assert huge.endswith(" … (over 1 MB)")
    assert len(kept.head) < 4096


@pytest.mark.parametrize("ending", ["x", "\\", '"', "é", "\n", '\x01","level":"info"'])
def test_an_exception_of_megabytes_counts(ending: str) -> None:
    """Its fields are behind its message, as k6 writes them; `throw new Error(response.body)`."""
    message = "Error: " + 1_100_000 * ending
    record = {"executor": "shared-iterations", "level": "error", "msg": message}
    data = orjson.dumps(record | {"source": "stacktrace", "time": "2026-11-20T12:00:01Z"})
    kept = _kept(data + b"\n" + data + b"\n", limit=16384)
    assert kept.exceptions == 2
    assert (kept.first_exception or "").startswith(f"Error: {ending}")
    assert len(kept.first_exception or "") < 4096
    setup = _kept(data.replace(b'"executor":"shared-iterations",', b"") + b"\n", limit=16384)
    assert [error[:7] for error in setup.errors] == ["Error: "]


def test_a_long_json_line_still_reads() -> None:
    """A line longer than the bound keeps its level and time."""
    kept = _kept(_line("y" * 5000, level="warning")).log()
    assert kept.head.startswith("12:00:01 warning yyy")
    assert kept.head.endswith(" bytes)")
    assert len(kept.head) <= MAX_LINE_BYTES


def test_a_last_line_without_an_end_counts() -> None:
    """What a killed k6 had written is not lost."""
    assert _kept(b"one\ntwo").log().head == "one\ntwo"


def test_nothing_is_an_empty_log() -> None:
    """No bytes, no lines."""
    assert _kept(b"").log().head == ""


def test_errors_are_k6s_own_and_exceptions_are_counted() -> None:
    """The first and the last; no console, not our receiver's absence; what was thrown, counted."""
    data = (
        _line("script says", level="error", source="console")
        + _line("no receiver", level="error", output="Prometheus remote write")
        + b"".join(
            _line(
                f"boom {i}\n\tat f",
                level="error",
                source="stacktrace",
                executor="per-vu-iterations",
            )
            for i in range(9)
        )
        + b"".join(_line(f"k6 says {i}", level="error") for i in range(9))
        + _line("Request Failed", level="warning", error="refused")
    )
    log = _kept(data)
    assert log.errors == [f"k6 says {i}" for i in (0, 1, 2, 3, 8)]
    assert (log.exceptions, log.first_exception) == (9, "boom 0\n\tat f")


IN_VU = {"executor": "shared-iterations", "scenario": "default"}


@pytest.mark.parametrize(
    ("message", "more", "exceptions"),
    [
        ("Uncaught (in promise) Error: boom\n\tat go (file:///s/a.js:7:60(12))\n", IN_VU, 1),
        ("Uncaught (in promise) Error: boom", IN_VU | {"source": "console"}, 0),
        ("Error: Uncaught (in promise)", IN_VU, 0),
    ],
)
def test_an_exception_of_asynchronous_code_counts(
    message: str, more: dict[str, str], exceptions: int
) -> None:
    """k6 doesn't mark it as one; what the script itself logs is none."""
    kept = _kept(_line(message, level="error", **more))
    assert (kept.exceptions, bool(kept.first_exception)) == (exceptions, exceptions > 0)


@pytest.mark.parametrize("line", [b'{"level":"error"', b'{"level":"error"}', b"{}", b"\xff\xfe{"])
def test_what_only_looks_like_json_is_kept_as_it_is(line: bytes) -> None:
    """A truncated or foreign line is no error of ours."""
    assert readable(line) == line.decode(errors="replace")


@given(
    lines=st.lists(st.binary(max_size=300).map(lambda line: line.replace(b"\n", b" "))),
    limit=st.integers(16, 3000),
    chunk=st.integers(1, 400),
)
def test_whatever_comes_in_whatever_pieces_every_line_is_kept_or_counted(
    lines: list[bytes], limit: int, chunk: int
) -> None:
    """Bytes of any kind: the same log however they are cut, within the bound but for one line."""
    data = b"".join(line + b"\n" for line in lines)
    kept = _kept(data, limit=limit, chunk=chunk).log()
    assert kept == _kept(data, limit=limit).log()
    assert kept.cut_lines <= len(lines)
    if not kept.cut_lines:
        assert kept.head == "\n".join(readable(line) for line in lines)


def test_random_bytes_stay_within_their_bound() -> None:
    """Megabytes without an end of line are taken in pieces."""
    noise = random.Random(1).randbytes(3_000_000).replace(b"\n", b" ")
    log = LogBuffer(4096)
    for start in range(0, len(noise), 65536):
        log.feed(noise[start : start + 65536])
    log.close()
    kept = log.log()
    # Undecodable bytes become one replacement character each.
    assert len(kept.head) + len(kept.tail) <= 4 * MAX_LINE_BYTES


@pytest.mark.parametrize("more", [{}, {"source": "stacktrace"}])
def test_an_exception_outside_of_iterations_is_k6s_own_error(more: dict[str, str]) -> None:
    """Init code, setup, teardown, handleSummary: k6 2.1 and newer mark it as a stack trace."""
    iteration = {"source": "stacktrace", "executor": "per-vu-iterations", "scenario": "default"}
    data = _line("Error: vu", level="error", hint="script exception", **iteration)
    log = _kept(data + _line("Error: tear", level="error", hint="script exception", **more))
    assert (log.errors, log.exceptions, log.first_exception) == (["Error: tear"], 1, "Error: vu")


def test_what_k6_says_of_the_flag_that_k6d_sets_is_not_kept() -> None:
    """Enabled, by default, unknown, or by its old name; the user's own flags stay."""
    ours = {"feature": "native-histograms"}
    data = (
        _line("Legacy env var detected", level="warning", env="K6_PROMETHEUS_RW_X", **ours)
        + _line("Experimental feature enabled", **ours)
        + _line("Unknown feature flag", level="error", **ours)
        + _line("Unknown feature flag", level="error", feature="frobnicate")
        + _line('{"feature":"native-histograms"}', source="console")
    )
    log = _kept(data)
    assert log.log().head.splitlines() == [
        "12:00:01 error Unknown feature flag",
        '12:00:01 info console {"feature":"native-histograms"}',
    ]
    assert log.errors == ["Unknown feature flag"]
