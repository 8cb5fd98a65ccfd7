"""Keeps what is in the data folder from other users of the machine, also what an older k6d made."""

from __future__ import annotations

import logging
import os
import stat
from typing import TYPE_CHECKING

from k6d.core.model import reason
from k6d.storage.data_folder import FILES, FOLDERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

OTHERS = 0o077
USUAL = {*FOLDERS, "lost+found"}  # folders in a data folder that is k6d's own


def make_private(data: Path) -> None:
    """Take the rights of others on the data folder and on all that k6d made in it, and log it.

    Cheap when there is nothing to do. A folder loses them after what is in it: cut off in between,
    the next start goes on. Files in the data folder that k6d did not make stay as they are; so does
    the data folder itself where others need it (`_is_shared`).
    """
    if not data.is_dir():
        return
    ours = (data / name for name in (*FILES, *FOLDERS))
    own = [] if _is_shared(data) else [data]
    if not any(map(_is_open, (*own, *ours))):
        return
    done, refused = 0, ""
    for path in (*map(str, own), *_below(data)):
        if not _is_open(path):
            continue
        try:
            os.chmod(path, stat.S_IMODE(os.lstat(path).st_mode) & ~OTHERS)  # noqa: PTH101
            done += 1
        except OSError as error:
            refused = f"{path}: {reason(error)}"
    if done:
        logger.warning(
            "%s was open to other users of this machine; it is private now (%d files and folders)",
            *(data, done),
        )
    if refused:
        logger.warning("other users of this machine can read %s; give it to k6d's user", refused)


def _is_shared(data: Path) -> bool:
    """Whether the data folder is a place of others, too: `/`, `/tmp`, a home, somebody else's.

    Without its rights others would be locked out. It is known by a folder in it that k6d did not
    make, by the sticky bit, or by its owner.
    """
    status = data.stat()
    if status.st_mode & stat.S_ISVTX or status.st_uid != os.geteuid():
        return True
    with os.scandir(data) as entries:
        return any(e.is_dir(follow_symlinks=False) and e.name not in USUAL for e in entries)


def _below(data: Path) -> Iterator[str]:
    """Files and folders that k6d made, what is in a folder before the folder; no links."""
    yield from (f"{data}/{name}" for name in FILES)
    for top in FOLDERS:
        for folder, folders, files in os.walk(f"{data}/{top}", topdown=False):
            yield from (f"{folder}/{name}" for name in files)
            yield from (f"{folder}/{name}" for name in folders)
        yield f"{data}/{top}"


def _is_open(path: Path | str) -> bool:
    """Whether others have rights on the file or folder; False for a link, or when there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    ours = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return ours and bool(status.st_mode & OTHERS)
