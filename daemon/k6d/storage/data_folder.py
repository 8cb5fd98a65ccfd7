"""Make, lock, rename and remove files and folders below the data folder, without following links.

The data folder itself may be a link. A link below it leads to something that k6d did not make.
Each function here therefore checks every part of a path below `root`, the data folder, before it
acts. No other module calls unlink, rmtree or rename; tests/storage/test_data_folder.py checks that.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import TYPE_CHECKING

from k6d.core.errors import K6dError
from k6d.core.identity import identity_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600
# The folders and files that k6d makes in a data folder; those in _NESTED hold further folders.
FOLDERS = ("index", "one-off", "outbox", "runs", "slots", "snapshots", "state", "work")
LOCK = "daemon.lock"
FILES = ("api-token", LOCK)
_NESTED = {"index", "outbox", "runs", "slots"}
# The names of folders that k6d removes with all contents, by their parent folder.
_REMOVABLE = {
    "work": re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}"),
    "one-off": re.compile(r"[0-9a-f]{12,20}"),
    "index": re.compile(r"generation-[0-9a-f-]{8,}"),
}

# The folders of `required`, with their identities.
_required: dict[Path, tuple[int, int] | None] = {}


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


def is_of_k6d(path: Path, *, below: Path) -> bool:
    """Whether k6d made this file: it lies in one of the folders of a data folder.

    Data folders are looked for from `below` down to the file.
    """
    parts = path.relative_to(below).parts
    return any(
        name in FOLDERS and below.joinpath(*parts[:depth], LOCK).exists()
        for depth, name in enumerate(parts[:-1])
    )


def refuse_link(path: Path) -> None:
    """LinkError when `path` is a link."""
    if path.is_symlink():
        raise LinkError(path)


def refuse_links(data: Path) -> None:
    """LinkError when a file or folder of k6d in the data folder is a link.

    The files of single runs, snapshots and messages are not checked, because there may be many.
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


@contextmanager
def required(root: Path) -> Iterator[None]:
    """Inside the block, this process makes folders below `root` only while it is the same folder.

    A disk that was unmounted leaves no folder, or an empty one. Writes then fail, and begin no new
    data folder in its place.
    """
    _required[root] = identity_of(root)
    try:
        yield
    finally:
        del _required[root]


def make_folder(path: Path, *, root: Path, durable: bool = True) -> None:
    """Make the folder `path`, `root` itself or below it, and its parents, for this user only.

    If `durable`, the folders are on the disk when this returns; otherwise `sync_tree` follows.
    """
    check_way(path, root=root)
    if root in _required and (identity_of(root) or ()) != _required[root]:
        raise OSError(errno.ESTALE, f"{root} is not what it was at the start", str(path))
    _make(path, durable=durable)


def _make(path: Path, *, durable: bool) -> None:
    if path.is_dir():
        return
    _make(path.parent, durable=durable)
    with suppress(FileExistsError):
        path.mkdir(mode=FOLDER_MODE)
    if durable:
        sync_folder(path.parent)


def new_folder(path: Path, *, root: Path) -> None:
    """Make the folder `path` for this user only; FileExistsError when the path exists."""
    make_folder(path.parent, root=root)
    refuse_link(path)
    path.mkdir(mode=FOLDER_MODE)


def sync_folder(path: Path | str) -> None:
    """Write the folder's names to the disk: without its name a synced file is lost in a crash."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Write all files in `folder` and below to the disk.

    This is much faster than to do so with each file when it is written: the file system writes
    them together with the first.
    """
    for place, _, files in os.walk(folder):
        for name in files:
            descriptor = open_file(f"{place}/{name}")
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    for place, _, _ in os.walk(folder):
        sync_folder(place)


def open_lock(path: Path, *, root: Path) -> int:
    """A descriptor of the lock file `path`; makes the file, for this user only, if need be.

    Raises OSError, LinkError, or NotAFileError when the path is no regular file.
    """
    check_way(path, root=root)
    # O_NONBLOCK: opening a FIFO must not block.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, FILE_MODE)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NotAFileError(path)
    return descriptor


def open_file(path: Path | str) -> int:
    """A descriptor to read one of k6d's files; raises OSError, LinkError or NotAFileError."""
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
    """The contents of one of k6d's files; errors as in `open_file`."""
    with os.fdopen(open_file(path), "rb") as file:
        return file.read()


def replace_file(source: Path | str, target: Path, *, root: Path) -> None:
    """Rename `source` to `target`, replacing a file there; may raise OSError."""
    check_way(target.parent, root=root)
    os.replace(source, target)  # noqa: PTH105  (`source` may be a str)


def move_file(source: Path, target: Path, *, root: Path) -> None:
    """As `replace_file`, between folders of the data folder; makes the target's folder."""
    check_way(source, root=root)
    make_folder(target.parent, root=root)
    replace_file(source, target, root=root)


def set_aside(path: Path, *, root: Path) -> Path:
    """Rename an unreadable or corrupt file to `….unreadable`; returns the new path."""
    aside = path_aside(path)
    replace_file(path, aside, root=root)
    return aside


def path_aside(path: Path) -> Path:
    """An unused path for `set_aside`: `path` with the ending `.unreadable`."""
    aside = path.with_name(f"{path.name}.unreadable")
    if os.path.lexists(aside):
        aside = path.with_name(f"{path.name}.{token_hex(3)}.unreadable")
    return aside


def remove_file(path: Path, *, root: Path) -> None:
    """Remove the file `path` if it exists; may raise OSError."""
    check_way(path.parent, root=root)
    path.unlink(missing_ok=True)


def removable(folder: Path) -> Iterator[Path]:
    """The folders in `folder` that `remove_folder` accepts, sorted by name."""
    refuse_link(folder)
    pattern = _REMOVABLE[folder.name]
    for entry in sorted(_entries(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False) and pattern.fullmatch(entry.name):
            yield folder / entry.name


def remove_folder(path: Path, *, root: Path) -> None:
    """Remove the folder of a job, a posted script or an index generation with all its contents.

    ValueError for any other folder. Files that the system refuses to remove stay, without an error.
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
