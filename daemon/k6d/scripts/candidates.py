"""Lists the files of a folder that can be scripts, and checks whether a process writes to one.

Paths are strings in this module: building 10,000 Path objects would make each walk slow.
"""

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
UNREAD: Stat = (0, 0, 0)  # differs from the Stat of every real file


def is_candidate(relative: PurePath, ignore: Sequence[str] = ()) -> bool:
    """Return whether the path, relative to the scripts folder, can be a script.

    The name must be UTF-8 and end in .js or .ts, in lower case (k6 reads `.TS` as JavaScript). No
    component of the path may start with a dot or be `node_modules`. These rules leave out the
    temporary and swap files of editors: `.#a.js`, `.a.js.swp`, `#a.js#`, `a.js~`, `4913`,
    `a.js.tmp`, `a.js___jb_tmp___`.

    Each pattern in `ignore` is a case-sensitive glob, matched component by component. `*`, `?` and
    `[…]` don't cross a `/`. `**` stands for any number of components, and for one or more at the
    end. A pattern without a `/` inside matches in any folder; other patterns start at the scripts
    folder. A pattern that matches a folder ignores everything in it. A pattern that ends in `/`
    matches folders only. `!` has no special meaning.
    """
    return names_script(relative.as_posix(), tuple(ignore))


def names_script(relative: str, ignore: tuple[str, ...]) -> bool:
    if not relative.endswith(SUFFIXES) or is_private(relative) or not is_text(relative):
        return False
    return not (ignore and is_ignored(relative, ignore))


def is_text(path: str) -> bool:
    """Return whether a path is UTF-8; k6d cannot store or report other names."""
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
    """Return a file's Stat, or None if the file is missing or not a regular file.

    Other errors, such as a missing permission, raise OSError.
    """
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
    """Return whether a process has the file open for writing; None if the kernel can't tell.

    The kernel refuses a read lease on a file that is open for writing. If a process opens the file
    for writing while this function holds the lease, the kernel sends k6d a signal. The default
    signal, SIGIO, would kill k6d, so SIGURG replaces it: every thread ignores SIGURG by default.
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
    """The result of one walk: candidates, links, unreadable paths, and names that are not UTF-8.

    Each real folder is walked once. Folders reached without a link come first, so a file that has
    two paths in the scripts folder gets the path without links. A link to a folder that contains
    the scripts folder is skipped, because it is a loop.
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
        """Record the entries of one folder, and yield its links to folders for a later walk."""
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
    """Return the candidates below a folder and its linked folders, as relative paths."""
    top = os.path.abspath(root)
    tree = Tree(top, tuple(ignore), lambda: False)
    return {path[len(top) + 1 :] for path in tree.files}


def lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
