"""Whether a path still leads to the same file or folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def identity_of(path: Path | str) -> tuple[int, int] | None:
    """Device and inode of a file or folder; None when it is missing or cannot be reached."""
    try:
        found = os.stat(path)  # noqa: PTH116  (the path may be a str)
    except OSError:
        return None
    return found.st_dev, found.st_ino
