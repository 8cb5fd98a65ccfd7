"""Watches a folder and reports changed paths in batches, once each path has settled.

Events are only hints. The watcher compares (inode, size, mtime) with what it reported last. So a
lost event delays a report until the next walk, and a superfluous event changes nothing.

A path has settled in one of two cases, and only while no process has it open for writing:

1. It was closed after writing, or it was moved in under its final name.
2. It was unchanged (or missing) for `settle_s` seconds.

Where the kernel can't tell whether a process writes (not Linux, a file of another user, some
network mounts), only the time counts: a writer that pauses longer than `settle_s` is not noticed.

Worker threads do all the work except receiving events, one call at a time. So a walk never blocks
the event loop, and the state needs no locks.

Paths are strings in this module: building 10,000 Path objects would make each walk slow.
"""

# ruff: noqa: PTH100, PTH114

from __future__ import annotations

import asyncio
import errno
import logging
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from k6d.core.identity import identity_of
from k6d.core.reading import SlowError, in_thread_without_limit
from k6d.scripts.candidates import (
    UNREAD,
    Tree,
    is_private,
    lies_in,
    names_script,
    stat_of,
)
from k6d.scripts.elsewhere import Elsewhere
from k6d.scripts.inotify import FOLDER, SETTLED, Events
from k6d.scripts.real_paths import RealPaths
from k6d.scripts.settling import TICK_S, Settling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

logger = logging.getLogger(__name__)

T = TypeVar("T")

COALESCE_S = 0.015  # one save makes several events; a shorter wait would split those of vim
CHECK_S = 1.0  # how often the root's identity and watchdog's threads are checked
DEGRADED_RESCAN_S = 2.0
RETRY_EVENTS_S = 60.0
SLOW_S = 10.0  # after it, a pass that has not returned is logged
CLOSE_S = 2.0  # how long closing waits for a pass; a mount that hangs must not block the exit
RETRY_S = 5.0


class Watcher:
    """Yields batches of settled paths of `root`; an async context manager and async iterator.

    A batch holds absolute paths that were added, changed or deleted; the caller checks whether
    they exist. The paths start with `root` as it was given. The first batch comes at once and
    holds all candidates, except those that are being written; it may be empty. Later batches are
    never empty. Batches that nobody has fetched are merged. A touch is reported, a chmod is not;
    the caller compares contents.

    The watcher waits for a missing root. While the root cannot be read, no deletion is reported;
    once it is back, the differences are reported. With `polling`, a walk every second replaces the
    events (for network mounts). For `ignore`, see `is_candidate`.
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
        self._requests: deque[tuple[frozenset[str], float]] = deque()
        # Only the worker thread uses the attributes below.
        self._lost = False
        self._real_root: str | None = None
        self._root_id: tuple[int, int] | None = None
        self._first = True
        self._followed: frozenset[str] = frozenset()
        self._settling = Settling(settle_s)
        self._tree: Tree | None = None
        self._elsewhere = Elsewhere()
        self._paths = RealPaths(self._root)
        self._rescan_at = self._rescan_from = 0.0
        self._degraded_at: float | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._events = Events(lambda: loop.call_soon_threadsafe(self._wake.set))
        self._task = asyncio.create_task(self._run(), name="watch")
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._stopping.set()
        self._wake.set()
        done, _ = await asyncio.wait({self._task}, timeout=CLOSE_S)
        if done:
            self._task.result()
            return
        self._task.cancel()
        await asyncio.wait({self._task})

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> frozenset[Path]:
        return await self.next_batch()

    async def next_batch(self) -> frozenset[Path]:
        """Wait for the next batch and return it; StopAsyncIteration once the watcher is closed."""
        await self._news.wait()
        if self._task.done():
            if not self._task.cancelled():
                self._task.result()
            raise StopAsyncIteration
        self._news.clear()
        batch, self._ready = self._ready, frozenset()
        return batch

    def follow(self, paths: Iterable[Path], *, since: float | None = None) -> None:
        """Report changes of these files too, whatever their names and wherever they are.

        Each call replaces the paths of the previous call. Links are followed: a path is reported,
        made absolute, when its target changes. Changes since this call are reported, or since
        `since`, a `time.time()` from before the caller read the files.
        """
        asked = frozenset(os.path.abspath(path) for path in paths)
        if asked == self._asked:
            return
        self._asked = asked
        self._requests.append((asked, time.time() if since is None else since))
        self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(COALESCE_S)  # files written just before start are now older than TICK_S
        try:
            while not self._stopping.is_set():
                settled, wait_s = await self._look()
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
            self._task.add_done_callback(lambda _: self._news.set())
            self._events.stop()

    async def _look(self) -> tuple[frozenset[Path], float]:
        """Run one pass in a thread; log any error, so that the watcher goes on."""

        def on_slow() -> None:
            logger.error("%s: the look for changes hangs; does a mount not answer?", self._root)

        try:
            return await in_thread_without_limit(self._pass, slow_s=SLOW_S, on_slow=on_slow)
        except (OSError, SlowError) as error:
            logger.error("%s: changes are looked for again in %g s: %s", self._root, RETRY_S, error)
        except Exception:
            logger.exception("%s: a mistake of k6d's own; please report it", self._root)
        self._rescan_at = 0.0
        return frozenset(), RETRY_S

    def _pass(self) -> tuple[frozenset[Path], float]:
        """Check the paths that had events or are due.

        Return the paths that have settled, and the seconds until the next pass.
        """
        hints, lost_some = self._events.take()
        self._check_root()
        while self._requests:
            self._adopt(*self._requests.popleft())
        self._sync()
        if lost_some:
            self._ask_rescan()
        paths = self._named(hints)
        for path in self._settling.due():
            paths.setdefault(path, False)
        if time.monotonic() >= self._rescan_at:
            for path in self._rescan():
                paths.setdefault(path, False)
        settled = [path for path, closed in paths.items() if self._is_news(path, closed=closed)]
        next_at = min(self._rescan_at, time.monotonic() + CHECK_S, self._settling.next_due())
        return frozenset(map(Path, settled)), max(0.001, next_at - time.monotonic())

    def _check_root(self) -> None:
        real, identity, problem = os.path.realpath(self._root), None, ""
        try:
            with os.scandir(self._root):
                identity = identity_of(self._root)
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
            self._resolve_links()
            self._ask_rescan()

    def _adopt(self, asked: frozenset[str], since: float) -> None:
        """Start and stop following files outside the candidates, which the walk covers already."""
        for path in self._followed - asked:
            if not self._is_script(path):
                self._settling.forget(path)
        new, self._followed = asked - self._followed, self._settling.shared(asked)
        if self._asked is asked:
            self._asked = self._followed
        for path in new:
            if not self._is_script(path):
                self._begin(path, since)
        self._resolve_links()

    def _begin(self, path: str, since: float) -> None:
        """Record the first Stat of a followed file; a file changed after `since` is reported."""
        try:
            found = self._ask(os.stat, path)
        except OSError:  # missing, or no answer: check it again later
            stat = UNREAD
        else:
            changed = found.st_ctime > since - TICK_S
            stat = UNREAD if changed else (found.st_ino, found.st_size, found.st_mtime_ns)
        self._settling.begin(path, stat)

    def _ask(self, function: Callable[[str], T], path: str) -> T:
        """Return `function(path)`; OSError if a path outside the root does not answer in time."""
        here = path == self._root or self._relative(path) is not None
        return function(path) if here else self._elsewhere.ask(function, path)

    def _identify(self, folder: str) -> tuple[int, int] | None:
        try:
            return self._ask(identity_of, folder)
        except OSError:
            return None

    def _is_script(self, path: str) -> bool:
        relative = self._relative(path)
        return relative is not None and names_script(relative, self._ignore)

    def _relative(self, path: str) -> str | None:
        prefix = self._root + "/"
        return path[len(prefix) :] if path.startswith(prefix) else None

    def _resolve_links(self) -> None:
        self._paths.update(
            self._tree, self._followed, lambda path: self._ask(os.path.realpath, path)
        )

    def _sync(self) -> None:
        if self._polling:
            return
        now = time.monotonic()
        if self._degraded_at is not None and now > self._degraded_at + RETRY_EVENTS_S:
            self._degraded_at = now
            self._events.stop()
        if self._events.sync(self._paths.folders, self._identify):
            # Changes between the last walk and the start of the watch made no event.
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
        """Return the reported paths for these real paths; True if one was closed or moved in."""
        paths: dict[str, bool] = {}
        for real, weight in hints.items():
            for path in self._paths.reported(real):
                relative = self._relative(path)
                if relative is not None and not is_private(relative):
                    known_link = self._tree is not None and path in self._tree.links
                    if weight == FOLDER or known_link or os.path.islink(path):
                        self._ask_rescan()
                if path in self._followed or self._is_script(path):
                    paths[path] = paths.get(path, False) or weight == SETTLED
        return paths

    def _rescan(self) -> set[str]:
        """Walk the tree; return the paths that differ from the last report, and all followed."""
        begin, before = time.monotonic(), self._tree
        tree = self._tree = Tree(self._root, self._ignore, self._stopping.is_set)
        for path in sorted(tree.misnamed - (before.misnamed if before else set())):
            logger.warning("%s does not run: its name is not UTF-8; rename it", ascii(path))
        for path in sorted(
            {*tree.unreadable} - {*(before.unreadable if before else ()), self._root}
        ):
            logger.warning("%s cannot be read: scripts in it do not run; chmod u+rx it", path)
        self._resolve_links()
        end = time.monotonic()
        self._rescan_from = end + 5 * (end - begin)  # walks take a sixth of a core at most
        self._rescan_at = max(end + self._interval_s(), self._rescan_from)
        self._sync()
        seen = self._settling.seen
        gone = seen.keys() - tree.files.keys()
        if tree.unreadable:
            gone = {p for p in gone if not any(lies_in(p, u) for u in tree.unreadable)}
        changed = {path for path, stat in tree.files.items() if seen.get(path) != stat}
        unsettled = {path: tree.files[path] for path in changed}
        tree.files = {p: stat for p, stat in seen.items() if p in tree.files} | unsettled
        return set() if self._stopping.is_set() else changed | gone | self._followed

    def _is_news(self, path: str, *, closed: bool) -> bool:
        """Call `_has_settled`; log an unexpected error, so that other paths are still checked."""
        try:
            return self._has_settled(path, closed=closed)
        except Exception:
            logger.exception("%s: a mistake of k6d's own; please report it", path)
            return False

    def _has_settled(self, path: str, *, closed: bool) -> bool:
        """Return whether to report the path now; nothing is deleted while the root is lost."""
        try:
            stat = self._ask(stat_of, path)
        except OSError:
            self._settling.drop(path)  # the next walk asks again
            return False
        if stat is None and self._lost and self._relative(path) is not None:
            self._settling.drop(path)
            return False
        return self._settling.has_settled(path, stat, closed=closed, first=self._first)
