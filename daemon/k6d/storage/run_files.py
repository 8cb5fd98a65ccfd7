"""The files that a script wrote, kept in one archive beside the file of its run."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from k6d.core.errors import K6dError
from k6d.storage.data_folder import open_file
from k6d.storage.files import disk_errors, replacing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def keep_files(path: Path, files: Iterable[tuple[str, bytes]], *, root: Path) -> None:
    """Keep files by name in the archive `path`, durably."""
    with replacing(path, root=root) as out, tarfile.open(fileobj=out, mode="w") as tar:
        for name, contents in files:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(contents), 0o600
            tar.addfile(member, io.BytesIO(contents))


def kept_file(path: Path, name: str) -> bytes:
    """The contents of the file `name` of the archive `path`.

    Nothing is unpacked: a name is only compared. K6dError when there is no such file.
    """
    missing = K6dError(f"the run has no file {name[:200]!r}")
    if not path.exists():
        raise missing
    try:
        with (
            disk_errors("read", path),
            open(open_file(path), "rb") as archive,  # noqa: PTH123  (a descriptor)
            tarfile.open(fileobj=archive, mode="r:") as tar,
        ):
            for member in tar:
                if member.name == name and (contents := tar.extractfile(member)):
                    return contents.read()
    except tarfile.TarError as error:
        raise K6dError(f"{path}: is damaged ({error})") from error
    raise missing
