"""The archives of scripts with which runs were made, one file for each id."""

from __future__ import annotations

import re
import shutil
import time
from typing import TYPE_CHECKING

from k6d.core.errors import K6dError
from k6d.storage.data_folder import check_way, refuse_links, remove_file
from k6d.storage.files import disk_errors, names, replacing, size

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager
    from pathlib import Path

YOUNG_S = 3600.0  # a run's file is saved less than this after its snapshot
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Snapshots:
    """The snapshots in `folder`; `locked` is the writers' lock of the data folder `root`."""

    def __init__(
        self, folder: Path, *, root: Path, locked: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.folder, self._root, self._locked = folder, root, locked

    def path(self, snapshot_id: str) -> Path:
        """The path of the archive, whether it exists or not; K6dError for an invalid id."""
        if not _ID.fullmatch(snapshot_id):
            raise K6dError(f"{snapshot_id!r} is not the id of a snapshot")
        return self.folder / f"{snapshot_id}.tar"

    def total_bytes(self) -> int:
        """The size of all snapshots in bytes."""
        return sum(size(f"{self.folder}/{name}") for name in names(self.folder))

    def put(self, snapshot_id: str, source: Path) -> Path:
        """Store a copy of the archive `source` under the id; returns its path.

        An archive with that id and the same size is not copied again; one of another size is
        damaged and is replaced.
        """
        path = self.path(snapshot_id)
        check_way(path, root=self._root)
        with self._locked():
            if path.exists() and size(path) == size(source):
                with disk_errors("write", path):
                    path.touch()  # else `drop` might remove it before the run is saved
                return path
            # A copy, not a hard link: the caller may write into `source` again.
            with disk_errors("read", source):
                archive = source.open("rb")
            with archive, replacing(path, root=self._root) as file:
                shutil.copyfileobj(archive, file)
        return path

    def copy(self, snapshot_id: str, target: Path) -> None:
        """Copy the archive to `target`, where pruning cannot remove it."""
        path = self.path(snapshot_id)
        with disk_errors("read", path):
            shutil.copyfile(path, target)

    def drop(self, snapshot_ids: Collection[str], *, dry_run: bool = False) -> list[int]:
        """Remove snapshots that no run needs; returns the sizes of the removed ones in bytes.

        Snapshots younger than YOUNG_S stay, because a run that is not saved yet may need them.
        `put` renews the time of an archive under the same lock.
        """
        refuse_links(self._root)
        sizes = []
        for snapshot_id in snapshot_ids:
            path = self.path(snapshot_id)
            with self._locked(), disk_errors("remove", path):
                if path.exists() and time.time() - path.stat().st_mtime > YOUNG_S:
                    sizes.append(size(path))
                    if not dry_run:
                        remove_file(path, root=self._root)
        return sizes
