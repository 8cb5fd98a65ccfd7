"""Collects file events from watchdog's threads; the only module that imports watchdog.

Paths are strings in this module: building 10,000 Path objects would be slow.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import threading
import warnings
from typing import TYPE_CHECKING

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
from watchdog.observers.api import BaseObserver, ObservedWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from watchdog.utils import BaseThread

logger = logging.getLogger(__name__)

MAX_HINTS = 20_000  # bounds the memory: above it, the hints are dropped and the tree is walked
SEEN, SETTLED, FOLDER = range(3)  # kinds of hints; a higher one replaces a lower one
EVENTS: list[type[FileSystemEvent]] = [
    *(FileClosedEvent, FileCreatedEvent, FileMovedEvent, FileDeletedEvent),
    *(DirCreatedEvent, DirMovedEvent, DirDeletedEvent),
]

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

    # A "moved from" event delays all later events until its "moved to" arrives, or for this many
    # seconds. The kernel queues the two events together, so watchdog's default of 0.5 s would only
    # delay the reaction to a save.
    InotifyMoveEventGrouper.delay = 0.02

    class _Inotify(InotifyFD):
        """Reports what watchdog does not: watches that the kernel refused, events that it lost."""

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


class Events(FileSystemEventHandler):
    """Holds the hints from watchdog by real path, and the real folders that watchdog watches.

    `failure` is set when the kernel refused a watch because a limit is reached; events are
    incomplete then.
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
        """Turn an event into a hint. It runs in watchdog's thread, which an exception would end."""
        src, dest = os.fsdecode(event.src_path), os.fsdecode(event.dest_path)
        if event.is_directory:
            self._hint({src: FOLDER, dest: FOLDER})
        elif dest:
            self._hint({src: SEEN, dest: SETTLED})
        else:
            self._hint({src: SETTLED if isinstance(event, FileClosedEvent) else SEEN})

    def take(self) -> tuple[dict[str, int], bool]:
        """Return the hints since the last call, and whether some were lost (walk the tree then)."""
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

    def sync(
        self, wanted: dict[str, bool], identify: Callable[[str], tuple[int, int] | None]
    ) -> bool:
        """Watch exactly these real folders (True: recursively); return whether one is new.

        `identify` returns the device and inode of a folder, which change when another folder takes
        its name. If it returns None, the folder is not watched now.
        """
        try:
            return self._sync(wanted, identify)
        except (KeyError, RuntimeError) as error:
            # watchdog's tables of watches can be wrong after many folders were moved.
            logger.warning("watching files failed (%r); it is started again", error)
            self.stop()
            return True

    def _sync(
        self, wanted: dict[str, bool], identify: Callable[[str], tuple[int, int] | None]
    ) -> bool:
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
            stale = watch not in alive or identify(folder) != identity
            if stale or wanted.get(folder) != watch.is_recursive:
                observer.unschedule(watch)
                del self._watches[folder]
        new = False
        for folder in wanted.keys() - self._watches.keys():
            if (found := identify(folder)) is None:
                continue
            with contextlib.suppress(OSError):  # _on_trouble has recorded it
                watch = observer.schedule(
                    self, folder, recursive=wanted[folder], event_filter=EVENTS
                )
                self._watches[folder] = watch, found
                new = True
        return new

    def _start(self) -> BaseObserver:
        # watchdog warns when an event and a walk find the same folder at once (`cp -r`). That is
        # harmless, but where warnings are errors, the warning would end the thread.
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
        """Stop watchdog's threads; the next `sync` starts new ones."""
        for thread in reversed(self._threads):
            with contextlib.suppress(KeyError, OSError, RuntimeError):  # wrong tables, as in sync
                thread.stop()
        for thread in self._threads:
            thread.join(timeout=0.2)
        self._observer, self._threads, self._watches, self.failure = None, [], {}, None
