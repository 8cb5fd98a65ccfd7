"""A folder → batches of settled changed paths; the only importer of watchdog.

Events are hints. What is reported is decided by comparing (inode, size, mtime) with what was
reported last, so a lost event costs time (until the next rescan) and a superfluous one nothing.

A path has settled when it was closed after writing or moved in under its final name and no process
has it open for writing; or when it was unchanged (or missing) for `settle_s`, again without writer.
Where the kernel can't tell of writers (not Linux, a file of another user, some network mounts) the
rest time alone decides, and a writer that pauses for longer is not noticed.

All work but the bridge from watchdog's threads is done by one worker thread call at a time, so the
event loop is never held up by a walk, and the state needs no locks.
"""

# Paths are strings in here: a walk of 10,000 files makes no Path.
# ruff: noqa: PTH100, PTH112, PTH114, PTH116, PTH118, PTH120

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import signal
import stat as stat_bits
import sys
import threading
import time
import warnings
from collections import deque
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Self

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from watchdog.observers.api import ObservedWatch
    from watchdog.utils import BaseThread

logger = logging.getLogger(__name__)

SUFFIXES = (".js", ".ts")
COALESCE_S = 0.015  # one save makes several events; more would be felt, less would split vim's
TICK_S = 0.01  # the coarsest mtime clock; a younger mtime can't be told from the next write's
CHECK_S = 1.0  # the root's identity and watchdog's threads are looked at this often
DEGRADED_RESCAN_S = 2.0
RETRY_EVENTS_S = 60.0
MAX_HINTS = 20_000  # beyond, the hints are dropped and the tree is walked: memory stays bounded
MAX_FOLDERS = 64  # watchdog spends a thread on each; changes in further ones are found by rescans
SEEN, SETTLED, FOLDER = range(3)  # hints, by weight
EVENTS: list[type[FileSystemEvent]] = [
    *(FileClosedEvent, FileCreatedEvent, FileMovedEvent, FileDeletedEvent),
    *(DirCreatedEvent, DirMovedEvent, DirDeletedEvent),
]

Stat = tuple[int, int, int]  # inode, size in bytes, mtime in ns
UNREAD: Stat = (0, 0, 0)  # equals no file's


def is_candidate(relative: PurePath, ignore: Sequence[str] = ()) -> bool:
    """Whether the path, relative to the root, can be a script.

    The name ends in .js or .ts, in lower case (k6 itself takes `.TS` for JavaScript); no component
    is hidden or `node_modules`. So temporary and swap files of editors are none: `.#a.js`,
    `.a.js.swp`, `#a.js#`, `a.js~`, `4913`, `a.js.tmp`, `a.js___jb_tmp___`.

    A pattern of `ignore` is a glob, case-sensitive, matched component by component: `*`, `?` and
    `[…]` don't cross a `/`, `**` stands for any number of components (at the end: one or more).
    Without a `/` (but for a last one) it matches in any folder, else from the root on. What matches
    a folder takes all that lies in it; with a `/` at the end it matches folders only. No `!`.
    """
    return _is_candidate(relative.as_posix(), tuple(ignore))


def _is_candidate(relative: str, ignore: tuple[str, ...]) -> bool:
    if not relative.endswith(SUFFIXES) or _is_private(relative):
        return False
    return not (ignore and _is_ignored(relative, ignore))


def _is_ignored(relative: str, ignore: tuple[str, ...]) -> bool:
    names = tuple(relative.split("/"))
    return any(
        _matches(names[:-1] if folders_only else names, pattern)
        for pattern, folders_only in map(_parse, ignore)
    )


def _is_private(relative: str) -> bool:
    return any(name[:1] == "." or name == "node_modules" for name in relative.split("/"))


@lru_cache(maxsize=256)
def _parse(pattern: str) -> tuple[tuple[str, ...], bool]:
    parts = tuple(pattern.strip("/").split("/"))
    anchored = "/" in pattern.rstrip("/")
    return (parts if anchored else ("**", *parts)), pattern.endswith("/")


def _matches(names: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return True  # a folder matched; the remaining names lie in it
    if not names:
        return False
    if pattern[0] == "**":
        return len(pattern) == 1 or _matches(names, pattern[1:]) or _matches(names[1:], pattern)
    return fnmatchcase(names[0], pattern[0]) and _matches(names[1:], pattern[1:])


def _stat(path: str) -> Stat | None:
    """None for what is missing or no regular file; raises OSError when that can't be known."""
    try:
        found = os.stat(path)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            return None
        raise
    if not stat_bits.S_ISREG(found.st_mode):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _has_writer(path: str) -> bool | None:
    """Whether a process has the file open for writing; None when the kernel won't say.

    A read lease is refused while there is a writer. A writer that comes in the microseconds while
    we hold it makes the kernel signal us, by default with SIGIO, which kills: SIGURG is ignored by
    default, in any thread, and leaves the process's handlers alone.
    """
    if sys.platform != "linux":
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(handle)
    return False


class _Tree:
    """What a walk found: candidates, the links that matter, what could not be read.

    Each real folder is walked once, real ones before linked ones (so of two spellings inside the
    root the one without links counts); a link to a folder that holds the root is a loop, left out.
    """

    def __init__(self, root: str, ignore: tuple[str, ...], stopped: Callable[[], bool]) -> None:
        self.files: dict[str, Stat] = {}
        self.links: set[str] = set()
        self.linked_folders: set[str] = set()  # real paths
        self.unreadable: list[str] = []
        self._prefix, self._ignore = len(root) + 1, ignore
        real_root = os.path.realpath(root)
        self._todo = deque([(root, real_root)])
        folder_links: deque[str] = deque()
        visited: set[str] = set()
        while (self._todo or folder_links) and not stopped():
            if self._todo:
                spelled, real = self._todo.popleft()
                if real not in visited:
                    visited.add(real)
                    folder_links.extend(self._list(spelled, real))
                continue
            link = folder_links.popleft()
            real = os.path.realpath(link)
            if real not in visited and not _lies_in(real_root, real):
                self.links.add(link)
                self.linked_folders.add(real)
                self._todo.append((link, real))

    def _ignores(self, path: str) -> bool:
        return bool(self._ignore) and _is_ignored(path[self._prefix :], self._ignore)

    def _list(self, spelled: str, real: str) -> Iterator[str]:
        """Take what is in one folder; the links to folders are handed back, for later."""
        try:
            entries = sorted(os.scandir(spelled), key=lambda entry: entry.name)
        except OSError:
            self.unreadable.append(spelled)
            return
        for entry in entries:
            name, path = entry.name, entry.path
            if name[0] == "." or name == "node_modules":
                continue
            try:
                linked = entry.is_symlink()
                if not linked and entry.is_dir(follow_symlinks=False):
                    self._todo.append((path, f"{real}/{name}"))
                elif linked and os.path.isdir(path):
                    yield path
                elif name.endswith(SUFFIXES) and not self._ignores(path):
                    if linked:
                        self.links.add(path)
                    if (found := _stat(path)) is not None:
                        self.files[path] = found
            except OSError:
                self.unreadable.append(entry.path)


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino


if sys.platform == "linux":
    from watchdog.observers.inotify import InotifyFullEmitter
    from watchdog.observers.inotify_c import (
        CallbackId,
        InotifyEvent,
        InotifyFD,
        Mask,
        WatchCallback,
        WatchDescriptor,
    )
    from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper

    # A "moved from" that is read before its "moved to" holds up all events behind it for this
    # long; the kernel queues the two together, so watchdog's 0.5 s would only make a save late.
    InotifyMoveEventGrouper.delay = 0.02

    class _Inotify(InotifyFD):
        """Says what watchdog keeps to itself: watches not added, events the kernel dropped."""

        def __init__(self, on_trouble: Callable[[OSError | None], None]) -> None:
            super().__init__()
            self._on_trouble = on_trouble

        def add_callback(
            self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId
        ) -> WatchDescriptor:
            try:
                return super().add_callback(path, mask, callback, id_)
            except OSError as error:
                self._on_trouble(error)
                raise

        def handle_event(self, event: InotifyEvent) -> None:
            super().handle_event(event)
            if event.is_queue_overflow:
                self._on_trouble(None)


class _Events(FileSystemEventHandler):
    """Hints from watchdog by real path, and which real folders it watches.

    `failure` is set when the kernel refused a watch for want of room: events are incomplete then.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self.failure: OSError | None = None
        self._wake = wake
        self._lock = threading.Lock()
        self._hints: dict[str, int] = {}
        self._overflow = False
        self._observer: BaseObserver | None = None
        self._threads: list[BaseThread] = []
        self._watches: dict[str, tuple[ObservedWatch, tuple[int, int]]] = {}

    def dispatch(self, event: FileSystemEvent) -> None:
        """Runs in watchdog's thread, which an exception would end."""
        src, dest = os.fsdecode(event.src_path), os.fsdecode(event.dest_path)
        if event.is_directory:
            self._hint({src: FOLDER, dest: FOLDER})
        elif dest:
            self._hint({src: SEEN, dest: SETTLED})
        else:
            self._hint({src: SETTLED if isinstance(event, FileClosedEvent) else SEEN})

    def take(self) -> tuple[dict[str, int], bool]:
        """The hints since the last call, and whether some were lost (walk the tree then)."""
        with self._lock:
            hints, lost = self._hints, self._overflow
            self._hints, self._overflow = {}, False
        return hints, lost

    def _hint(self, hints: dict[str, int]) -> None:
        with self._lock:
            idle = not self._hints and not self._overflow
            for path, weight in hints.items():
                self._hints[path] = max(weight, self._hints.get(path, SEEN))
            if len(self._hints) > MAX_HINTS or not hints:
                self._hints, self._overflow = {}, True
        if idle:
            with contextlib.suppress(RuntimeError):  # the event loop is closed
                self._wake()

    def _on_trouble(self, error: OSError | None) -> None:
        if error is None:
            self._hint({})
        elif error.errno in {errno.ENOSPC, errno.ENOMEM, errno.EMFILE}:
            self.failure = error

    def sync(self, wanted: dict[str, bool]) -> bool:
        """Watch these real folders (True: with all below) and no others; whether one is new."""
        try:
            return self._sync(wanted)
        except (KeyError, RuntimeError) as error:
            # watchdog's own books can be wrong after many folders were moved.
            logger.warning("watching files failed (%r); it is started again", error)
            self.stop()
            return True

    def _sync(self, wanted: dict[str, bool]) -> bool:
        if not all(thread.is_alive() for thread in self._threads):
            logger.warning("the thread that watches files had ended; it is started again")
            self.stop()
        try:
            observer = self._observer or self._start()
        except OSError as error:
            self._on_trouble(error)
            return False
        alive = {emitter.watch for emitter in observer.emitters if emitter.is_alive()}
        for folder, (watch, identity) in list(self._watches.items()):
            stale = watch not in alive or _identity(folder) != identity
            if stale or wanted.get(folder) != watch.is_recursive:
                observer.unschedule(watch)
                del self._watches[folder]
        new = False
        for folder in wanted.keys() - self._watches.keys():
            if (found := _identity(folder)) is None:
                continue
            with contextlib.suppress(OSError):  # what matters of it came to _on_trouble
                watch = observer.schedule(
                    self, folder, recursive=wanted[folder], event_filter=EVENTS
                )
                self._watches[folder] = watch, found
                new = True
        return new

    def _start(self) -> BaseObserver:
        # Said when a folder is found by its event and by a walk at once (`cp -r`): harmless, and
        # where warnings are errors it would end the thread.
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
        if sys.platform == "linux":
            inotify = _Inotify(self._on_trouble)
            observer = BaseObserver(InotifyFullEmitter, inotify_fd=inotify)
            self._threads = [inotify, observer]
        else:
            observer = Observer()
            self._threads = [observer]
        for thread in self._threads:
            thread.start()
        self._observer = observer
        return observer

    def stop(self) -> None:
        """End watchdog's threads; `sync` starts them anew."""
        for thread in reversed(self._threads):
            with contextlib.suppress(KeyError, OSError, RuntimeError):  # its books again
                thread.stop()
        for thread in self._threads:
            thread.join(timeout=0.2)
        self._observer, self._threads, self._watches, self.failure = None, [], {}, None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    """A path that has not settled: what it looks like, since when (monotonic), when to look."""

    stat: Stat | None
    since: float
    due: float
    closed: bool = False


class Watcher:
    """Batches of settled paths of `root`; an async context manager and an async iterator.

    A batch holds absolute paths, below `root` as it was given, that were added, changed or deleted:
    look whether they exist. The first comes at once and holds all candidates present, but those
    that are being written; it may be empty, later ones are not. What is reported while nobody
    asks is merged. A touch is reported, a chmod is not; comparing contents is the caller's part.

    A missing root is waited for. A root that is lost says nothing about its files: no deletion is
    reported, and when it is back the differences are. `polling` uses no events, but a walk every
    second (network mounts). `ignore`: see `is_candidate`.
    """

    def __init__(
        self,
        root: Path,
        *,
        ignore: Sequence[str] = (),
        settle_s: float = 0.5,
        rescan_s: float = 30.0,
        polling: bool = False,
    ) -> None:
        self._root = os.path.abspath(root)
        self._ignore, self._settle_s, self._rescan_s = tuple(ignore), settle_s, rescan_s
        self._polling = polling
        self._stopping = threading.Event()
        self._wake, self._news = asyncio.Event(), asyncio.Event()
        self._ready: frozenset[Path] = frozenset()
        self._asked: frozenset[str] = frozenset()
        self._requests: deque[tuple[frozenset[str], dict[str, Stat]]] = deque()
        # From here on for the worker only.
        self._lost = False
        self._real_root: str | None = None
        self._root_id: tuple[int, int] | None = None
        self._first = True
        self._followed: frozenset[str] = frozenset()
        self._seen: dict[str, Stat] = {}  # as reported last
        self._pending: dict[str, _Rest] = {}
        self._tree: _Tree | None = None
        self._spelled: dict[str, set[str]] = {}  # real path → as we name it
        self._wanted: dict[str, bool] = {}
        self._rescan_at = self._rescan_from = 0.0
        self._degraded_at: float | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._events = _Events(lambda: loop.call_soon_threadsafe(self._wake.set))
        self._task = asyncio.create_task(self._run(), name="watch")
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._stopping.set()
        self._wake.set()
        await self._task

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> frozenset[Path]:
        return await self.next_batch()

    async def next_batch(self) -> frozenset[Path]:
        """Wait for the next batch; StopAsyncIteration once the watcher is closed."""
        await self._news.wait()
        if self._task.done():
            self._task.result()
            raise StopAsyncIteration
        self._news.clear()
        batch, self._ready = self._ready, frozenset()
        return batch

    def follow(self, paths: Iterable[Path], *, since: float | None = None) -> None:
        """Report changes of exactly these files too, whatever their names and wherever they are.

        Replaces the paths of the call before. A path is reported as it is given here (made
        absolute) when the file it leads to changes, through links. Changes count from this call;
        with `since` (`time.time()`, before the caller read them) also those from then on.
        """
        asked = frozenset(os.path.abspath(path) for path in paths)
        base: dict[str, Stat] = {}
        for path in asked - self._asked:
            with contextlib.suppress(OSError):
                found = os.stat(path)
                base[path] = (found.st_ino, found.st_size, found.st_mtime_ns)
                if since is not None and found.st_ctime > since - TICK_S:
                    base[path] = UNREAD
            if path not in base and since is not None:
                base[path] = UNREAD
        self._asked = asked
        self._requests.append((asked, base))
        self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(COALESCE_S)  # what was written just before is older than a tick now
        try:
            while not self._stopping.is_set():
                settled, wait_s = await asyncio.to_thread(self._pass)
                self._ready |= settled
                if settled or self._first:
                    self._news.set()
                self._first = False
                timer = loop.call_later(wait_s, self._wake.set)
                await self._wake.wait()
                timer.cancel()
                if loop.time() < timer.when() and not self._stopping.is_set():
                    await asyncio.sleep(COALESCE_S)
                self._wake.clear()
        finally:
            await asyncio.to_thread(self._events.stop)
            self._task.add_done_callback(lambda _: self._news.set())

    def _pass(self) -> tuple[frozenset[Path], float]:
        """Look at what was hinted at or is due: what has settled; seconds until the next look."""
        hints, lost_some = self._events.take()
        self._check_root()
        while self._requests:
            self._adopt(*self._requests.popleft())
        self._sync()
        if lost_some:
            self._ask_rescan()
        paths = self._named(hints)
        now = time.monotonic()
        for path, rest in self._pending.items():
            if rest.due <= now:
                paths.setdefault(path, False)
        if now >= self._rescan_at:
            for path in self._rescan():
                paths.setdefault(path, False)
        settled = [path for path, closed in paths.items() if self._has_settled(path, closed=closed)]
        dues = (rest.due for rest in self._pending.values())
        next_at = min(self._rescan_at, time.monotonic() + CHECK_S, *dues)
        return frozenset(map(Path, settled)), max(0.001, next_at - time.monotonic())

    def _check_root(self) -> None:
        real, identity, problem = os.path.realpath(self._root), None, ""
        try:
            with os.scandir(self._root):
                identity = _identity(self._root)
        except OSError as error:
            problem = error.strerror or str(error)
        if bool(problem) != self._lost:
            self._lost = bool(problem)
            if problem:
                logger.warning("%s can't be read (%s); waiting for it", self._root, problem)
            else:
                logger.info("%s is back", self._root)
        if (real, identity) != (self._real_root, self._root_id):
            self._real_root, self._root_id = real, identity
            self._rewire()
            self._ask_rescan()

    def _adopt(self, asked: frozenset[str], base: dict[str, Stat]) -> None:
        """Begin and end following; candidates have a history, the others begin with `base`."""
        for path in self._followed - asked:
            if not self._is_script(path):
                self._seen.pop(path, None)
                self._pending.pop(path, None)
        self._followed = asked
        for path, stat in base.items():
            if not self._is_script(path):
                self._seen[path] = stat
                if stat == UNREAD:
                    self._pending[path] = _Rest(stat=stat, since=0.0, due=0.0)
        self._rewire()

    def _is_script(self, path: str) -> bool:
        relative = self._relative(path)
        return relative is not None and _is_candidate(relative, self._ignore)

    def _relative(self, path: str) -> str | None:
        prefix = self._root + "/"
        return path[len(prefix) :] if path.startswith(prefix) else None

    def _rewire(self) -> None:
        """Which real paths stand for which of ours, and which real folders are to be watched."""
        links, known = (self._tree.links, self._tree.files) if self._tree else (set(), {})
        self._spelled = {}
        for path in [self._root, *links, *(self._followed - known.keys())]:
            folder, name = os.path.split(path)
            for real in {os.path.realpath(path), os.path.join(os.path.realpath(folder), name)}:
                self._spelled.setdefault(real, set()).add(path)
        trees = {os.path.realpath(self._root)} | (
            self._tree.linked_folders if self._tree else set()
        )
        self._wanted = dict.fromkeys(trees, True)
        for folder in sorted({os.path.dirname(real) for real in self._spelled.keys() - trees}):
            if (
                not any(_lies_in(folder, tree) for tree in trees)
                and len(self._wanted) < MAX_FOLDERS
            ):
                self._wanted[folder] = False

    def _sync(self) -> None:
        if self._polling:
            return
        now = time.monotonic()
        if self._degraded_at is not None and now > self._degraded_at + RETRY_EVENTS_S:
            self._degraded_at = now
            self._events.stop()
        if self._events.sync(self._wanted):
            # What changed between the last walk and the watch made no event.
            self._rescan_at = min(self._rescan_at, now + self._settle_s)
        if (failure := self._events.failure) and self._degraded_at is None:
            self._degraded_at = now
            instances = failure.errno == errno.EMFILE
            remedy = "max_user_instances=512" if instances else "max_user_watches=524288"
            logger.warning(
                "%s: the kernel's limit of file watches is reached; changes are looked for every "
                "%g s instead. Raise it: sysctl fs.inotify.%s",
                self._root,
                self._interval_s(),
                remedy,
            )
        elif failure is None and self._degraded_at is not None:
            self._degraded_at = None
            logger.info("%s is watched by events again", self._root)

    def _interval_s(self) -> float:
        if self._polling:
            return min(self._rescan_s, CHECK_S)
        return (
            self._rescan_s if self._degraded_at is None else min(self._rescan_s, DEGRADED_RESCAN_S)
        )

    def _ask_rescan(self) -> None:
        at = max(time.monotonic() + COALESCE_S, self._rescan_from)
        self._rescan_at = min(self._rescan_at, at)

    def _named(self, hints: dict[str, int]) -> dict[str, bool]:
        """Our names for the real paths hinted at, with whether they were closed or moved in."""
        paths: dict[str, bool] = {}
        for real, weight in hints.items():
            for path in self._names_of(real):
                relative = self._relative(path)
                if relative is not None and not _is_private(relative):
                    known_link = self._tree is not None and path in self._tree.links
                    if weight == FOLDER or known_link or os.path.islink(path):
                        self._ask_rescan()
                if path in self._followed or self._is_script(path):
                    paths[path] = paths.get(path, False) or weight == SETTLED
        return paths

    def _names_of(self, real: str) -> set[str]:
        names: set[str] = set()
        head, tail = real, ""
        while head:
            names.update(spelled + tail for spelled in self._spelled.get(head, ()))
            head, _, name = head.rpartition("/")
            tail = f"/{name}{tail}"
        return names

    def _rescan(self) -> set[str]:
        """Walk the tree; the paths that differ from what was reported last, and all followed."""
        begin = time.monotonic()
        tree = self._tree = _Tree(self._root, self._ignore, self._stopping.is_set)
        self._rewire()
        end = time.monotonic()
        self._rescan_from = end + 5 * (end - begin)  # walks take a sixth of a core at most
        self._rescan_at = max(end + self._interval_s(), self._rescan_from)
        self._sync()
        gone = self._seen.keys() - tree.files.keys()
        if tree.unreadable:
            gone = {p for p in gone if not any(_lies_in(p, u) for u in tree.unreadable)}
        changed = {path for path, stat in tree.files.items() if self._seen.get(path) != stat}
        return set() if self._stopping.is_set() else changed | gone | self._followed

    def _has_settled(self, path: str, *, closed: bool) -> bool:
        """Whether to report the path now; what has to wait goes to `_pending`."""
        rest = self._pending.pop(path, None)
        try:
            stat = _stat(path)
        except OSError:
            return False  # can't be known now; the next walk asks again
        lost = stat is None and self._lost and self._relative(path) is not None
        if lost or stat == self._seen.get(path):
            return False
        now = time.monotonic()
        age_s = time.time() - stat[2] / 1e9 if stat else 0.0
        if rest is None or rest.stat != stat:
            since = now - max(0.0, age_s) if self._first else now
            rest = _Rest(stat=stat, since=since, due=now, closed=rest is not None and rest.closed)
        writer = stat is not None and _has_writer(path)
        closed = (closed or rest.closed or (self._first and writer is False)) and not writer
        settled = not writer and now - rest.since >= self._settle_s
        racy = not self._first and 0 <= age_s < TICK_S
        if settled or (stat is not None and closed and not racy):
            if stat is None:
                del self._seen[path]
            else:
                self._seen[path] = stat
            return True
        wait_from = now if writer else rest.since
        due = now + TICK_S if closed else wait_from + self._settle_s
        self._pending[path] = replace(rest, due=due, closed=closed)
        return False
