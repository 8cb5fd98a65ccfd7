"""What systemd hears, over a real datagram socket."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from k6d.daemon.service import Service
from k6d.daemon.systemd import notify, watchdog_interval_s
from k6d.settings import load
from k6d.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from k6d.settings import Settings


@pytest.fixture
def systemd() -> Iterator[socket.socket]:
    """The end of the socket that systemd would have."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(10)
        yield end


def test_fields_come_as_lines_of_one_datagram(
    systemd: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A status with an end of line in it stays one field."""
    systemd.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    notify(READY="1", STATUS="running a\nMAINPID=1.js")
    assert systemd.recv(1000) == b"READY=1\nSTATUS=running a MAINPID=1.js"


def test_an_abstract_socket_works_too(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd writes its leading zero byte as @."""
    name = f"k6d-test-{os.getpid()}"
    systemd.bind(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    notify(WATCHDOG="1")
    assert systemd.recv(1000) == b"WATCHDOG=1"


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by hand there is nobody to tell."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify(READY="1")


def test_a_socket_that_is_gone_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What systemd doesn't take must not end a daemon."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify(READY="1")


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        (None, None, None),
        ("30000000", None, 15.0),
        ("30000000", "own", 15.0),
        ("30000000", "1", None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_must(
    usec: str | None, pid: str | None, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only by the process that it watches."""
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, str(os.getpid()) if value == "own" else value)
    assert watchdog_interval_s() == expected


async def test_the_status_says_what_runs_and_what_holds(
    systemd: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it runs, and at once when maintenance begins; nothing is said twice."""
    systemd.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    config = tmp_path / "k6d.toml"
    config.touch()
    here = {"data": tmp_path / "data", "scripts": tmp_path, "api__enabled": False}
    (tmp_path / "a.js").write_text("import 'k6'; export default function () {}\n")
    told: list[bytes] = []

    async def until(status: bytes) -> None:
        while b"STATUS=" + status not in told:
            told.append(await asyncio.to_thread(systemd.recv, 1000))

    settings = load(config, **here)
    service = Service(settings, Store(settings.data), reread=lambda: load(config, **here))
    serving = asyncio.create_task(service.run())
    await until(b"running a.js, 0 jobs pending")
    await until(b"idle, 0 jobs pending")
    config.write_text("[schedule]\nmaintenance = ['* * * * * for 1h']\n")
    os.kill(os.getpid(), signal.SIGHUP)
    while not any(line.startswith(b"STATUS=maintenance") for line in told):
        told.append(await asyncio.to_thread(systemd.recv, 1000))
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
    assert all(one != following for one, following in itertools.pairwise(told))


async def test_every_reload_has_an_end(
    systemd: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that a mistake of k6d's own cuts off, too: systemd would wait for it."""
    systemd.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    (tmp_path / "k6d.toml").touch()
    settings = load(tmp_path / "k6d.toml", data=tmp_path / "data", api__enabled=False)

    def reread() -> Settings:
        raise RuntimeError("a mistake of k6d's own")

    async def heard(text: bytes) -> None:
        while text not in await asyncio.to_thread(systemd.recv, 1000):
            pass

    serving = asyncio.create_task(Service(settings, Store(settings.data), reread=reread).run())
    await heard(b"READY=1")
    os.kill(os.getpid(), signal.SIGHUP)
    await heard(b"RELOADING=1")
    await heard(b"READY=1")
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
