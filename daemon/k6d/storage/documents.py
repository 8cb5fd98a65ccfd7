"""TinyDB on a file that is replaced, never overwritten: the only importer of tinydb."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import orjson
from tinydb import where
from tinydb.storages import Storage
from tinydb.table import Document, Table

from k6d.core.model import K6dError
from k6d.storage.checksum import Seal
from k6d.storage.data_folder import NotAFileError, open_file
from k6d.storage.files import disk_errors, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

__all__ = ["AtomicStorage", "DamagedError", "Document", "Documents", "where"]

Tables = dict[str, dict[str, Any]]

# The last table of a file is its seal, so that TinyDB reads the file by itself as well.
_SEAL = Seal(b'"check":{"1":{"crc32":', b"}}}")


class DamagedError(K6dError):
    """The file `path` is missing or does not parse; whoever owns it knows how to go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: does not parse; restart k6d, which mends it")
        self.path = path


class _Copy:
    """What a file held, and the file itself kept open.

    While it is open its inode number cannot be given to another file, so an equal number means
    the same file; times and sizes can be equal by chance when two processes write in one tick.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = open_file(path)
        status = os.fstat(self._descriptor)
        self.identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        self.tables: Tables = {}

    def read(self, path: Path, wanted: Callable[[str, Any], bool] | None) -> int:
        """Read the tables; how many documents were left out, for they are not `wanted`."""
        left_out = 0
        try:
            with os.fdopen(os.dup(self._descriptor), "rb") as file:
                data = file.read()
            tables: Tables = dict(orjson.loads(_SEAL.taken(data)).items())
            if wanted:
                for table in tables.values():
                    odd = [number for number, one in table.items() if not wanted(number, one)]
                    left_out += len(odd)
                    for number in odd:
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
    """One JSON file, parsed again only when another process replaced it.

    Every write is on the disk when it returns. `write` (and so every change by TinyDB) is for
    the holder of the writers' lock; `read` needs no lock and may run in any thread.

    With `wanted` (of a document and its number), others are left out, and counted in `left_out`;
    without it, a document that is not an object makes the file a damaged one.
    """

    def __init__(
        self, path: Path, *, root: Path, wanted: Callable[[str, Any], bool] | None = None
    ) -> None:
        self._path, self._root, self._wanted = path, root, wanted
        self.left_out = 0
        self._copy: _Copy | None = None

    def rest(self) -> None:
        """Let go of what the file held; the next `read` reads it again."""
        self._copy = None

    def read(self) -> Tables | None:
        """The tables, None when there is no file; raises DamagedError or K6dError."""
        with disk_errors("read", self._path):
            try:
                now = self._path.stat()
                copy = self._copy
                identity = (now.st_dev, now.st_ino, now.st_mtime_ns, now.st_size)
                if copy is None or copy.identity != identity:
                    self._copy = None
                    copy = _Copy(self._path)
                    self.left_out = copy.read(self._path, self._wanted)
                    self._copy = copy
            except FileNotFoundError:
                return None
            except NotAFileError as error:
                raise DamagedError(self._path) from error
        return dict(copy.tables)  # TinyDB puts the changed table into it before it is written

    def write(self, data: Tables) -> None:
        """Replace the file; raises K6dError, and then the old file is still in its place."""
        self._copy = None  # TinyDB may have changed documents in it that now don't get written
        contents = orjson.dumps(data or {"_default": {}})
        write_atomic(self._path, _SEAL.put(contents), root=self._root)
        with disk_errors("read", self._path):
            copy = _Copy(self._path)
        copy.tables = dict(data)
        self._copy = copy


class Documents(Table):
    """The documents of one storage; plain `TinyDB(path)` reads the same file.

    Make one for each use and keep the storage: a Table remembers the next free id and the results
    of queries, which are wrong as soon as another process has written.
    """

    def __init__(self, storage: AtomicStorage) -> None:
        super().__init__(storage, "_default", cache_size=0)

    def plain(self) -> list[dict[str, Any]]:
        """The documents as they are stored, which must not be changed; four times as fast."""
        return cast("list[dict[str, Any]]", list(self._read_table().values()))

    def replace(self, documents: Iterable[Document]) -> None:
        """Let exactly `documents` be in the table, in one write."""
        contents = {document.doc_id: dict(document) for document in documents}

        def refill(table: dict[int, Any]) -> None:
            table.clear()
            table.update(contents)

        self._update_table(refill)
