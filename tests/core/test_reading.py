"""Files that nobody can read to their end: pipes, devices, sockets, a mount that is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from k6d.core import reading
from k6d.core.reading import (
    SlowError,
    digest_of,
    in_thread,
    irregular,
    open_regular,
    text_of,
    with_time_limit,
)
from support.dead_mount import dead_mount

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """A mount that never answers."""
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(dead_mount(tmp_path / "dead"))
        except OSError as error:
            pytest.skip(f"no mount without an answer can be made here: {error}")
        yield folder


def test_only_regular_files_are_read(tmp_path: Path, pipe: Path) -> None:
    """A pipe, a device, a socket, a folder and a link to one of them have no digest and no text."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        (tmp_path / "link").symlink_to(pipe)
        for path in (pipe, tmp_path / "socket", tmp_path / "link", tmp_path, "/dev/zero"):
            assert digest_of(path) is None
            assert text_of(path, 10) is None
            assert irregular(path)
    for nothing in (tmp_path / "gone", "a\0b"):
        assert digest_of(nothing) is None
        assert irregular(nothing) is None
    with pytest.raises(OSError, match="is a named pipe, not a regular file"):
        open_regular(pipe)
    (tmp_path / "file").write_text("abc")
    assert digest_of(tmp_path / "file") != digest_of("/dev/null")
    assert text_of(tmp_path / "file", 2) == "ab"
    assert irregular(tmp_path / "file") is None
    (tmp_path / "file").write_text("")
    assert digest_of(str(tmp_path / "file")) == EMPTY


def test_memory_does_not_follow_the_size_of_a_file(tmp_path: Path) -> None:
    """The digest of 256 MiB takes a few pieces of memory."""
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 28)
    code = (
        "import resource, sys\nfrom k6d.core.reading import digest_of\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert digest_of(sys.argv[1])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "huge")]
    grown_kib = subprocess.run(command, check=True, capture_output=True, timeout=120).stdout
    assert int(grown_kib) < 20_000


async def test_a_mount_without_an_answer_costs_a_time_limit(mount: Path) -> None:
    """Neither the loop nor a thread that waits is held; the error names what did not answer."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    turning = asyncio.create_task(turn())
    with pytest.raises(SlowError, match=r"users.csv does not answer within 0.2 s"):
        await in_thread(digest_of, mount / "users.csv", about="users.csv", limit_s=0.2)
    assert turns > 1
    turning.cancel()
    with pytest.raises(OSError, match=r"timed out.*users.csv"):
        with_time_limit(0.1, os.stat, mount / "users.csv")
    assert with_time_limit(5, digest_of, "/dev/null") is None


async def test_results_and_errors_come_through() -> None:
    """What the function gives or raises is the caller's; so is a TimeoutError of its own."""

    def late() -> None:
        raise TimeoutError("mine")

    assert await in_thread(int, "12", about="a number") == 12
    with pytest.raises(ValueError, match="invalid literal"):
        await in_thread(int, "x", about="a number")
    with pytest.raises(TimeoutError, match="mine"):
        await in_thread(late, about="a number")
    with pytest.raises(TimeoutError, match="mine"):
        with_time_limit(5, late)


async def test_threads_that_hang_are_few(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When as many hang as there may be, the next read is refused at once, and goes on later."""
    import threading

    monkeypatch.setattr(reading, "_threads", threading.BoundedSemaphore(2))
    for _ in range(2):
        with pytest.raises(SlowError):
            await in_thread(os.stat, mount / "x", about="x", limit_s=0.05)
    began = time.monotonic()
    with pytest.raises(SlowError, match="does a mount hang"):
        await in_thread(os.stat, "/", about="the root", limit_s=30)
    assert time.monotonic() - began < 15


def test_a_thread_that_hangs_does_not_hold_up_the_end(mount: Path) -> None:
    """A process with such a thread ends by itself, with its own exit code."""
    code = (
        "import asyncio, os, sys\nfrom k6d.core.reading import in_thread, SlowError\n"
        "try:\n    asyncio.run(in_thread(os.stat, sys.argv[1], about='x', limit_s=0.1))\n"
        "except SlowError:\n    sys.exit(7)"
    )
    command = [sys.executable, "-c", code, str(mount / "x")]
    assert subprocess.run(command, check=False, timeout=60).returncode == 7
