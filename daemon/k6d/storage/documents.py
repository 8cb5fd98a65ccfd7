"""TinyDB on a file that is replaced as a whole; the only module that imports tinydb."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import orjson
from tinydb import where
from tinydb.storages import Storage
from tinydb.table import Table

from k6d.core.errors import K6dError
from k6d.storage.checksum import Checksum
from k6d.storage.data_folder import NotAFileError, open_file
from k6d.storage.files import disk_errors, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["AtomicStorage", "DamagedError", "where"]

Tables = dict[str, dict[str, Any]]

TABLE = "_default"  # the name of the table that plain `TinyDB(path)` reads and writes

# The checksum is the last table of a file, so that plain TinyDB can read the file as well.
_CHECKSUM = Checksum(b'"check":{"1":{"crc32":', b"}}}")


class DamagedError(K6dError):
    """The file `path` is missing or does not parse; its owner rebuilds it or sets it aside."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: does not parse; restart k6d, which mends it")
        self.path = path


class _Copy:
    """The contents of a file, with the file kept open.

    While the file is open, no other file gets its inode number: an equal number means the same
    file. Time and size alone can be equal by chance when two processes write in one clock tick.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = open_file(path)
        status = os.fstat(self._descriptor)
        self.identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        self.tables: Tables = {}

    def read(self, path: Path, wanted: Callable[[str, Any], bool] | None) -> int:
        """Read the tables without documents that `wanted` rejects; returns their number."""
        left_out = 0
        try:
            with os.fdopen(os.dup(self._descriptor), "rb") as file:
                data = file.read()
            tables: Tables = dict(orjson.loads(_CHECKSUM.verified(data)).items())
            if wanted:
                for table in tables.values():
                    rejected = [number for number, one in table.items() if not wanted(number, one)]
                    left_out += len(rejected)
                    for number in rejected:
                        del table[number]
            if not all(isinstance(d, dict) for table in tables.values() for d in table.values()):
                raise DamagedError(path)
        except (ValueError, AttributeError) as error:
            raise DamagedError(path) from error
        self.tables = tables
        return left_out

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


class AtomicStorage(Storage):
    """One JSON file; it is parsed again only when another process has replaced it.

    A write is on the disk when it returns, if `durable`. The caller of `write`, and of any change
    by TinyDB, holds the writers' lock. `read` needs no lock and may run in any thread.

    `wanted(number, document)` selects documents; `left_out` counts the others. Without `wanted`, a
    document that is not an object raises DamagedError.
    """

    def __init__(
        self,
        path: Path,
        *,
        root: Path,
        wanted: Callable[[str, Any], bool] | None = None,
        durable: bool = True,
    ) -> None:
        self.path, self._root, self._wanted, self._durable = path, root, wanted, durable
        self.left_out = 0
        self._copy: _Copy | None = None

    def free_memory(self) -> None:
        """Free the memory of the contents; the next `read` reads the file again."""
        self._copy = None

    def read(self) -> Tables | None:
        """The tables; None when there is no file. Raises DamagedError or K6dError."""
        with disk_errors("read", self.path):
            try:
                now = self.path.stat()
                copy = self._copy
                identity = (now.st_dev, now.st_ino, now.st_mtime_ns, now.st_size)
                if copy is None or copy.identity != identity:
                    self._copy = None
                    copy = _Copy(self.path)
                    self.left_out = copy.read(self.path, self._wanted)
                    self._copy = copy
            except FileNotFoundError:
                return None
            except NotAFileError as error:
                raise DamagedError(self.path) from error
        return dict(copy.tables)  # a copy: TinyDB puts a changed table into it before `write`

    def write(self, data: Tables) -> None:
        """Replace the file; after a K6dError the old file is still in its place."""
        self._copy = None  # if this write fails, the copy may hold changes that are not on the disk
        contents = orjson.dumps(data or {TABLE: {}})
        text = _CHECKSUM.append(contents)
        write_atomic(self.path, text, root=self._root, durable=self._durable)
        with disk_errors("read", self.path):
            copy = _Copy(self.path)
        copy.tables = dict(data)
        self._copy = copy

    def table(self) -> Table:
        """The documents as a TinyDB table.

        Make a new table for each use and keep only the storage: a table caches the next free id,
        which another process may make stale.
        """
        return Table(self, TABLE, cache_size=0)

    def documents(self) -> list[dict[str, Any]]:
        """The stored documents themselves; callers must not change them.

        This is four times as fast as iterating over a table, which copies each document.
        """
        return list((self.read() or {}).get(TABLE, {}).values())

    def replace(self, documents: Mapping[int, dict[str, Any]]) -> None:
        """Replace all documents by `documents`, which have ids as keys, in one write."""
        table = {str(number): document for number, document in documents.items()}
        self.write((self.read() or {}) | {TABLE: table})
