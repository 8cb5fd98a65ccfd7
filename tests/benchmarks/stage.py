"""What the benchmarks share: tables, folders, processes, scripts, a watch on a folder."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import statistics
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
K6 = Path(sys.prefix) / "bin" / "k6"
TOOLS = ROOT / ".cache" / "benchmarks"  # what is fetched only to be compared with
PATIENCE_S = 60.0
CLOSE_WRITE, MOVED_TO = 0x8, 0x80  # of inotify(7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One benchmark's outcome, cells as text; `notes` say how it was measured."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default_factory=list)


def median(values: Sequence[float]) -> float:
    """The median, NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def quartiles(values: Sequence[float], *, digits: int) -> str:
    """The middle half of the values, as "low–high"."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{low:.{digits}f}–{high:.{digits}f}"


def verdict(kept: bool) -> str:
    """Whether a goal was reached."""
    return "yes" if kept else "**no**"


@contextmanager
def started(
    command: Sequence[str | Path], *, cwd: Path, stdin: str | None = None, env: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own; the group is gone when the context is left."""
    given = subprocess.PIPE if stdin is not None else subprocess.DEVNULL
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=given,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    if process.stdin is not None and stdin is not None:
        process.stdin.write(stdin.encode())
        process.stdin.close()
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The environment that everything compared gets."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"} | variables


class Target:
    """The target as a process; a context manager. `arrival` gives CLOCK_MONOTONIC, seconds."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, HERE / "fast_target.py"], stdout=subprocess.PIPE, bufsize=0
        )
        self.url = f"http://127.0.0.1:{int(self._line())}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def arrival(self, timeout_s: float = PATIENCE_S) -> float | None:
        """When the next new connection made its first request; None when none does in time."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        return int(self._line()) / 1e9 if ready else None

    def forget(self) -> None:
        """Drop the arrivals that nobody asked for."""
        while self.arrival(0.0) is not None:
            pass

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


class Folder:
    """inotify on one folder; `fileno` for select, `read` gives the names that fit the mask."""

    _libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, folder: Path, mask: int) -> None:
        self._fd: int = self._libc.inotify_init1(os.O_CLOEXEC)
        if self._libc.inotify_add_watch(self._fd, os.fsencode(folder), mask) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", str(folder))

    def fileno(self) -> int:
        """The descriptor, readable when there are events."""
        return self._fd

    def read(self) -> list[str]:
        """Wait for events; the names of their files."""
        data, at, names = os.read(self._fd, 65536), 0, []
        while at < len(data):
            length = struct.unpack_from("iIII", data, at)[3]
            names.append(os.fsdecode(data[at + 16 : at + 16 + length].rstrip(b"\0")))
            at += 16 + length
        return names

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)


FIVE_ENDPOINTS = """import http from 'k6/http';
import {{ check, sleep }} from 'k6';
export const options = {{
  {load},
  thresholds: {{ http_req_duration: ['p(95)<60000'], checks: ['rate>0.5'] }},
}};
const pages = ['home', 'search', 'cart', 'login', 'checkout'];
export default function () {{
  for (const page of pages) {{
    const answer = http.get(`{url}/${{page}}`, {{ tags: {{ name: `/${{page}}` }} }});
    check(answer, {{ [`${{page}} is up`]: (r) => r.status === 200 }});
  }}
  {more}
}}
"""


def one_request(url: str, *, number: int) -> str:
    """A script of one request; `number` makes its contents new."""
    return f"""import http from 'k6/http';
export const options = {{ vus: 1, iterations: 1 }};
export default function () {{ http.get('{url}/{number}'); }}
"""


def many_requests(url: str, *, requests: int) -> str:
    """A script of so many requests as fast as k6 can."""
    return f"""import http from 'k6/http';
export const options = {{
  scenarios: {{ all: {{
    executor: 'shared-iterations', vus: 20, iterations: {requests}, maxDuration: '10m',
  }} }},
}};
export default function () {{ http.get('{url}/'); }}
"""


def wait(seconds: float) -> None:
    """Let what was just done come to rest, so that it doesn't disturb what comes next."""
    time.sleep(seconds)
