"""What lies in a folder, which of it can be a script, and whether somebody still writes it."""

# Paths are strings in here: a walk of 10,000 files makes no Path.
# ruff: noqa: PTH100, PTH112, PTH116

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat as stat_bits
import sys
from collections import deque
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path, PurePath

SUFFIXES = (".js", ".ts")
Stat = tuple[int, int, int]  # inode, size in bytes, mtime in ns
UNREAD: Stat = (0, 0, 0)  # equals no file's


def is_candidate(relative: PurePath, ignore: Sequence[str] = ()) -> bool:
    """Whether the path, relative to the root, can be a script.

    The name ends in .js or .ts, in lower case (k6 itself takes `.TS` for JavaScript), and is UTF-8;
    no component is hidden or `node_modules`. So temporary and swap files of editors are none:
    `.#a.js`, `.a.js.swp`, `#a.js#`, `a.js~`, `4913`, `a.js.tmp`, `a.js___jb_tmp___`.

    A pattern of `ignore` is a glob, case-sensitive, matched component by component: `*`, `?` and
    `[…]` don't cross a `/`, `**` stands for any number of components (at the end: one or more).
    Without a `/` (but for a last one) it matches in any folder, else from the root on. What matches
    a folder takes all that lies in it; with a `/` at the end it matches folders only. No `!`.
    """
    return names_script(relative.as_posix(), tuple(ignore))


def names_script(relative: str, ignore: tuple[str, ...]) -> bool:
    if not relative.endswith(SUFFIXES) or is_private(relative) or not is_text(relative):
        return False
    return not (ignore and is_ignored(relative, ignore))


def is_text(path: str) -> bool:
    """Whether a path is UTF-8, as all that is written of a script must be."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_ignored(relative: str, ignore: tuple[str, ...]) -> bool:
    names = tuple(relative.split("/"))
    return any(
        _matches(names[:-1] if folders_only else names, pattern)
        for pattern, folders_only in map(_parse, ignore)
    )


def is_private(relative: str) -> bool:
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


def stat_of(path: str) -> Stat | None:
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


def has_writer(path: str) -> bool | None:
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


class Tree:
    """What a walk found: candidates, the links that matter, what can't be read or isn't UTF-8.

    Each real folder is walked once, real ones before linked ones (so of two spellings inside the
    root the one without links counts); a link to a folder that holds the root is a loop, left out.
    """

    def __init__(self, root: str, ignore: tuple[str, ...], stopped: Callable[[], bool]) -> None:
        self.files: dict[str, Stat] = {}
        self.links: set[str] = set()
        self.linked_folders: set[str] = set()  # real paths
        self.unreadable: list[str] = []
        self.misnamed: set[str] = set()
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
            if real not in visited and not lies_in(real_root, real):
                self.links.add(link)
                self.linked_folders.add(real)
                self._todo.append((link, real))

    def _ignores(self, path: str) -> bool:
        return bool(self._ignore) and is_ignored(path[self._prefix :], self._ignore)

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
                    self._take(path, linked=linked)
            except OSError:
                self.unreadable.append(entry.path)

    def _take(self, path: str, *, linked: bool) -> None:
        if not is_text(path):
            self.misnamed.add(path)
            return
        if linked:
            self.links.add(path)
        if (found := stat_of(path)) is not None:
            self.files[path] = found


def candidates_in(root: Path, ignore: Sequence[str] = ()) -> set[str]:
    """What can be a script below a folder, linked folders too, by its path relative to it."""
    top = os.path.abspath(root)
    tree = Tree(top, tuple(ignore), lambda: False)
    return {path[len(top) + 1 :] for path in tree.files}


def lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def identity_of(folder: str) -> tuple[int, int] | None:
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino
