"""Read files that other people control, so that none of them can stop k6d.

1. Only regular files are opened. Reading a named pipe, a device or a socket may never end, and
   opening one may have effects.
2. A file is read in pieces, so that a large file takes no more memory than a small one.
3. A read runs in a daemon thread of its own with a time limit. A lost network mount blocks that
   thread for ever, but not the event loop and not the exit of the process. (Python waits at exit
   for the threads of an executor, so none is used.) At most `MOST_THREADS` run at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import stat
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from k6d.core.errors import K6dError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

PIECE_BYTES = 1 << 20
LIMIT_S = 60.0  # for one read of any size: 1 GiB takes a second or two
MOST_THREADS = 64  # a blocked thread costs a few KiB

_threads = threading.BoundedSemaphore(MOST_THREADS)


class SlowError(K6dError):
    """A read did not end within its time limit; its thread may stay blocked for ever."""


def open_regular(path: Path | str) -> BinaryIO:
    """Open a regular file for reading; OSError for anything else, before it is opened."""
    _refuse_irregular(path, os.stat(path))  # noqa: PTH116  (the path may be a str)
    # O_NONBLOCK: if a pipe has replaced the file since, opening does not wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _refuse_irregular(path, os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _refuse_irregular(path: Path | str, found: os.stat_result) -> None:
    if kind := _irregular(found.st_mode):
        raise OSError(errno.EINVAL, f"is {kind}, not a regular file", str(path))


def _irregular(mode: int) -> str | None:
    kinds = {
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFDIR: "a folder",
    }
    return None if stat.S_ISREG(mode) else kinds.get(stat.S_IFMT(mode), "something else")


def irregular(path: Path | str) -> str | None:
    """What kind of thing the path names, such as "a named pipe".

    None for a regular file and for a path that cannot be examined.
    """
    try:
        return _irregular(os.stat(path).st_mode)  # noqa: PTH116  (the path may be a str)
    except (OSError, ValueError):
        return None


def is_file(path: Path | str) -> bool:
    """Whether a regular file is there, as far as we may see; never raises.

    `Path.is_file` does, for a name that is too long and for a folder that is not for us.
    """
    return os.path.isfile(path)  # noqa: PTH113


def digest_of(path: Path | str) -> str | None:
    """SHA-256 of a regular file in hex; None when it cannot be read. SlowError after LIMIT_S."""
    try:
        with open_regular(path) as file:
            return stream_digest(file)
    except (OSError, ValueError):  # ValueError: there is a null character in the path
        return None


def stream_digest(file: BinaryIO) -> str:
    """SHA-256 of the rest of an open file in hex, read in pieces. SlowError after LIMIT_S."""
    ends, found = time.monotonic() + LIMIT_S, hashlib.sha256()
    while piece := file.read(PIECE_BYTES):
        found.update(piece)
        if time.monotonic() > ends:
            raise SlowError(f"{file.name} could not be read completely within {LIMIT_S:g} s")
    return found.hexdigest()


def text_of(path: Path | str, most_bytes: int) -> str | None:
    """The first `most_bytes` of a regular file as text; None when it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read(most_bytes).decode(errors="replace")
    except (OSError, ValueError):
        return None


def start(function: Callable[..., T], *arguments: object) -> Future[T]:
    """Call the function in a daemon thread, which does not delay the exit of the process.

    SlowError when `MOST_THREADS` such threads run already: most of them are then blocked.
    """
    threads = _threads
    if not threads.acquire(blocking=False):
        raise SlowError(f"{MOST_THREADS} reads of files are under way; does a mount hang?")
    future: Future[T] = Future()

    def work() -> None:
        try:
            result = function(*arguments)
        except BaseException as error:  # noqa: BLE001  (raised by future.result())
            threads.release()
            future.set_exception(error)
        else:
            threads.release()
            future.set_result(result)

    try:
        threading.Thread(target=work, name="k6d-read", daemon=True).start()
    except RuntimeError as error:  # the system refuses to start another thread
        threads.release()
        raise SlowError(f"a file cannot be read now: {error}") from error
    return future


async def in_thread(
    function: Callable[..., T], *arguments: object, about: str, limit_s: float = LIMIT_S
) -> T:
    """The function's result, computed in a thread of `start`.

    After `limit_s` seconds SlowError, whose text begins with `about`.
    """
    future = start(function, *arguments)
    await _end_of(future, limit_s)
    if not future.done():
        raise SlowError(f"{about} does not answer within {limit_s:g} s")
    return future.result()


async def in_thread_without_limit(
    function: Callable[..., T], *arguments: object, slow_s: float, on_slow: Callable[[], object]
) -> T:
    """The function's result, computed in a thread of `start`, without a time limit.

    `on_slow` is called once if the function takes longer than `slow_s` seconds.
    """
    future = start(function, *arguments)
    await _end_of(future, slow_s)
    if not future.done():
        on_slow()
        await _end_of(future, None)
    return future.result()


async def _end_of(future: Future[T], limit_s: float | None) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def wake(_: Future[T]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed and nothing waits any more
            loop.call_soon_threadsafe(ended.set)

    future.add_done_callback(wake)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await ended.wait()


def with_time_limit(limit_s: float, function: Callable[..., T], *arguments: object) -> T:
    """The function's result, for a caller without an event loop.

    After `limit_s` seconds OSError (ETIMEDOUT).
    """
    future = start(function, *arguments)
    with contextlib.suppress(TimeoutError):
        return future.result(limit_s)
    if future.done():
        return future.result()
    raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), *map(str, arguments[:1]))


class Probe:
    """Examines paths that may lie on a lost mount, for a caller without an event loop.

    While one call about a folder is blocked, further calls about that folder fail at once. A lost
    mount thus costs one thread and one time-out for each folder. Once the blocked call returns,
    paths in that folder are examined again.
    """

    def __init__(self, limit_s: float = 2.0) -> None:
        self._limit_s = limit_s
        self._hanging: dict[str, Future[Any]] = {}

    def ask(self, function: Callable[[str], T], path: str) -> T:
        """`function(path)`; OSError (ETIMEDOUT) when it does not return in time."""
        folder = os.path.dirname(path)  # noqa: PTH120  (str: this runs every second)
        hanging = self._hanging.get(folder)
        if hanging is None or hanging.done():
            self._hanging.pop(folder, None)
            future = start(function, path)
            with contextlib.suppress(TimeoutError):
                return future.result(self._limit_s)
            if future.done():
                return future.result()
            self._hanging[folder] = future
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), path)


_folders = Probe()


async def is_reachable(folder: Path) -> bool:
    """Whether the folder's file system answers; the folder itself need not exist."""
    try:
        await in_thread(_folders.ask, os.path.exists, f"{folder}/.", about=str(folder))
    except (OSError, SlowError):
        return False
    return True
