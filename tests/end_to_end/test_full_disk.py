"""A disk that takes no more, at each write: the kernel limits file sizes while k6d runs.

The limit fails a write just as a full disk does, in the daemon and in its children, and needs no
rights. The log goes through a pipe, which it does not concern.
"""

from __future__ import annotations

import resource
import subprocess
from typing import TYPE_CHECKING, Self

import orjson
import pytest

from k6d.core.model import Outcome
from support.daemon import Daemon, hitting
from support.receivers import HttpReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.target import Target

# From where nothing can be written to where all but snapshots can; bytes.
LIMITS = [0, 500, 1_000, 2_000, 4_000, 6_000]


class _Piped(Daemon):
    """A daemon whose log goes through `cat`, which has no limit."""

    def start(self, *_: object, **variables: str) -> Self:
        with self._log.open("ab") as log:
            cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log)
        assert cat.stdin is not None
        self.process = self.started(cat.stdin, self.environment(**variables))
        cat.stdin.close()
        self.cat = cat
        self.until_logged("watching ")
        return self


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[_Piped]:
    """Stopped at the end, and its log is complete."""
    daemon = _Piped(tmp_path)
    try:
        yield daemon
    finally:
        daemon.close()
        daemon.cat.wait()


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    """Where messages go."""
    with HttpReceiver() as receiver:
        yield receiver


def _limit(daemon: Daemon, size: int | None) -> None:
    assert daemon.process is not None
    _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
    soft = hard if size is None else size
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (soft, hard))


def _not_whole(data: Path) -> list[Path]:
    """Files that were left half-written."""
    found = [path for path in data.rglob("*") if path.name.endswith((".tmp", ".unreadable"))]
    for path in data.rglob("*.json"):
        try:
            orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError:
            found.append(path)
    return found


@pytest.mark.long
@pytest.mark.parametrize("size", LIMITS)
def test_a_full_disk_is_said_and_made_good(
    daemon: _Piped, target: Target, receiver: HttpReceiver, size: int
) -> None:
    """Whichever write fails: a line that names the file, nothing half-written, no flood of lines.

    When there is room again, what changed meanwhile runs without another edit and is told.
    """
    target.status["/broken"] = 500
    daemon.write("shop.js", hitting(f"{target.url}/shop"))
    daemon.start(
        K6D_NOTIFY__URLS=f'["json://127.0.0.1:{receiver.port}/"]', K6D_COMPARE__CONFIRM="0"
    )
    daemon.run("shop.js")
    daemon.barrier()
    _limit(daemon, size)
    daemon.write("shop.js", hitting(f"{target.url}/shop?2"))
    daemon.write("broken.js", hitting(f"{target.url}/broken"))
    said = f"{daemon.data}"
    daemon.until(
        lambda: any(said in line for line in daemon.log.splitlines() if " ERROR " in line),
        "an error that names a file",
    )
    daemon.until(lambda: daemon.log.count("broken.js has no result") == 2, "two attempts")
    assert _not_whole(daemon.data / "runs") == []
    assert len(daemon.log.splitlines()) < 60
    _limit(daemon, None)
    daemon.until(lambda: daemon.runs("broken.js"), "broken.js to run after all")
    daemon.until(lambda: len(receiver.taken) == 1, "its incident to be told")
    daemon.until(lambda: len(daemon.runs("shop.js")) >= 2, "the edit to have run")
    assert daemon.runs("shop.js")[-1].execution.outcome is Outcome.COMPLETED
    assert daemon.end() == 0
    assert _not_whole(daemon.data) == []
    assert daemon.store.repair().messages == []
