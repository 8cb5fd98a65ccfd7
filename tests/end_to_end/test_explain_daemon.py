"""The daemon itself with a key: what it loads and weighs, what a kill during a request leaves."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.daemon import Daemon, Mailbox, hitting
from support.gemini_server import KEY, MODEL, TRICKLE, answer, gemini
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k6d.core.model import Run
    from support.gemini_server import Gemini


@pytest.fixture
def target() -> Iterator[Target]:
    """A target that fails, so that every run is anomalous."""
    with Target() as target:
        target.failing = True
        yield target


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that is not started yet."""
    daemon = Daemon(tmp_path / "home")
    yield daemon
    daemon.close()


def _asking(server: Gemini, **more: str) -> dict[str, str]:
    ours = {"GEMINI_API_KEY": KEY, "K6D_AI__ENDPOINT": server.url, "AI_MODEL": MODEL}
    return ours | {"AI_TEMPERATURE": "0.25", "K6D_AI__TIMEOUT": "60"} | more


def _proc(daemon: Daemon, name: str) -> str:
    assert daemon.process
    return Path(f"/proc/{daemon.process.pid}/{name}").read_text()


def _rss_kb(daemon: Daemon) -> int:
    return int(_proc(daemon, "status").split("VmRSS:")[1].split()[0])


def _explained(daemon: Daemon) -> Run:
    """The run of shop.js when it says what came of its explanation."""
    daemon.until(lambda: daemon.run("shop.js").explanation, "its explanation")
    return daemon.run("shop.js")


def test_the_daemon_loads_no_sdk_and_weighs_the_same(
    daemon: Daemon, target: Target, tmp_path: Path
) -> None:
    """After an explained run nothing of an SDK is mapped, and the memory is that without a key."""
    other = Daemon(tmp_path / "other")
    try:
        with gemini(answer()) as server:
            daemon.forks = other.forks = False
            daemon.start(**_asking(server))
            other.start()
            for each in (daemon, other):
                each.write("shop.js", hitting(target.url))
            explained, plain = map(_explained, (daemon, other))
        assert explained.explanation
        assert explained.explanation.source == explained.anomaly_analysis.source == "both"
        assert plain.anomaly_analysis.source == "rules"
        assert _rss_kb(daemon) < _rss_kb(other) + 8 * 1024
        maps = _proc(daemon, "maps")
        assert "pydantic" in maps
        assert not any(name in maps for name in ("grpc", "google/_upb", "cryptography"))
    finally:
        other.close()


def test_killed_while_it_explains(daemon: Daemon, target: Target) -> None:
    """A kill -9 during a request: told once, with the reason on record, and no helper is left."""
    box = Mailbox()
    with gemini(TRICKLE) as server, box:
        told = {"K6D_NOTIFY__URLS": f"json://{box.address}/alerts"}
        daemon.start(**_asking(server, K6D_AI__TIMEOUT="5"), **told)
        daemon.write("shop.js", hitting(target.url))
        daemon.until(server.asked.is_set, "the request")
        daemon.end(signal.SIGKILL)
        assert box.letters.get("/alerts", []) == []
        daemon.start(**_asking(server), **told)
        daemon.until(lambda: box.letters.get("/alerts", []), "the alert")
        daemon.barrier()
    assert len(box.letters.get("/alerts", [])) == 1
    explanation = daemon.run("shop.js").explanation
    assert explanation
    assert "ended before there was an answer" in (explanation.unavailable or "")
    assert len(daemon.runs("shop.js")) == 1
