"""Files that are whole or absent: atomic replacement, locks, leftovers, errors a user can mend."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import time
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import TYPE_CHECKING, BinaryIO

from k6d.model import K6dError, reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILE_MODE = 0o640
FOLDER_MODE = 0o750
# A process id is used again after a restart (in a container at once, by k6d itself), so a leftover
# may seem to have a living owner; but nobody takes an hour to write one file.
OLDEST_TEMP_S = 3600.0

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
def replacing(path: Path, *, mode: int = FILE_MODE) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path`, durably, when the block ends without an error.

    Whatever happens, `path` is the old contents or the new, whole; a failed write leaves no
    temporary file. Raises K6dError when the disk refuses.
    """
    with disk_errors("write", path):
        make_folder(path.parent)
        # A text: of a Path Python keeps each name, in a table that grows by them.
        temp = f"{path.parent}/.{path.name}.{os.getpid()}-{token_hex(4)}.tmp"
        try:
            descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temp, path)  # noqa: PTH105
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temp)  # noqa: PTH108
            raise
        _sync_folder(path.parent)


def write_atomic(path: Path, data: bytes, *, mode: int = FILE_MODE) -> None:
    """Replace the contents of `path` by `data`; see `replacing`."""
    with replacing(path, mode=mode) as file:
        file.write(data)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the exclusive lock of the file `path`, against threads and processes; not reentrant.

    The kernel gives the lock back when its holder dies, however it dies.
    """
    with disk_errors("lock", path):
        make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
    try:
        with disk_errors("lock", path):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make `path` and its parents, durably: a file synced into a lost folder would be lost."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        _sync_folder(path.parent)


def folders(path: Path) -> list[Path]:
    """The folders directly in `path`, by name; none when it does not exist."""
    try:
        with os.scandir(path) as entries:
            return sorted(path / e.name for e in entries if e.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def names(path: Path) -> list[str]:
    """The names in the folder `path`, unsorted; none when it does not exist."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []


def size(path: Path | str) -> int:
    """What the file takes, in bytes; 0 when it does not exist."""
    try:
        return os.stat(path).st_size  # noqa: PTH116  (of texts, too)
    except FileNotFoundError:
        return 0


def free_bytes(data: Path) -> int:
    """What is free on the disk of the data folder, which need not exist yet."""
    place = next(folder for folder in (data, *data.absolute().parents) if folder.exists())
    return shutil.disk_usage(place).free


def set_aside(path: Path) -> Path:
    """Rename a file that does not parse, so that it is kept but not read again; its new path."""
    aside = path.with_name(f"{path.name}.unreadable")
    if aside.exists():
        aside = path.with_name(f"{path.name}.{token_hex(3)}.unreadable")
    with disk_errors("rename", path):
        return path.replace(aside)


def refuse_link(folder: Path) -> None:
    """K6dError when it is a link: what it leads to is not k6d's."""
    if folder.is_symlink():
        raise K6dError(
            f"{folder}: is a link, and nothing behind it is k6d's; put the folder itself there"
        )


def remove_leftovers(places: Iterable[Path]) -> int:
    """Remove the temporary files of dead writers directly in `places`; return how many."""
    removed = 0
    for place in places:
        for name in names(place):
            match = _TEMP_NAME.fullmatch(name)
            if match and _is_leftover(place / name, owner=int(match[1])):
                (place / name).unlink(missing_ok=True)
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


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
