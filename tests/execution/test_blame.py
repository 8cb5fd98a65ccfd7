"""Who kept a run from being measured: k6's words, and the witness."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from k6d.core.measurements import Breakdown, Metrics, Summary
from k6d.core.model import Execution, Outcome, Result
from k6d.execution import archive
from k6d.execution.blame import Witness, outcome_of_refusal, was_offline, without_own_trouble
from k6d.execution.local import discovery, variables
from support.binaries import BINARIES
from support.module_server import ModuleServer
from support.receivers import closed_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OFFLINE = "dial: unknown errno 101 error with msg `network is unreachable`"
URL = "https://modules.example/x.js"
REFUSAL = (
    f'The moduleSpecifier "{URL}" couldn\'t be retrieved from the resolved url "{URL}". '
    'Error : "%s"'
)


@pytest.mark.parametrize(
    ("why", "outcome"),
    [
        (f"wrong status code (503) for: {URL}", Outcome.MODULE_SERVER),
        (f"wrong status code (500) for: {URL}", Outcome.MODULE_SERVER),
        (f"wrong status code (429) for: {URL}", Outcome.MODULE_SERVER),
        (f"wrong status code (403) for: {URL}", Outcome.SCRIPT_ERROR),
        (f"not found: {URL}", Outcome.SCRIPT_ERROR),
        (
            f'Get "{URL}": dial tcp 127.0.0.1:9: connect: connection refused',
            Outcome.MODULE_SERVER,
        ),
        (f'Get "{URL}": dial tcp: lookup modules.example: no such host', Outcome.MODULE_SERVER),
        (f'Get "{URL}": context deadline exceeded', Outcome.MODULE_SERVER),
        (
            f'Get "{URL}": dial tcp: lookup modules.example on 10.0.0.1:53: '
            "dial udp 10.0.0.1:53: connect: network is unreachable",
            Outcome.NO_NETWORK,
        ),
    ],
)
def test_a_module_that_cannot_be_had_now_is_no_mistake_of_the_script(
    why: str, outcome: Outcome
) -> None:
    """The words are those of k6 0.57, 1.1, 1.7 and 2.2."""
    assert outcome_of_refusal(REFUSAL % why) is outcome


def test_other_words_are_the_scripts() -> None:
    """Also when a script itself speaks of networks."""
    for said in ("SyntaxError: Unexpected token", "Error: network is unreachable at s.js:1:7"):
        assert outcome_of_refusal(said) is Outcome.SCRIPT_ERROR


class _ByPath(BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    def do_GET(self) -> None:
        """`/503.js` is answered with 503."""
        self.send_response(int(self.path.strip("/").partition(".")[0]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleServer]:
    """An HTTPS server that k6 trusts."""
    with ModuleServer(tmp_path_factory.mktemp("certificate")) as server:
        server.modules["/503.js"] = 503
        yield server


async def _refusal(
    folder: Path,
    text: str,
    binary: Path,
    module_server: ModuleServer,
    *,
    timeout_s: float | None = None,
) -> str:
    """Why this k6 refuses a script with this text."""
    script = folder / "s.js"
    script.write_text(text)
    looked = await archive.look(
        script,
        name="s.js",
        k6=await discovery.find(binary),
        workdir=folder,
        env=variables.environment(module_server.trust),
        timeout_s=timeout_s,
    )
    return looked.error or ""


@pytest.mark.parametrize("binary", BINARIES.values(), ids=BINARIES)
async def test_a_real_module_server(
    tmp_path: Path, binary: Path, module_server: ModuleServer
) -> None:
    """503 and a refused connection are the server's, 404 is the script's."""
    url = module_server.url
    expected = {
        f"{url}/503.js": Outcome.MODULE_SERVER,
        f"https://127.0.0.1:{closed_port()}/x.js": Outcome.MODULE_SERVER,
        f"{url}/404.js": Outcome.SCRIPT_ERROR,
    }
    for module, outcome in expected.items():
        text = f"import x from '{module}';\nexport default () => x;\n"
        error = await _refusal(tmp_path, text, binary, module_server)
        assert outcome_of_refusal(error) is outcome, error


@pytest.mark.parametrize("binary", BINARIES.values(), ids=BINARIES)
async def test_a_module_server_that_never_answers(
    tmp_path: Path, binary: Path, module_server: ModuleServer
) -> None:
    """It takes the connection and is silent: unavailable. A loop in the init code is the script's.

    k6 itself gives up after two minutes, which k6d does not wait for.
    """
    module_server.modules["/silent.js"] = None
    host = module_server.url.removeprefix("https://")
    (tmp_path / "lib.js").write_text(f"export {{ x }} from 'https://{host}/silent.js';\n")
    for top, outcome in (("", Outcome.MODULE_SERVER), ("while (true) {}", Outcome.SCRIPT_ERROR)):
        imported = "./lib.js" if not top else "k6"
        text = f"import * as all from '{imported}';\n{top}\nexport default () => all;\n"
        error = await _refusal(tmp_path, text, binary, module_server, timeout_s=1.5)
        assert outcome_of_refusal(error) is outcome, error
        assert (host in error) is (not top)
    said = "the script's init code did not end within 30 s; it waits for the module server x"
    assert outcome_of_refusal(f"Error: {said}") is Outcome.SCRIPT_ERROR


def _silent(errors: dict[str, int], *, total: int = 50, **execution: object) -> Result:
    """A run in which nothing was answered."""
    metrics = Metrics(total_requests=total, failed_requests=total, error_rate=100.0)
    return Result(
        execution=Execution(**({"outcome": Outcome.COMPLETED, "exit_code": 0} | execution)),  # type: ignore[arg-type]
        summary=Summary(metrics=metrics),
        breakdown=Breakdown(status_codes={"0": total} if total else {}, errors=errors),
    )


@pytest.mark.parametrize(
    ("errors", "outcome"),
    [
        ({OFFLINE: 50}, Outcome.NO_NETWORK),
        ({"lookup: dial udp: connect: network is unreachable": 50}, Outcome.NO_NETWORK),
        ({"dial: connection refused": 50}, Outcome.COMPLETED),
        ({"lookup: no such host": 50}, Outcome.COMPLETED),
        ({"dial: connection refused": 30, OFFLINE: 20}, Outcome.COMPLETED),
        ({}, Outcome.COMPLETED),
    ],
)
async def test_a_machine_without_network_says_nothing_of_the_target(
    errors: dict[str, int], outcome: Outcome
) -> None:
    """By the kernel's words for most of the requests."""
    judged = await without_own_trouble(_silent(errors), Witness(None))
    assert judged.execution.outcome is outcome


async def test_other_ends_without_a_network() -> None:
    """A threshold with abortOnFail, a setup() that throws, a protocol that keeps no requests."""
    cut = _silent({OFFLINE: 50}, outcome=Outcome.ABORTED, exit_code=99)
    thrown = _silent({}, total=0, outcome=Outcome.SCRIPT_ERROR, error=f"GoError: {OFFLINE}")
    nothing = _silent({}, total=0, outcome=Outcome.NO_DATA, error=f"Error: {OFFLINE}")
    for result in (cut, thrown, nothing):
        judged = await without_own_trouble(result, Witness(None))
        assert judged.execution.outcome is Outcome.NO_NETWORK
    said = _silent({}, total=0, outcome=Outcome.SCRIPT_ERROR, error=f"fail(): {OFFLINE}")
    stopped = _silent({OFFLINE: 50}, outcome=Outcome.ABORTED, exit_code=105)
    for result in (said, stopped):
        assert await without_own_trouble(result, Witness(None)) is result


async def test_a_target_that_answered_is_judged() -> None:
    """One answer among failures without a network: the network was there."""
    some = Result(
        execution=Execution(outcome=Outcome.COMPLETED, exit_code=0),
        summary=Summary(metrics=Metrics(total_requests=50, failed_requests=49)),
        breakdown=Breakdown(status_codes={"0": 49, "200": 1}, errors={OFFLINE: 49}),
    )
    assert await without_own_trouble(some, Witness(None)) is some


async def test_the_witness_decides_in_doubt() -> None:
    """DNS failures and time-outs are the target's, unless the witness cannot be reached either."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _ByPath)
    up, down = f"127.0.0.1:{server.server_port}", f"http://127.0.0.1:{closed_port()}/health"
    try:
        for words in ("lookup: no such host", "lookup: connection refused", "dial: i/o timeout"):
            unknown = _silent({words: 50})
            assert await without_own_trouble(unknown, Witness(up)) is unknown
            inconclusive = await without_own_trouble(unknown, Witness(down))
            assert inconclusive.execution.outcome is Outcome.NO_NETWORK
            assert f"the witness {down}" in (inconclusive.execution.error or "")
        refused = _silent({"dial: connection refused": 50})
        assert await without_own_trouble(refused, Witness(down)) is refused, "somebody answered"
    finally:
        server.server_close()


async def test_words_alone_do_not_prove_that_the_network_was_lost() -> None:
    """A name may be wrong, a machine may have no IPv6: the default route or the witness decides."""
    down = f"127.0.0.1:{closed_port()}"
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    up = f"127.0.0.1:{server.server_port}"
    try:
        for words in ("lookup: no such host", OFFLINE):
            assert await was_offline([words], Witness(None), route_lost=True)
            assert await was_offline([words], Witness(down), route_lost=False)
            assert not await was_offline([words], Witness(up), route_lost=False)
            assert not await was_offline([words], Witness(None), route_lost=False)
        assert not await was_offline(["dial: i/o timeout"], Witness(down), route_lost=True)
    finally:
        server.server_close()


async def test_the_witness_is_asked_once() -> None:
    """A run may have two questions, and each attempt takes seconds where nobody answers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    witness = Witness(f"127.0.0.1:{server.server_port}")
    assert not await witness.is_silent()
    server.server_close()
    assert not await witness.is_silent()
    assert not await Witness(None).is_silent()
