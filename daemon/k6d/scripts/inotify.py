"""The bridge from watchdog's threads: hints about real paths; the only importer of watchdog."""

# Paths are strings in here: a walk of 10,000 files makes no Path.

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

MAX_HINTS = 20_000  # beyond, the hints are dropped and the tree is walked: memory stays bounded
SEEN, SETTLED, FOLDER = range(3)  # hints, by weight
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


class Events(FileSystemEventHandler):
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

    def sync(
        self, wanted: dict[str, bool], identify: Callable[[str], tuple[int, int] | None]
    ) -> bool:
        """Watch these real folders (True: with all below) and no others; whether one is new.

        `identify` gives what tells a folder from another by its name; None: do not watch it now.
        """
        try:
            return self._sync(wanted, identify)
        except (KeyError, RuntimeError) as error:
            # watchdog's own books can be wrong after many folders were moved.
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
