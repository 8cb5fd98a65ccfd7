"""Many files at once, and a script that never rests: what is known when, and what runs how often.

`make bench ONLY=storm`; STORM_SCRIPTS says how many scripts the checkout touches.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

from idle import memory_mib
from stage import Table, verdict, wait

from support.daemon import Daemon, hitting, until
from support.serving import Served
from support.storms import away_and_back, hold, release, repository, to_and_fro
from support.target import Target

if TYPE_CHECKING:
    from pathlib import Path

FILES = 10_000
KNOWN_S, MOST_MIB = 5.0, 100
SCRIPTS = int(os.environ.get("STORM_SCRIPTS", "2000"))
CHANGES = 30


def dropped(home: Path, target: Target) -> list[str]:
    """A folder with that many scripts is moved in while the queue is held by maintenance."""
    served = Served(home)
    outside = home / "outside"
    outside.mkdir()
    for number in range(FILES):
        text = hitting(f"{target.url}/storm", iterations=1)
        (outside / f"{number}.js").write_text(f"{text}// {number}\n")
    told = StatusSocket(served)
    hold(served)
    served.start(NOTIFY_SOCKET=told.name)
    assert served.process is not None
    began, slowest_s = time.monotonic(), 0.0
    outside.rename(served.scripts / "storm")
    while told.pending() < FILES:
        asked = time.monotonic()
        assert asked < began + 12 * KNOWN_S, "not known in time"
        served.get("/api/v1/test/health")
        slowest_s = max(slowest_s, time.monotonic() - asked)
        wait(0.1)
    took_s = time.monotonic() - began
    most = memory_mib(served.process.pid)["VmHWM"]
    beside = memory_mib(*served.answering())["VmHWM"]
    served.close()
    told.close()
    return [
        f"{FILES:,} files dropped",
        f"all known after {took_s:.1f} s; the API answered within {slowest_s:.2f} s",
        f"{most:.0f}, and {beside:.0f} of the process that answers",
        f"≤ {KNOWN_S:g} s, ≤ {MOST_MIB} MiB: {verdict(took_s <= KNOWN_S and most <= MOST_MIB)}",
    ]


def checked_out(home: Path, target: Target) -> list[str]:
    """Branches to and fro, which differ in every script; then the folder away and back."""
    daemon, began = Daemon(home), time.monotonic()
    repository(daemon, target, SCRIPTS)
    hold(daemon)
    daemon.start(K6D_K6__CONCURRENCY="2")
    assert daemon.process is not None
    to_and_fro(daemon)
    release(daemon)
    while target.requests["GET /two"] < SCRIPTS:
        assert time.monotonic() < began + 5 * SCRIPTS, "not run in time"
        wait(1.0)
    daemon.barrier()
    away_and_back(daemon)
    most = memory_mib(daemon.process.pid)["VmHWM"]
    counts = daemon.counts()
    daemon.close()
    once = set(counts.values()) == {1} and len(counts) == SCRIPTS
    right = once and target.requests["GET /two"] == SCRIPTS and not target.requests["GET /one"]
    return [
        f"git checkout of {SCRIPTS:,} scripts, to and fro; their folder away and back",
        f"{sum(counts.values()):,} runs in {(time.monotonic() - began) / 60:.0f} min, "
        f"{target.requests['GET /one']} of contents that were gone",
        f"{most:.0f}",
        f"one run each: {verdict(right)}",
    ]


def restless(home: Path, target: Target) -> list[str]:
    """One script changes every second; at the end its last contents have run, and run once."""
    daemon = Daemon(home)
    daemon.start(K6D_COMPARE__CONFIRM="0")  # confirmations are runs of the same contents
    assert daemon.process is not None
    for number in range(1, CHANGES + 1):
        daemon.write("restless.js", hitting(f"{target.url}/restless-{number}", iterations=1))
        wait(1.0)
    last = f"GET /restless-{CHANGES}"
    until(lambda: target.requests[last], "the last contents to run")
    daemon.barrier()
    runs = len(daemon.runs("restless.js"))
    again = sum(count > 1 for path, count in target.requests.items() if "restless" in path)
    most = memory_mib(daemon.process.pid)["VmHWM"]
    daemon.close()
    return [
        f"a script that changes every second, {CHANGES} times",
        f"{runs} runs, {again} contents more than once",
        f"{most:.0f}",
        f"the last ones, once: {verdict(target.requests[last] == 1 and not again)}",
    ]


class StatusSocket:
    """What the daemon tells systemd of its queue."""

    def __init__(self, daemon: Daemon) -> None:
        self.name = str(daemon.home / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.name)
        self._socket.setblocking(False)
        self._pending = 0

    def pending(self) -> int:
        """The last count of pending jobs."""
        try:
            while True:
                text = self._socket.recv(4096).decode()
                if " pending" in text:
                    words = text.rpartition(" job")[0].rpartition(" ")[2]
                    self._pending = int(words.replace(",", ""))
        except BlockingIOError:
            return self._pending

    def close(self) -> None:
        """No more."""
        self._socket.close()


def measure(work: Path) -> Table:
    """Each storm on a daemon of its own."""
    with Target() as target:
        rows = [storm(work / storm.__name__, target) for storm in (dropped, restless, checked_out)]
    return Table(title="Storms", columns=["", "", "MiB at most", "goal"], rows=rows)
