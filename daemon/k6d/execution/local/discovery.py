"""Finds the k6 binary and its version."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from k6d.core.model import K6dError
from k6d.execution.local import variables
from k6d.execution.local.k6 import K6, exit_of

OLDEST = (0, 57)
NEWEST_TRIED = (2, 2)  # docs: daemon/docs/k6-versions.md
INSTALL_HINT = (
    "install k6 from https://grafana.com/docs/k6/latest/set-up/install-k6/ "
    "or, for a try, `pip install k6==1.1.0`; or name it with k6.path (K6D_K6__PATH)"
)
VERSION_TIMEOUT_S = 10.0
VERSION_BYTES = 65536
# k6 prints its file name, then for example "v2.2.0 (commit/0123456789, go1.25, linux/amd64)".
_VERSION = re.compile(
    r"^(?:k6(?:\.exe)? v|.* v(?=\S+ \((?:commit/[^,)]+, )?go\d))(\d+)\.(\d+)\.(\d+)", re.MULTILINE
)

_answers: dict[tuple[object, ...], K6] = {}  # holds the last binary that was asked


class K6UnavailableError(K6dError):
    """There is no usable k6; the message says how to get one."""


def candidates(configured: Path | None) -> list[Path]:
    """Return the paths to try: the configured one only; else the environment's bin, then PATH."""
    if configured is not None:
        return [configured]
    places = [Path(sys.prefix) / "bin" / "k6"]
    if found := shutil.which("k6"):
        places.append(Path(found))
    return places


async def find(configured: Path | None) -> K6:
    """Return the k6 to use; K6UnavailableError names the tried paths and how to get k6."""
    for path in candidates(configured):
        if os.access(path, os.X_OK) and path.is_file():
            return await _known(path)
    raise K6UnavailableError(f"{_missing(configured)}: {INSTALL_HINT}")


def _missing(configured: Path | None) -> str:
    if configured is None:
        return "k6 is not at the environment's bin folder or on PATH"
    named = f"{configured} (k6.path)"
    if configured.is_dir():
        return f"{named} is a folder; name the k6 in it"
    if configured.exists():
        return f"{named} is not executable; chmod +x {configured}"
    return f"k6 is not at {named}"


async def _known(path: Path) -> K6:
    """Return the k6 at `path`; start it for its version only once, since that is slow."""
    identity = _identity(path)
    if identity is None:
        return await _ask_version(path)
    if identity not in _answers:
        _answers.clear()
        _answers[identity] = await _ask_version(path)
    return _answers[identity]


def _identity(path: Path) -> tuple[object, ...] | None:
    """Return a value that differs between binaries; None for a wrapper: its k6 can be replaced."""
    try:
        with path.open("rb") as file:
            if file.read(2) == b"#!" or path.resolve().name != path.name:
                return None
            found = os.fstat(file.fileno())
    except OSError:
        return None
    return path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


async def _ask_version(path: Path) -> K6:
    try:
        answer = await _answer(path)
    except TimeoutError:
        problem = f"{path} did not answer `version` within {VERSION_TIMEOUT_S:g} s"
        raise K6UnavailableError(f"{problem}: {INSTALL_HINT}") from None
    except OSError as error:
        reason = error.strerror or error
        raise K6UnavailableError(f"{path} cannot be run ({reason}): {INSTALL_HINT}") from error
    match = _VERSION.search(answer)
    if match is None:
        first = next(iter(answer.split("\n")), "").strip()[:80]
        said = f"`version` says {first!a}" if first else "`version` says nothing"
        raise K6UnavailableError(f"{path} is not k6 ({said}): {INSTALL_HINT}")
    major, minor, patch = (int(part) for part in match.groups())
    if (major, minor) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise K6UnavailableError(
            f"{path} is k6 {major}.{minor}.{patch}, k6d needs {oldest} or newer: {INSTALL_HINT}"
        )
    return K6(path, f"{major}.{minor}.{patch}")


async def _answer(path: Path) -> str:
    """Return the output of `version`; TimeoutError if it is late. The process group always ends."""
    process = await asyncio.create_subprocess_exec(
        *(path, "version"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=variables.brief(variables.environment({})),
        process_group=0,
    )
    assert process.stdout is not None  # noqa: S101  (it is a pipe)
    answer = b""
    try:
        async with asyncio.timeout(VERSION_TIMEOUT_S):
            while len(answer) < VERSION_BYTES and (chunk := await process.stdout.read(4096)):
                answer += chunk
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):  # a process outside its group may hold its pipe open
                await process.communicate()
        await exit_of(process)
    return answer.decode(errors="replace").strip()
