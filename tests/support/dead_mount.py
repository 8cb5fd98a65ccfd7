"""A mount that never answers, as a network share whose server is gone: every call on it hangs.

By FUSE, without anybody behind it; needs root, and a kernel that lets us mount.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DETACH = 2


@contextlib.contextmanager
def dead_mount(folder: Path) -> Iterator[Path]:
    """Mount it on `folder`; OSError where that is not allowed. Who hangs is let go at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    library = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    try:
        options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        place = os.fsencode(folder)
        if library.mount(b"dead", place, b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), "no FUSE mount")
        try:
            yield folder
        finally:
            library.umount2(place, _DETACH)
    finally:
        os.close(device)
