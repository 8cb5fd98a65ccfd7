"""Makes, locks, renames and removes what is below the data folder, and follows no link there.

The data folder itself may be a link. A link below it leads to something that k6d did not make, so
each function here looks at every part of a path below `root`, the data folder, before it acts.
No other module calls unlink, rmtree or rename; tests/test_data_folder.py checks that.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING

from k6d.core.model import K6dError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600
# What k6d makes in a data folder, and in which of its folders there are folders again.
FOLDERS = ("index", "one-off", "outbox", "runs", "slots", "snapshots", "state", "work")
FILES = ("api-token", "daemon.lock")
_NESTED = {"index", "outbox", "runs", "slots"}
# Folders that are removed whole, by the folder that they are in.
_REMOVABLE = {
    "work": re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}"),
    "one-off": re.compile(r"[0-9a-f]{12,20}"),
    "index": re.compile(r"generation-[0-9a-f-]{8,}"),
}


class LinkError(K6dError):
    """A link is where k6d keeps a file or a folder of its own."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(
            f"{path}: is a link, and nothing behind it is k6d's; remove the link and put the file "
            "or folder itself there (for a folder on another disk, use a bind mount)"
        )
        self.path = path


class NotAFileError(K6dError):
    """A folder, a pipe or a device is where k6d keeps a file."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(f"{path}: is not a regular file, as k6d makes it; move it away")


def refuse_link(path: Path) -> None:
    """LinkError when `path` is a link."""
    if path.is_symlink():
        raise LinkError(path)


def refuse_links(data: Path) -> None:
    """LinkError when a file or folder that k6d keeps in the data folder is a link; cheap.

    The files of single runs, snapshots and messages are not looked at: they are many.
    """
    for name in (*FILES, *FOLDERS):
        refuse_link(data / name)
    for folder in (data / name for name in FOLDERS):
        if folder.name in _NESTED or folder.name == "state":
            for entry in _entries(folder):
                if entry.is_symlink():
                    raise LinkError(folder / entry.name)


def check_way(path: Path, *, root: Path) -> None:
    """LinkError when `path`, or a folder between it and `root`, is a link.

    ValueError when `path` is not below `root`.
    """
    way = root
    for part in path.relative_to(root).parts:
        if part == "..":
            raise ValueError(f"{path} leads out of {root}")
        way /= part
        refuse_link(way)


def make_folder(path: Path, *, root: Path) -> None:
    """Make `path`, which is `root` or below it, and its parents, for this user only; durably."""
    check_way(path, root=root)
    _make(path)


def _make(path: Path) -> None:
    if path.is_dir():
        return
    _make(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=FOLDER_MODE)
    sync_folder(path.parent)


def new_folder(path: Path, *, root: Path) -> None:
    """Make the folder `path` for this user only; FileExistsError when there is something."""
    make_folder(path.parent, root=root)
    refuse_link(path)
    path.mkdir(mode=FOLDER_MODE)


def sync_folder(path: Path) -> None:
    """Let the names in the folder be on the disk: a file synced into a lost folder is lost."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_lock(path: Path, *, root: Path) -> int:
    """A descriptor of the lock file `path`, which is made for this user only; may raise OSError."""
    check_way(path, root=root)
    # Without O_NONBLOCK a FIFO would keep us here.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, FILE_MODE)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NotAFileError(path)
    return descriptor


def open_file(path: Path | str) -> int:
    """A descriptor to read a file of k6d's; OSError, LinkError, or K6dError when it is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise LinkError(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFileError(path)
    return descriptor


def read_file(path: Path | str) -> bytes:
    """The contents of a file of k6d's; errors as those of `open_file`."""
    with os.fdopen(open_file(path), "rb") as file:
        return file.read()


def replace_file(source: Path | str, target: Path, *, root: Path) -> None:
    """Rename `source` to `target`, whose old contents are gone then; may raise OSError."""
    check_way(target.parent, root=root)
    os.replace(source, target)  # noqa: PTH105  (`source` may be a text)


def move_file(source: Path, target: Path, *, root: Path) -> None:
    """As `replace_file`, from another folder of the data folder, which is made if need be."""
    check_way(source, root=root)
    make_folder(target.parent, root=root)
    replace_file(source, target, root=root)


def set_aside(path: Path, *, root: Path) -> Path:
    """Rename what does not parse, so that it is kept but not read again; its new path."""
    aside = path_aside(path)
    replace_file(path, aside, root=root)
    return aside


def path_aside(path: Path) -> Path:
    """Where `path` is kept when it does not parse; nothing is there yet."""
    aside = path.with_name(f"{path.name}.unreadable")
    if os.path.lexists(aside):
        aside = path.with_name(f"{path.name}.{token_hex(3)}.unreadable")
    return aside


def remove_file(path: Path, *, root: Path) -> None:
    """Remove the file `path`; nothing happens when there is none; may raise OSError."""
    check_way(path.parent, root=root)
    path.unlink(missing_ok=True)


def removable(folder: Path) -> Iterator[Path]:
    """The folders in `folder` whose names k6d gave them, for `remove_folder`, by name."""
    refuse_link(folder)
    pattern = _REMOVABLE[folder.name]
    for entry in sorted(_entries(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False) and pattern.fullmatch(entry.name):
            yield folder / entry.name


def remove_folder(path: Path, *, root: Path) -> None:
    """Remove a folder of a job, of a posted script or of an index, with all that is in it.

    ValueError when it is none of those. What the disk refuses to remove stays.
    """
    top, name = path.relative_to(root).parts
    if not (top in _REMOVABLE and _REMOVABLE[top].fullmatch(name)):
        raise ValueError(f"{path} is not a folder that k6d removes")
    check_way(path, root=root)
    shutil.rmtree(path, ignore_errors=True)  # which does not follow links either


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
