"""Blocks of code in the Markdown pages, and a shell that runs them in order, as a reader would."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from support.commands import server_address
from support.paths import ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PATIENCE_S = 120.0

# The command `k6d` of the pages: it asks the server that has imported k6d already.
SHIM = """#!{python} -ISs
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({address!r})
    socket.send_fds(connection, [b"!"], [1, 2])
    request = {{"program": "k6d", "arguments": sys.argv[1:], "cwd": os.getcwd()}}
    request["env"] = dict(os.environ)
    connection.sendall(json.dumps(request).encode())
    connection.shutdown(socket.SHUT_WR)
    with connection.makefile() as answer:
        answer.readline()
        os._exit(int(answer.readline()))
"""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page, with its language."""

    language: str
    text: str


def pages() -> list[Path]:
    """The front page, and the manual in alphabetical order."""
    return [ROOT / "README.md", *sorted((ROOT / "daemon/docs").glob("*.md"))]


def blocks_of(page: Path) -> list[Block]:
    """All blocks of the page, in order."""
    return [Block(*found) for found in FENCE.findall(page.read_text())]


class Shell:
    """A bash in which blocks run one after the other, with jobs and variables kept.

    `failed` of the last block holds (exit code, command) of each command that failed. With `quick`
    k6d is not started anew for each command.
    """

    def __init__(self, home: Path, *, work: Path, quick: bool, **variables: str) -> None:
        self.failed: list[tuple[int, str]] = []
        self._block, self._log, shims = work / "block.sh", work / "output", work / "bin"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        if quick:
            shims.mkdir()
            shim = shims / "k6d"
            shim.write_text(SHIM.format(python=sys.executable, address=server_address()))
            shim.chmod(0o755)
            path = f"{shims}{os.pathsep}{path}"
        base = {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "COLUMNS": "160"}
        read, write = os.pipe()
        self._answers = os.fdopen(read, "rb", buffering=0)
        with self._log.open("wb") as log:
            self._bash = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                cwd=home,
                env=base | variables,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[write],
                start_new_session=True,
            )
        os.close(write)
        self._fd = write
        self._send(f"set -m; trap '__failed+=(\"$? $BASH_COMMAND\")' ERR; exec 9>&{write}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the jobs that still run, and the shell."""
        assert self._bash.stdin is not None
        self._send("trap - ERR; kill $(jobs -p); wait")
        self._bash.stdin.close()
        try:
            self._bash.wait(timeout=PATIENCE_S)
        finally:
            if self._bash.poll() is None:
                os.killpg(self._bash.pid, signal.SIGKILL)
            self._answers.close()

    @property
    def output(self) -> str:
        """Everything that was printed so far."""
        return self._log.read_text(errors="replace")

    def run(self, text: str) -> str:
        """Run one block to its end, without waiting for its jobs; return what it printed."""
        begin = self._log.stat().st_size
        self._block.write_text(f"{text}\n:\n")  # `.` itself never fails
        self._send(f". {self._block} 9>&- </dev/null")
        self._send("printf '%s\\0' \"${__failed[@]}\" '' >&9; __failed=()")
        answer = b""
        while not (answer == b"\0" or answer.endswith(b"\0\0")):
            more = self._answers.read(65_536)
            assert more, f"the shell ended in {text}: {self.output[-2000:]}"
            answer += more
        pairs = [one.split(" ", 1) for one in answer.decode().split("\0") if one]
        self.failed = [(int(code), command) for code, command in pairs]
        return self._log.read_bytes()[begin:].decode(errors="replace")

    def until(self, text: str, *, begin: int = 0) -> None:
        """Wait until this text was printed, after the first `begin` characters of the output."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.output[begin:]:
            assert time.monotonic() < deadline, f"{text!r} was not printed: {self.output[-3000:]}"
            time.sleep(0.05)

    def _send(self, line: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(f"{line}\n".encode())
        self._bash.stdin.flush()
