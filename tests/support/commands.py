"""Commands of k6d as processes of their own that need not import k6d first.

A start of Python that imports k6d takes 0.4 s of CPU, and tests call hundreds of commands.
`run_k6d` asks a server (`command_server`, one for each test process), which has imported k6d and
forks for each command. What is about the start itself starts Python: `k6d serve`, the demo, the
README's commands, completion.
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
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER = Path(__file__).with_name("command_server.py")


def run_k6d(
    *arguments: str, cwd: Path, env: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """`k6d ARGUMENTS` in that folder and environment, to its end; killed after `timeout_s`."""
    request = {"arguments": arguments, "cwd": str(cwd), "env": dict(env)}
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.settimeout(timeout_s)
        connection.connect(server_address())
        socket.send_fds(connection, [b"!"], [out.fileno(), err.fileno()])
        connection.sendall(json.dumps(request).encode())
        connection.shutdown(socket.SHUT_WR)
        code = _outcome(connection, arguments, timeout_s)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(["k6d", *arguments], code, *texts)


def _outcome(connection: socket.socket, arguments: tuple[str, ...], timeout_s: float) -> int:
    """The exit code; negative for the number of a signal. Two lines come: the pid, the code."""
    with connection.makefile() as answer:
        pid = int(answer.readline())
        try:
            return int(answer.readline())
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(["k6d", *arguments], timeout_s) from None


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
