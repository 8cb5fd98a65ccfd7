"""Both SDKs against a local server that speaks the wire format and checks what it is sent."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import orjson
import pytest

from k6d.core import fork_server
from k6d.explain.answer import SCHEMA
from k6d.explain.explainer import HELPER
from k6d.explain.gemini_worker import Failure, Reply, Request, choose
from support.gemini_server import (
    ANSWER,
    BAD_KEY,
    HANG,
    KEY,
    MODEL,
    TRICKLE,
    Response,
    answer,
    blocked_prompt,
    error,
    gemini,
    quota,
)
from support.receivers import HttpReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

SDKS = ("google-generativeai", "google-genai")
PATIENCE_S = 120.0  # for a helper on a busy machine


def _request(sdk: str, endpoint: str) -> Request:
    return Request(
        sdk=sdk,
        api_key=KEY,
        endpoint=endpoint,
        model=MODEL,
        temperature=0.25,
        system="Explain.",
        data='{"metrics": {"p95_ms": 912}}',
        schema=SCHEMA,
        timeout_s=30.0,
    )


async def _ask(request: Request) -> Reply:
    """The reply of a helper process, as the daemon gets it."""
    program = (HELPER, request.sdk)
    return Reply(**await fork_server.ask(program, asdict(request), timeout_s=PATIENCE_S))


@pytest.fixture
def nobody() -> Iterator[str]:
    """A URL where nobody listens, and nobody can meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("sdk", SDKS)
async def test_a_good_answer(sdk: str) -> None:
    """One request with the right path, headers and body (the server checks); its text is given."""
    with gemini() as server:
        reply = await _ask(_request(sdk, server.url))
        assert len(server.requests) == 1
        assert server.said == '{"metrics": {"p95_ms": 912}}'
        assert server.instructions == "Explain."
    assert reply.text is not None
    assert json.loads(reply.text) == ANSWER
    assert reply == Reply(sdk=sdk, text=reply.text)


FAILURES = {
    "busy": (error(429, "RESOURCE_EXHAUSTED", "slow down", retry_after="7"), Failure.BUSY, 7.0),
    "quota": (quota("13.5s"), Failure.BUSY, 13.5),
    "500": (error(500, "INTERNAL", "oops"), Failure.SERVER, None),
    "503": (error(503, "UNAVAILABLE", "overloaded", retry_after="3"), Failure.SERVER, 3.0),
    "502 in HTML": (Response(b"<html>bad</html>", status=502), Failure.SERVER, None),
    "504": (error(504, "DEADLINE_EXCEEDED", "too slow"), Failure.TIMED_OUT, None),
    "bad key": (BAD_KEY, Failure.REFUSED, None),
    "forbidden": (error(403, "PERMISSION_DENIED", "leaked key"), Failure.REFUSED, None),
    "no such model": (error(404, "NOT_FOUND", "is not found"), Failure.REFUSED, None),
    "empty text": (answer(""), Failure.EMPTY, None),
    "no candidate": (Response(b"{}"), Failure.EMPTY, None),
    "cut off": (answer('{"summ', finish="MAX_TOKENS"), Failure.CUT_OFF, None),
    "blocked": (answer("", finish="SAFETY"), Failure.BLOCKED, None),
    "recitation": (answer("no", finish="RECITATION"), Failure.BLOCKED, None),
    "blocked prompt": (blocked_prompt(), Failure.BLOCKED, None),
    "no JSON": (Response(b"<html>a portal</html>"), Failure.MALFORMED, None),
}


# One process for all of them: importing an SDK takes a second.
ASK_ALL = """
import sys, orjson
from dataclasses import asdict
from k6d.explain.gemini_worker import Request, ask
requests = orjson.loads(sys.stdin.buffer.read())
print(orjson.dumps([asdict(ask(Request(**request))) for request in requests]).decode())
"""


def _ask_all(requests: list[Request]) -> list[Reply]:
    done = subprocess.run(
        [sys.executable, "-c", ASK_ALL],
        input=orjson.dumps([asdict(request) for request in requests]),
        capture_output=True,
        timeout=PATIENCE_S,
        check=True,
    )
    return [Reply(**reply) for reply in orjson.loads(done.stdout)]


@pytest.mark.parametrize("sdk", SDKS)
def test_failures(sdk: str) -> None:
    """Each failure is one request, has its own name, a short reason, and no key in it."""
    with gemini(*(response for response, _, _ in FAILURES.values())) as server:
        answers = _ask_all([_request(sdk, server.url)] * len(FAILURES))
        assert len(server.requests) == len(FAILURES)
    replies = dict(zip(FAILURES, answers, strict=True))
    for name, (_, failure, retry_after_s) in FAILURES.items():
        reply = replies[name]
        assert (name, reply.failure, reply.text) == (name, failure, None)
        assert (name, reply.retry_after_s) == (name, retry_after_s)
        assert len(reply.detail) <= 200
        assert "\n" not in reply.detail
        assert KEY not in reply.detail
    assert "API key not valid" in replies["bad key"].detail


@pytest.mark.parametrize("sdk", SDKS)
def test_no_redirect_is_followed(sdk: str) -> None:
    """The other host gets no request, so neither key nor data; the refusal names that host."""
    statuses = (301, 302, 303, 307, 308)
    with HttpReceiver() as other:
        elsewhere = f"http://127.0.0.1:{other.port}"
        leads = {"Location": f"{elsewhere}/v1beta/models/{MODEL}:generateContent?k=hunter2"}
        script = [Response(b"moved", status=status, headers=leads) for status in statuses]
        with gemini(*script) as server:
            replies = _ask_all([_request(sdk, server.url)] * len(statuses))
            assert len(server.requests) == len(statuses)
        assert other.got == []
    assert [reply.failure for reply in replies] == [Failure.REFUSED] * len(statuses)
    for status, reply in zip(statuses, replies, strict=True):
        assert f"HTTP {status}: it redirects to {elsewhere}," in reply.detail
        assert "hunter2" not in reply.detail


@pytest.mark.parametrize("sdk", SDKS)
def test_nobody_answers(sdk: str, nobody: str) -> None:
    """Refused, no such host (as without a network), and no answer in time: one request each."""
    with gemini(HANG) as server:
        hanging = replace(_request(sdk, server.url), timeout_s=1.0)
        elsewhere = [_request(sdk, nobody), _request(sdk, "http://gemini.invalid")]
        refused, lost, late = _ask_all([*elsewhere, hanging])
        assert len(server.requests) == 1
    assert refused.failure == lost.failure == Failure.UNREACHABLE
    assert "refused" in refused.detail.lower()
    assert late.failure == Failure.TIMED_OUT


async def test_a_helper_ends_by_its_own_alarm() -> None:
    """It ends after the request's time even if nobody is left to kill it."""
    with gemini(TRICKLE) as server, pytest.raises(TimeoutError):
        await _ask(replace(_request("google-generativeai", server.url), timeout_s=4.0))


def test_which_sdk() -> None:
    """ "auto" prefers the one that the user named; a wish is a wish; neither is no crash."""
    assert choose("auto") == "google-generativeai"
    assert [choose(sdk) for sdk in SDKS] == list(SDKS)


def test_auto_takes_the_one_that_is_installed() -> None:
    """Without google-generativeai, "auto" is google-genai; without both there is a reason."""
    program = (
        "import sys;"
        "from importlib.machinery import PathFinder as P; real = P.find_spec;"
        "gone = {gone};"
        "P.find_spec = classmethod("
        "    lambda c, n, *a: None if n in gone else real(n, *a));"
        "from k6d.explain.gemini_worker import choose; print(choose('auto'))"
    )
    for gone, expected in (
        (["google.generativeai"], "google-genai"),
        (["google.generativeai", "google.genai"], "None"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program.format(gone=gone)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected
