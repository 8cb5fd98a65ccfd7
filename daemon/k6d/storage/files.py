"""Atomic replacement of files, locks, leftovers, and disk errors with a remedy.

`root` is the data folder; links below it are refused (`k6d.storage.data_folder`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, BinaryIO

from k6d.core.errors import K6dError, reason
from k6d.storage import data_folder
from k6d.storage.data_folder import FILE_MODE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Process ids are used again after a restart (in a container at once, by k6d itself). A leftover may
# thus seem to have a living owner; but writing one file never takes an hour.
OLDEST_TEMP_S = 3600.0
# Times of files are as coarse as this on some file systems: two changes may have equal times.
YOUNG_NS = 2_000_000_000

_TEMP_NAME = re.compile(r"\..+\.([0-9]+)-[0-9a-f]{8}\.tmp")
_REMEDIES = {
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f, LimitFSIZE=)",
    errno.EROFS: "make that file system writable or choose another data folder",
    errno.EACCES: "give the user that runs k6d access to it",
    errno.EPERM: "give the user that runs k6d access to it",
}


@contextmanager
def disk_errors(doing: str, path: Path | str) -> Iterator[None]:
    """Turn an OSError into a K6dError that names `path` and the remedy; `doing` is a verb."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the disk and the data folder")
        raise K6dError(f"cannot {doing} {path}: {reason(error)}; {remedy}") from error


@contextmanager
def replacing(path: Path, *, root: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """A new file that replaces `path` on the disk when the block ends without an error.

    Only this user can read it. `path` always has the whole old or the whole new contents. A failed
    write leaves no temporary file. Raises K6dError when the disk refuses. If not `durable`, a power
    cut may lose the file until `data_folder.sync_tree` has written it to the disk.
    """
    with disk_errors("write", path):
        data_folder.make_folder(path.parent, root=root, durable=durable)
        # A str: pathlib interns each name, which would take memory for each temporary file.
        temp = f"{path.parent}/.{path.name}.{os.getpid()}-{token_hex(4)}.tmp"
        try:
            descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            data_folder.replace_file(temp, path, root=root)
        except BaseException:
            data_folder.remove_file(Path(temp), root=root)
            raise
        if durable:
            data_folder.sync_folder(path.parent)


def write_atomic(path: Path, data: bytes, *, root: Path, durable: bool = True) -> None:
    """Replace the contents of `path` by `data`; see `replacing`."""
    with replacing(path, root=root, durable=durable) as file:
        file.write(data)


@contextmanager
def locked(path: Path, *, root: Path) -> Iterator[None]:
    """Wait for the exclusive lock on the file `path` and hold it; not reentrant.

    It excludes other threads and other processes. The kernel frees the lock when its holder dies.
    """
    with disk_errors("lock", path):
        data_folder.make_folder(path.parent, root=root)
        descriptor = data_folder.open_lock(path, root=root)
    try:
        with disk_errors("lock", path):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_folder(path: Path, *, root: Path) -> None:
    """Make the folder `path` and its parents on the disk, for this user only."""
    with disk_errors("make", path):
        data_folder.make_folder(path, root=root)


def folders(path: Path) -> list[Path]:
    """The folders directly in `path`, sorted by name; [] when it does not exist."""
    try:
        with os.scandir(path) as entries:
            return sorted(path / e.name for e in entries if e.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def names(path: Path | str) -> list[str]:
    """The names in the folder `path`, unsorted; [] when it does not exist."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []


def size(path: Path | str) -> int:
    """The size of the file in bytes; 0 when it does not exist."""
    try:
        return os.stat(path).st_size  # noqa: PTH116  (the path may be a str)
    except FileNotFoundError:
        return 0


def modified_ns(path: Path | str) -> int:
    """When the file or folder was changed, in ns since 1970; 0 when it does not exist."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116  (the path may be a str)
    except FileNotFoundError:
        return 0


def free_bytes(data: Path) -> int:
    """Free bytes on the disk of the data folder; the folder need not exist yet."""
    place = next(folder for folder in (data, *data.absolute().parents) if folder.exists())
    return shutil.disk_usage(place).free


def set_aside(path: Path, *, root: Path) -> Path:
    """Rename an unreadable or corrupt file to `….unreadable`; returns the new path."""
    with disk_errors("rename", path):
        return data_folder.set_aside(path, root=root)


def remove_leftovers(places: Iterable[Path], *, root: Path) -> int:
    """Remove temporary files of dead processes directly in `places`; returns their number."""
    removed = 0
    for place in places:
        data_folder.check_way(place, root=root)
        for name in names(place):
            match = _TEMP_NAME.fullmatch(name)
            if match and _is_leftover(place / name, owner=int(match[1])):
                data_folder.remove_file(place / name, root=root)
                removed += 1
    return removed


def _is_leftover(path: Path, *, owner: int) -> bool:
    try:
        os.kill(owner, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    try:
        return time.time() - path.stat().st_mtime > OLDEST_TEMP_S
    except FileNotFoundError:
        return False
