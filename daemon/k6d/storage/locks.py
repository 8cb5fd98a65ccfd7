"""Locks between processes on files of the data folder; the kernel frees them when one dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING, NamedTuple, TextIO

from k6d.core.errors import K6dError, reason
from k6d.storage.data_folder import make_folder, open_file, open_lock, refuse_links, required
from k6d.storage.permissions import make_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLL_S = 0.1
DAEMON_LOCK = "daemon.lock"  # in the data folder; a running daemon holds its lock


def try_lock(path: Path, *, root: Path) -> TextIO | None:
    """An open file with an exclusive lock that lasts until it is closed.

    None when another process or file object holds the lock. `root` is the data folder; links below
    it are refused.
    """
    file = os.fdopen(open_lock(path, root=root), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


class RunningDaemon(NamedTuple):
    """What a daemon says in its lock: its pid, and why it has no API ("" if it has one)."""

    pid: str
    no_api: str


def daemon_of(data: Path) -> RunningDaemon | None:
    """The daemon that uses the data folder, with the pid "unknown" if it says none; else None."""
    try:
        with os.fdopen(open_file(data / DAEMON_LOCK), errors="replace") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, _, why = file.read().partition("\n")
                return RunningDaemon(pid or "unknown", why.strip())
    except (OSError, K6dError):
        pass
    return None


class DaemonLock:
    """The lock of the daemon that uses a data folder. Other processes read what it says."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.say()

    def say(self, *, no_api: str = "") -> None:
        """Write this process's pid, and `no_api`: why the daemon has no API."""
        said = f"{os.getpid()}\n{no_api}".encode(errors="replace")
        os.pwrite(self._file.fileno(), said, 0)
        os.ftruncate(self._file.fileno(), len(said))


@contextlib.contextmanager
def only_daemon(data: Path) -> Iterator[DaemonLock]:
    """Reserve the data folder for this daemon until the block ends or the process dies.

    K6dError when another daemon uses the folder or the folder cannot be used.
    """
    path = data / DAEMON_LOCK
    try:
        make_folder(data, root=data)
        refuse_links(data)
        make_private(data)
        lock = try_lock(path, root=data)
        if lock is None:
            time.sleep(POLL_S)  # `daemon_of` of another process may hold the lock for a moment
            lock = try_lock(path, root=data)
    except OSError as error:
        why = reason(error)
        raise K6dError(f"cannot use {data}: {why}; choose another --data") from error
    if lock is None:
        running = daemon_of(data)
        pid = running.pid if running else "unknown"
        raise K6dError(f"another k6d (pid {pid}) serves {data}: stop it or choose another --data")
    with lock, required(data):
        yield DaemonLock(lock)
