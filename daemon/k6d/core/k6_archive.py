"""Reads archives that `k6 archive` made: the script, every file that it loads, and its options."""

from __future__ import annotations

import tarfile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


METADATA = "metadata.json"  # the member with the options


def members(archive: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Yield each file with its contents, which are readable until the next one.

    "metadata.json" holds the options, "data" is the main script, "file/…" and "https/…" are the
    files that it loads. OSError or TarError if the archive is missing or damaged.
    """
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            if (member.isfile() or member.islnk()) and (contents := tar.extractfile(member)):
                yield member, contents


def first_bytes(archive: Path, name: str, most: int) -> bytes | None:
    """Return the first `most` bytes of a file; None if it is missing or unreadable."""
    try:
        return next(
            (file.read(most) for member, file in members(archive) if member.name == name), None
        )
    except (OSError, tarfile.TarError):
        return None
