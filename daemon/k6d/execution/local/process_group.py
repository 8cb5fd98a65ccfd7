"""Runs the processes of a job in one process group, which ends when k6d ends.

Every process of a job joins the group of a small shell, which waits on a pipe from k6d. The pipe
closes when the job is over or when k6d ends for any reason, also by `kill -9`. Then the shell
kills the whole group, so that neither k6 nor its children outlive the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
    from pathlib import Path

_KILL_AT_THE_END = 'trap "" INT TERM HUP; read _; kill -KILL 0'


class ProcessGroup:
    """The process group of one job; leaving the context kills all processes left in it."""

    def __init__(self) -> None:
        self._shell: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._shell = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            _KILL_AT_THE_END,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        shell = self._alive()
        if shell.stdin is not None:
            shell.stdin.close()
        await shell.wait()

    def _alive(self) -> asyncio.subprocess.Process:
        if self._shell is None:
            raise RuntimeError("the group was not entered")
        return self._shell

    async def spawn(
        self, command: list[str], *, env: Mapping[str, str], cwd: Path
    ) -> asyncio.subprocess.Process:
        """Start a process in the group, without standard input."""
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            cwd=cwd,
            process_group=self._alive().pid,
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; a group that has ended is not an error."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._alive().pid, number)
