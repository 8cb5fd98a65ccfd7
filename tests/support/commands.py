"""Commands of k6d, and daemons, as processes of their own that need not import k6d first.

A start of Python that imports k6d takes 0.4 s of CPU, and tests start hundreds of commands and
daemons. A server (`command_server`, one for each test process) has imported k6d and forks for
each. What is about the start itself starts Python: `k6d serve`, the demo, the README's commands,
completion, the benchmarks.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from k6d.daemon.__main__ import command_line

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER = Path(__file__).with_name("command_server.py")


class Forked:
    """A process that the server forked, with the methods of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        arguments: tuple[str, ...] | list[str],
        *,
        program: str,
        cwd: Path,
        env: Mapping[str, str],
        out: IO[bytes],
        err: IO[bytes],
    ) -> None:
        self.args = [program, *arguments]
        self.returncode: int | None = None
        request = {
            "program": program,
            "arguments": list(arguments),
            "cwd": str(cwd),
            "env": dict(env),
        }
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(server_address())
        socket.send_fds(self._connection, [b"!"], [out.fileno(), err.fileno()])
        self._connection.sendall(json.dumps(request).encode())
        self._connection.shutdown(socket.SHUT_WR)
        self._answer = b""
        self.pid = int(self._line(None) or 0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; negative for the number of a signal. Raises TimeoutExpired."""
        if self.returncode is None:
            line = self._line(timeout)
            if line is None:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = int(line)
            self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        """The exit code, None while it lives."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send it SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _line(self, timeout: float | None) -> str | None:
        """The next line of the answer: first the pid, then the exit code; None if it is late."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._answer:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            self._connection.settimeout(left)
            try:
                received = self._connection.recv(64)
            except (BlockingIOError, TimeoutError):
                return None
            if not received:
                raise ConnectionError("the server of commands has ended")
            self._answer += received
        line, _, self._answer = self._answer.partition(b"\n")
        return line.decode()


def run_k6d(
    *arguments: str, cwd: Path, env: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """`k6d ARGUMENTS` in that folder and environment, to its end; killed after `timeout_s`."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = Forked(arguments, program="k6d", cwd=cwd, env=env, out=out, err=err)
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(["k6d", *arguments], code, *texts)


def start_daemon(
    settings: Mapping[str, Any], *, cwd: Path, env: Mapping[str, str], log: IO[bytes]
) -> Forked:
    """A daemon as `k6d serve` becomes it, in a process group of its own; it logs to `log`."""
    words = command_line(None, **settings)[-1:]
    return Forked(words, program="k6d.daemon", cwd=cwd, env=env, out=log, err=log)


@functools.cache
def server_address() -> str:
    """The address of this process's server, which ends when this process does."""
    folder = tempfile.mkdtemp(prefix="k6d-commands-")
    address = f"{folder}/socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        server = subprocess.Popen(
            [sys.executable, "-P", SERVER, str(listening.fileno()), folder],
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        )
    atexit.register(server.communicate)  # it ends at the end of its standard input
    return address
