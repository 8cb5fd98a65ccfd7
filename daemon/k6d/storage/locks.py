"""Locks on files of the data folder: between processes, and freed by the kernel when one dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING, TextIO

from k6d.core.model import K6dError, reason
from k6d.storage.data_folder import make_folder, open_file, open_lock, refuse_links
from k6d.storage.permissions import make_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLL_S = 0.1
DAEMON_LOCK = "daemon.lock"  # in the data folder, as long as a daemon has it


def try_lock(path: Path, *, root: Path) -> TextIO | None:
    """An open file with an exclusive lock that lasts until it is closed; None if it is taken.

    `root` is the data folder, below which no link is followed.
    """
    file = os.fdopen(open_lock(path, root=root), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def daemon_of(data: Path) -> str | None:
    """The pid of the daemon that has the data folder; None when there is none."""
    try:
        with os.fdopen(open_file(data / DAEMON_LOCK), errors="replace") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().strip() or "unknown"
    except (OSError, K6dError):
        pass
    return None


@contextlib.contextmanager
def only_daemon(data: Path) -> Iterator[None]:
    """Hold the data folder for one daemon; the lock is the kernel's and dies with the process."""
    path = data / DAEMON_LOCK
    try:
        make_folder(data, root=data)
        refuse_links(data)
        make_private(data)
        lock = try_lock(path, root=data)
        if lock is None:
            time.sleep(POLL_S)  # it may be `daemon_of`, which only looks
            lock = try_lock(path, root=data)
    except OSError as error:
        why = reason(error)
        raise K6dError(f"cannot use {data}: {why}; choose another --data") from error
    if lock is None:
        pid = daemon_of(data) or "unknown"
        raise K6dError(f"another k6d (pid {pid}) serves {data}: stop it or choose another --data")
    with lock:
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
