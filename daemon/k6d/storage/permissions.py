"""Remove other users' access to the data folder, also to files that an older k6d made."""

from __future__ import annotations

import logging
import os
import stat
from typing import TYPE_CHECKING

from k6d.core.errors import reason
from k6d.storage.data_folder import FILES, FOLDERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

OTHERS = 0o077
USUAL = {*FOLDERS, "lost+found"}  # folders in a data folder that is k6d's own


def make_private(data: Path) -> None:
    """Remove other users' rights on the data folder and on everything that k6d made in it; log it.

    Cheap when there is nothing to do. The contents of a folder come before the folder: if the
    process dies halfway, the next start sees the open folder and continues. Files that k6d did not
    make stay unchanged. So does the data folder itself when other users need it (`_is_shared`).
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
    """Whether other users may need the data folder: `/`, `/tmp`, a home, somebody else's folder.

    Signs are a folder in it that k6d did not make, the sticky bit, or another owner.
    """
    status = data.stat()
    if status.st_mode & stat.S_ISVTX or status.st_uid != os.geteuid():
        return True
    with os.scandir(data) as entries:
        return any(e.is_dir(follow_symlinks=False) and e.name not in USUAL for e in entries)


def _below(data: Path) -> Iterator[str]:
    """The files and folders that k6d made, the contents of a folder before the folder."""
    yield from (f"{data}/{name}" for name in FILES)
    for top in FOLDERS:
        for folder, folders, files in os.walk(f"{data}/{top}", topdown=False):
            yield from (f"{folder}/{name}" for name in files)
            yield from (f"{folder}/{name}" for name in folders)
        yield f"{data}/{top}"


def _is_open(path: Path | str) -> bool:
    """Whether other users have rights on the file or folder; False for links and missing paths."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    ours = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return ours and bool(status.st_mode & OTHERS)
