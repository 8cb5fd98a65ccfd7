"""Exit codes of k6 and what was measured, as outcomes."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING

import pytest

from k6d.core.measurements import Metrics, Summary
from k6d.core.model import Outcome
from k6d.execution.local.k6 import Ended
from k6d.execution.outcome import classify, measured, one_line
from support.binaries import BINARIES, bare_run
from support.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEASURED = Summary(metrics=Metrics(total_requests=7, iterations=7))
EMPTY = Summary(metrics=Metrics(total_requests=0, iterations=7))
# What k6 reports of a run that did nothing but iterate.
IDLE = {
    "iterations": {"count": 7, "rate": 1},
    "iteration_duration": {"avg": 0.1, "count": 7},
    "data_sent": {"count": 0, "rate": 0},
    "http_req_duration": {"avg": 0, "count": 0},
    "vus": {"value": 1, "min": 1, "max": 1},
}


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        (0, Outcome.COMPLETED, None),
        (99, Outcome.COMPLETED, None),
        (110, Outcome.COMPLETED, "k6 says why"),
        (97, Outcome.SCRIPT_ERROR, "k6 says why"),
        (98, Outcome.SCRIPT_ERROR, "k6 says why"),
        (100, Outcome.SCRIPT_ERROR, "setup() took too long: k6 says why"),
        (101, Outcome.SCRIPT_ERROR, "teardown() took too long: k6 says why"),
        (102, Outcome.SCRIPT_ERROR, "the test took too long: k6 says why"),
        (103, Outcome.ABORTED, "k6 was stopped by somebody else before the end"),
        (104, Outcome.SCRIPT_ERROR, "k6 says why"),
        (105, Outcome.ABORTED, "k6 was stopped by somebody else before the end"),
        (107, Outcome.SCRIPT_ERROR, "k6 says why"),
        (108, Outcome.ABORTED, "the script aborted its run: k6 says why"),
        (109, Outcome.SCRIPT_ERROR, "k6 says why"),
        (2, Outcome.SCRIPT_ERROR, "k6 says why"),
        (-9, Outcome.ABORTED, "k6 was killed by signal 9; was the machine out of memory?"),
    ],
)
def test_every_exit_code_has_an_outcome(code: int, outcome: Outcome, reason: str | None) -> None:
    """Codes after which the summary is a measurement complete the run; the others say why not."""
    ended = Ended(exit_code=code, elapsed_s=1, errors=["k6 says\n\twhy", "and more"])
    assert classify(ended, MEASURED) == (outcome, reason)


@pytest.mark.parametrize("code", [0, 99, 110])
def test_without_a_sample_nothing_was_measured(code: int) -> None:
    """Exit 0 with nothing measured is no pass; the first exception is the likely reason."""
    threw = "Error: boom\n\tat file:///s/a.js:1:2"
    ended = Ended(exit_code=code, elapsed_s=1, exceptions=3, first_exception=threw)
    assert classify(ended, EMPTY) == (Outcome.NO_DATA, "Error: boom at /s/a.js:1:2")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "GoError: no user\n\tat go.k6.io/k6/internal/js/modules/k6.(*K6).Fail-fm (native)\n"
            "\tat default (file:///s/a.js:3:32(4))\n",
            "fail(): no user at default (/s/a.js:3:32(4))",
        ),
        (
            "GoError: no such file\n\tat go.k6.io/k6/js.(*I).Open-fm (native)\n"
            "\tat file:///s/a.js:3:32(4)\n",
            "no such file at /s/a.js:3:32(4)",
        ),
        ("Uncaught (in promise) Error: boom\n", "Uncaught (in promise) Error: boom"),
    ],
)
def test_frames_of_k6s_own_code_are_left_out(said: str, words: str) -> None:
    """They tell a user nothing."""
    assert one_line(said) == words


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("test aborted: enough at default (file:///s/a.js:2:66(14))", "enough at default (/s/a.js"),
        ("test aborted at default (file:///s/a.js:2:97(18))", "at default (/s/a.js:2:97(18))"),
        ("test aborted: setup says no", "setup says no"),
    ],
)
def test_a_script_that_aborts_its_run_is_quoted(said: str, words: str) -> None:
    """Its reason, in its own words."""
    ended = Ended(exit_code=108, elapsed_s=1, errors=[said])
    outcome, error = classify(ended, MEASURED)
    assert outcome is Outcome.ABORTED
    assert (error or "").startswith(f"the script aborted its run: {words}")


def test_a_browser_that_cannot_start_says_why() -> None:
    """The words of Chromium and k6 0.57 to 2.2 as root; that a process ended says nothing."""
    ended = "process with PID 26507 unexpectedly ended: exit status 1"
    why = (
        "error building browser on IterStart: launching browser: Running as root without "
        "--no-sandbox is not supported. See https://crbug.com/638180."
    )
    at = " at default (file:///s/a.js:3:16(0))"
    for errors in ([ended, why + at], [why + at, ended]):
        for code in (0, 108):
            outcome, error = classify(Ended(exit_code=code, elapsed_s=1, errors=errors), EMPTY)
            assert outcome is Outcome.NO_DATA
            assert (error or "").startswith("the browser could not start: Running as root without")
        aborted, error = classify(Ended(exit_code=108, elapsed_s=1, errors=errors), MEASURED)
        assert aborted is Outcome.ABORTED
        assert (error or "").startswith("the browser could not start: Running as root without")
    alone = Ended(exit_code=107, elapsed_s=1, errors=[ended])
    assert classify(alone, EMPTY) == (Outcome.SCRIPT_ERROR, ended)


@pytest.mark.parametrize("binary", BINARIES.values(), ids=BINARIES)
async def test_chromium_refuses_root_and_k6_says_so(tmp_path: Path, binary: Path) -> None:
    """The real one: Chromium does not run as root without --no-sandbox."""
    program("chromium")
    if os.geteuid() != 0:
        pytest.skip("for want of root")
    script = tmp_path / "s.js"
    script.write_text("""import { browser } from 'k6/browser';
const ui = { executor: 'shared-iterations', options: { browser: { type: 'chromium' } } };
export const options = { scenarios: { ui } };
export default async function () { const page = await browser.newPage(); await page.close(); }
""")
    bare = await bare_run(script, binary=binary)
    outcome, error = classify(bare.ended, bare.summary)
    assert outcome is Outcome.NO_DATA
    # k6 may start the iteration before it has the reason, or lose what Chromium said of it.
    said = [
        "Running as root without --no-sandbox",
        "shutdown unexpectedly before establishing a connection",
        "browser not found in registry",
    ]
    assert any(words in (error or "") for words in said), error


def test_who_stopped_it_matters_more_than_the_code() -> None:
    """A deadline and a stop of ours come first, whatever the code."""
    late = Ended(exit_code=105, elapsed_s=1, timed_out=True)
    stopped = Ended(exit_code=105, elapsed_s=1, stopped=True)
    assert classify(late, EMPTY)[0] is Outcome.TIMED_OUT
    assert classify(stopped, MEASURED) == (Outcome.ABORTED, None)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, False),
        ({"my_trend": {"avg": 0, "count": 0}}, False),
        ({"my_trend": {"avg": 3, "count": 1}}, True),
        ({"my_gauge": {"value": 5, "min": 5, "max": 5}}, True),
        ({"my_rate": {"passes": 0, "fails": 2, "value": 0}}, True),
        ({"grpc_req_duration": {"avg": 3, "count": 1}}, True),
        ({"ws_sessions": {"count": 2, "rate": 1}}, True),
        ({"my_gauge": {"value": 0, "min": 0, "max": 0}}, False),
        ({"my_trend": {"avg": 0, "count": 1}}, True),
    ],
)
def test_a_sample_of_any_metric_is_a_measurement(
    more: dict[str, dict[str, float]], expected: bool
) -> None:
    """A script that speaks gRPC or keeps its own metrics measures without an HTTP request."""
    summary = Summary(metrics=Metrics(total_requests=0), k6_metrics=IDLE | more)
    assert measured(summary) is expected


@pytest.mark.parametrize("binary", BINARIES.values(), ids=BINARIES)
async def test_thresholds_are_no_measurement(tmp_path: Path, binary: Path) -> None:
    """k6 lists what a threshold names, with tags or without, though nothing was sampled for it."""
    script = tmp_path / "s.js"
    script.write_text("""import { group } from 'k6';
import { Counter, Gauge, Rate, Trend } from 'k6/metrics';
for (const [kind, name] of [[Counter, 'sold'], [Gauge, 'stock'], [Rate, 'paid'], [Trend, 'wait']])
  new kind(name);
export const options = { thresholds: {
  sold: ['count<4'], stock: ['value<5'], paid: ['rate<1'], 'wait{name:x}': ['p(95)<5'],
  'http_req_duration{group:::x}': ['p(95)<500'], 'http_reqs{name:x}': ['count>=0'],
  'iteration_duration{scenario:default}': ['p(95)<1000'], 'checks{check:x}': ['rate>0.5'],
  'iterations{scenario:default}': ['count>0'], 'group_duration{group:::x}': ['avg<1000'],
} };
export default () => group('x', () => {});
""")
    bare = await bare_run(script, binary=binary)
    assert bare.summary.k6_metrics["iterations{scenario:default}"]["count"] == 1
    assert bare.summary.k6_metrics["stock"] == {"value": 0, "min": 0, "max": 0}
    assert classify(bare.ended, bare.summary) == (Outcome.NO_DATA, None)


def test_a_check_is_a_measurement() -> None:
    """Checks alone count, passed or failed."""
    assert measured(Summary(metrics=Metrics(checks_failed=1)))
    assert measured(Summary(metrics=Metrics(checks_passed=1)))


class _WebSocket(StreamRequestHandler):
    """Agrees to speak WebSocket (RFC 6455, 4.2.2) and waits for the end."""

    def handle(self) -> None:
        headers = dict(
            line.split(b": ", 1) for line in iter(self.rfile.readline, b"\r\n") if b": " in line
        )
        key = headers[b"Sec-WebSocket-Key"].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key, usedforsecurity=False).digest())
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.rfile.read(1)


@pytest.fixture
def websocket() -> Iterator[str]:
    """The address of a target that speaks WebSocket."""
    with ThreadingTCPServer(("127.0.0.1", 0), _WebSocket) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"ws://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


CONNECT = {
    "k6/ws": "import ws from 'k6/ws'; const go = (url) => ws.connect(url, {}, (s) => s.close());",
    "k6/experimental/websockets": """
import { WebSocket } from 'k6/experimental/websockets';
const go = (url) => { const s = new WebSocket(url); s.onopen = () => s.close(); };""",
}


@pytest.mark.parametrize("binary", BINARIES.values(), ids=BINARIES)
@pytest.mark.parametrize("module", CONNECT)
async def test_a_websocket_is_measured_once_somebody_answers(
    tmp_path: Path, websocket: str, module: str, binary: Path
) -> None:
    """k6 records a session for each attempt, also where every connection is refused."""
    script = tmp_path / "s.js"
    for url, outcome in (
        (websocket, (Outcome.COMPLETED, None)),
        ("ws://127.0.0.1:1/", (Outcome.NO_DATA, "nobody answered, not a byte came back")),
    ):
        script.write_text(f"{CONNECT[module]} export default () => {{ go('{url}'); }}")
        bare = await bare_run(script, binary=binary)
        assert bare.summary.k6_metrics["ws_sessions"]["count"] == 1
        assert classify(bare.ended, bare.summary) == outcome


@pytest.mark.parametrize("binary", BINARIES.values(), ids=BINARIES)
async def test_grpc_that_reaches_nobody_is_no_data(tmp_path: Path, binary: Path) -> None:
    """Also where the script catches what `connect` throws."""
    (tmp_path / "s.proto").write_text(
        'syntax = "proto3"; service S { rpc R (M) returns (M) {} } message M {}'
    )
    script = tmp_path / "s.js"
    script.write_text("""import grpc from 'k6/net/grpc';
const client = new grpc.Client();
client.load(['.'], 's.proto');
export default () => { try { client.connect('127.0.0.1:1', { plaintext: true }); } catch (e) {} };
""")
    bare = await bare_run(script, binary=binary)
    assert classify(bare.ended, bare.summary) == (Outcome.NO_DATA, None)
