"""Locks on files of the data folder: between processes, and freed by the kernel when one dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING, TextIO

from k6d.model import K6dError, reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLL_S = 0.1
DAEMON_LOCK = "daemon.lock"  # in the data folder, as long as a daemon has it


def try_lock(path: Path) -> TextIO | None:
    """An open file with an exclusive lock that lasts until it is closed; None if it is taken."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def daemon_of(data: Path) -> str | None:
    """The pid of the daemon that has the data folder; None when there is none."""
    try:
        with (data / DAEMON_LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return (data / DAEMON_LOCK).read_text().strip() or "unknown"
    except OSError:
        return None
    return None


@contextlib.contextmanager
def only_daemon(data: Path) -> Iterator[None]:
    """Hold the data folder for one daemon; the lock is the kernel's and dies with the process."""
    path = data / DAEMON_LOCK
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = try_lock(path)
        if lock is None:
            time.sleep(POLL_S)  # it may be `daemon_of`, which only looks
            lock = try_lock(path)
    except OSError as error:
        why = reason(error)
        raise K6dError(f"cannot use {data}: {why}; choose another --data") from error
    if lock is None:
        pid = path.read_text().strip() or "unknown"
        raise K6dError(f"another k6d (pid {pid}) serves {data}: stop it or choose another --data")
    with lock:
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
