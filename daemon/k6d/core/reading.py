"""Reading files that somebody else controls, so that none of them can stop k6d.

Three rules. Only regular files are opened: a named pipe, a device or a socket never ends, or does
something when it is opened. A file is read in pieces: memory does not follow its size. A read runs
in a thread of its own with a time limit: a network mount that is gone holds that thread for ever,
but neither the event loop nor the end of the process, since the thread is a daemon thread (those of
an executor are waited for when Python exits). At most `MOST_THREADS` are under way at a time.
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

from k6d.core.model import K6dError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

PIECE_BYTES = 1 << 20
LIMIT_S = 60.0  # for one read, whatever the size: 1 GiB takes a second or two
MOST_THREADS = 64  # each that hangs costs a few KiB

_threads = threading.BoundedSemaphore(MOST_THREADS)


class SlowError(K6dError):
    """A read did not end within its time; its thread may hang for ever."""


def open_regular(path: Path | str) -> BinaryIO:
    """Open a regular file for reading; OSError for anything else, which is not opened at all."""
    _refuse_irregular(path, os.stat(path))  # noqa: PTH116  (of texts, too)
    # Should it have become a pipe since, the opening does not wait for a writer.
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
    """What a path leads to if that is no regular file: "a named pipe"; None for one, or nothing."""
    try:
        return _irregular(os.stat(path).st_mode)  # noqa: PTH116  (of texts, too)
    except (OSError, ValueError):
        return None


def digest_of(path: Path | str) -> str | None:
    """SHA-256 of a regular file in hex; None for what cannot be read. SlowError after LIMIT_S."""
    try:
        with open_regular(path) as file:
            return stream_digest(file)
    except (OSError, ValueError):  # no name of a file has a null in it
        return None


def stream_digest(file: BinaryIO) -> str:
    """SHA-256 of the rest of an open file in hex, read in pieces. SlowError after LIMIT_S."""
    ends, found = time.monotonic() + LIMIT_S, hashlib.sha256()
    while piece := file.read(PIECE_BYTES):
        found.update(piece)
        if time.monotonic() > ends:
            raise SlowError(f"{file.name} is not read to its end within {LIMIT_S:g} s")
    return found.hexdigest()


def text_of(path: Path | str, most_bytes: int) -> str | None:
    """The first `most_bytes` of a regular file as text; None for what cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read(most_bytes).decode(errors="replace")
    except (OSError, ValueError):
        return None


def start(function: Callable[..., T], *arguments: object) -> Future[T]:
    """Call the function in a thread that does not hold up the end of the process.

    SlowError when as many threads as there may be are under way: most of them hang.
    """
    threads = _threads
    if not threads.acquire(blocking=False):
        raise SlowError(f"{MOST_THREADS} reads of files are under way; does a mount hang?")
    future: Future[T] = Future()

    def work() -> None:
        try:
            result = function(*arguments)
        except BaseException as error:  # noqa: BLE001  (raised where it is waited for)
            threads.release()
            future.set_exception(error)
        else:
            threads.release()
            future.set_result(result)

    try:
        threading.Thread(target=work, name="k6d-read", daemon=True).start()
    except RuntimeError as error:  # the machine has no room for a thread
        threads.release()
        raise SlowError(f"a file cannot be read now: {error}") from error
    return future


async def apart(
    function: Callable[..., T], *arguments: object, about: str, limit_s: float = LIMIT_S
) -> T:
    """What the function gives, called in such a thread; SlowError names `about` after `limit_s`."""
    future = start(function, *arguments)
    await _end_of(future, limit_s)
    if not future.done():
        raise SlowError(f"{about} does not answer within {limit_s:g} s")
    return future.result()


async def however_long(
    function: Callable[..., T], *arguments: object, slow_s: float, on_slow: Callable[[], object]
) -> T:
    """The same without a limit; `on_slow` is called once, after `slow_s` seconds."""
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
        with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits any more
            loop.call_soon_threadsafe(ended.set)

    future.add_done_callback(wake)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await ended.wait()


def within(limit_s: float, function: Callable[..., T], *arguments: object) -> T:
    """The same for a caller that is in a thread itself: OSError (ETIMEDOUT) after `limit_s`."""
    future = start(function, *arguments)
    with contextlib.suppress(TimeoutError):
        return future.result(limit_s)
    if future.done():
        return future.result()
    raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), *map(str, arguments[:1]))


class Probe:
    """Asks about paths that may lie on a mount that is gone, for a caller in a thread.

    While a question about a folder hangs, the next ones fail at once: such a mount costs one thread
    for each folder that is asked about, and its time-out once. When it answers, all is well again.
    """

    def __init__(self, limit_s: float = 2.0) -> None:
        self._limit_s = limit_s
        self._hanging: dict[str, Future[Any]] = {}

    def ask(self, function: Callable[[str], T], path: str) -> T:
        """What `function` says of the path; OSError (ETIMEDOUT) when it does not come back."""
        folder = os.path.dirname(path)  # noqa: PTH120  (texts: asked every second)
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


async def answers(folder: Path) -> bool:
    """Whether the folder's file system answers, be the folder there or not."""
    try:
        await apart(_folders.ask, os.path.exists, f"{folder}/.", about=str(folder))
    except (OSError, SlowError):
        return False
    return True
