"""`python tests/benchmarks/storm.py [FILES]`: many files at once, and a script that never rests.

Prints how soon the daemon knows of every file, its memory, and whether the script that never
rests ended with its last contents run, and no contents run twice.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rich.console import Console

from daemon import Daemon, hitting, until
from target import Target

FILES = 10_000
CHANGES = 30
CONSOLE = Console(highlight=False, soft_wrap=True)


def memory_mib(pid: int, name: str = "VmRSS") -> float:
    """A line of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def dropped(daemon: Daemon, target: Target, files: int) -> None:
    """A folder with that many scripts is moved in while the queue is held by maintenance."""
    outside = daemon.home / "outside"
    outside.mkdir()
    for number in range(files):
        text = hitting(f"{target.url}/storm", iterations=1)
        (outside / f"{number}.js").write_text(f"{text}// {number}\n")
    told = StatusSocket(daemon)
    daemon.start(K6D_SCHEDULE__MAINTENANCE='["0 0 * * * for 24h"]', NOTIFY_SOCKET=told.name)
    assert daemon.process is not None
    before, began = memory_mib(daemon.process.pid), time.monotonic()
    outside.rename(daemon.scripts / "storm")
    until(lambda: told.pending() >= files, f"{files} files to be known")
    took_s = time.monotonic() - began
    after, most = (memory_mib(daemon.process.pid, name) for name in ("VmRSS", "VmHWM"))
    CONSOLE.print(
        f"{files:,} files dropped: known after {took_s:.1f} s; RSS {before:.0f} → {after:.0f} MiB, "
        f"{most:.0f} MiB at most"
    )
    daemon.end()
    told.close()


def restless(daemon: Daemon, target: Target) -> None:
    """One script changes every second; at the end its last contents have run, and run once."""
    daemon.start(K6D_COMPARE__CONFIRM="0")  # confirmations are runs of the same contents
    for number in range(1, CHANGES + 1):
        daemon.write("restless.js", hitting(f"{target.url}/restless-{number}", iterations=1))
        time.sleep(1.0)
    last = f"GET /restless-{CHANGES}"
    until(lambda: target.requests[last], "the last contents to run")
    daemon.barrier()
    runs = len(daemon.runs("restless.js"))
    again = sum(count > 1 for path, count in target.requests.items() if "restless" in path)
    CONSOLE.print(
        f"a script that changed {CHANGES} times, every second: {runs} runs, the last contents ran "
        f"{target.requests[last]} time(s), {again} contents ran more than once"
    )
    daemon.end()


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


def main(files: int = FILES) -> None:
    """Both storms, each on a daemon of its own."""
    with tempfile.TemporaryDirectory(prefix="k6d-storm-") as work, Target() as target:
        for number, storm in enumerate((dropped, restless)):
            daemon = Daemon(Path(work) / str(number))
            try:
                storm(daemon, target, *([files] if storm is dropped else []))
            finally:
                daemon.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
