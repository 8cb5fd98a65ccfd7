"""The index of the runs: small documents in partitions, sorted by test id.

    index/current               names the generation in use
    index/generation-<a>-<b>/   a: a hash of the documents' fields; b: random
        <test_id>.json          a partition, named by the lowest id that belongs to it

A partition covers the ids up to the first id of the next partition; entries outside that range are
ignored. A split writes the upper half first. If the process dies before the lower half is written,
readers still see each run once. "Lock held" means: the caller holds the writers' lock.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left, bisect_right
from contextlib import contextmanager
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeVar

from k6d.storage.data_folder import NotAFileError, read_file, removable, remove_folder
from k6d.storage.documents import AtomicStorage, DamagedError
from k6d.storage.files import disk_errors, folders, locked, make_folder, names, write_atomic
from k6d.storage.record import FIELDS, is_test_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

T = TypeVar("T")

# Documents in a partition; one save rewrites one partition of 0.5 KB documents in a few ms.
# Documents are not cached: in memory each would take 3 KB.
PARTITION_LIMIT = 250
# A reader starts again when partitions were added or removed meanwhile, about once in 250 runs.
READ_ATTEMPTS = 10
# The name of the first partition, so that every id belongs to a partition.
LOWEST_ID = "00000000-000000-000000"

# A generation with other fields, or other meanings of them, from another version of k6d, is not
# read but rebuilt. Since version 2, `overrides` leaves out variables beside the script, and the
# metrics are those that are judged.
_VERSION = 3
_PREFIX = f"generation-{zlib.crc32(' '.join([*sorted(FIELDS), str(_VERSION)]).encode()):08x}-"
_GENERATION = re.compile(r"generation-[0-9a-f-]{8,}")


class Generation:
    """A complete set of partitions in its own folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths: dict[str, Path] = {}

    def paths(self) -> list[Path]:
        """The partitions, oldest first."""
        found = (name for name in names(self.folder) if is_test_id(name.removesuffix(".json")))
        # The Path objects are reused, because pathlib interns the name of each new one.
        self._paths = {n: self._paths.get(n) or self.folder / n for n in sorted(found)}
        return list(self._paths.values())

    def newest_first(
        self, paths: Sequence[Path], newest: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """The documents of the partitions `paths`; a partition is read when the caller reaches it.

        Partitions with only ids above `newest` are skipped.
        """
        end: str | None = None
        for path in reversed(paths):
            if newest is None or path.stem <= newest:
                yield from _by_age(_load(_storage(path), end))
            end = path.stem

    def add(self, documents: Sequence[dict[str, Any]]) -> None:
        """Add documents sorted by id, or replace those with the same ids. Lock held."""
        rest = list(documents)
        while rest:
            paths = self.paths()
            if not paths or paths[0].stem != LOWEST_ID:
                paths.insert(0, self.folder / f"{LOWEST_ID}.json")
            starts = [path.stem for path in paths]
            at = bisect_right(starts, rest[0]["test_id"]) - 1
            end = starts[at + 1] if at + 1 < len(starts) else None
            count = len(rest)
            if end is not None:
                count = bisect_left(rest, end, key=lambda document: document["test_id"])
            self._merge(paths, at, new=rest[:count])
            rest = rest[count:]

    def remove(self, test_ids: set[str]) -> None:
        """Drop the documents of `test_ids`. Lock held."""
        paths = self.paths() if test_ids else []
        for path in paths:
            table = _storage(path).table()
            gone = [document.doc_id for document in table if document["test_id"] in test_ids]
            if gone:
                table.remove(doc_ids=gone)

    def contents(self) -> Iterator[tuple[Path, str | None, set[str] | None]]:
        """Each partition's path, the first id after its range, and the ids in it. Lock held.

        The oldest comes first. The end is None for the last partition; the ids are None when the
        partition does not parse.
        """
        paths = self.paths()
        for at, path in enumerate(paths):
            end = paths[at + 1].stem if at + 1 < len(paths) else None
            try:
                yield path, end, {document["test_id"] for document in _load(_storage(path), end)}
            except DamagedError:
                yield path, end, None

    def adopt(self, paths: Sequence[Path]) -> None:
        """Copy the partitions `paths` of another generation. Lock held."""
        for path in paths:
            write_atomic(self.folder / path.name, path.read_bytes(), root=_root_of(path))

    def _merge(self, paths: Sequence[Path], at: int, *, new: Sequence[dict[str, Any]]) -> None:
        """Put `new` into partition `at` and split that partition if it becomes too large."""
        path, end = paths[at], paths[at + 1].stem if at + 1 < len(paths) else None
        storage = _storage(path)
        held = _load(storage, end)
        by_id = {document["test_id"]: document for document in (*held, *new)}
        merged = [by_id[test_id] for test_id in sorted(by_id)]
        appended = not held or new[0]["test_id"] > held[-1]["test_id"]
        size = PARTITION_LIMIT
        if len(merged) > PARTITION_LIMIT and not appended:
            size = PARTITION_LIMIT // 2  # half full, or the next late document would split again
        first, *others = (merged[start : start + size] for start in range(0, len(merged), size))
        for piece in reversed(others):
            _replace(_storage(self.folder / f"{piece[0]['test_id']}.json"), piece)
        if first != held:
            _replace(storage, first)


class Index:
    """The generation in use, and its replacement by a new one."""

    def __init__(self, folder: Path, *, root: Path) -> None:
        self._folder, self._root = folder, root
        self._current = folder / "current"
        self._generation: Generation | None = None

    def locked(self) -> AbstractContextManager[None]:
        """The writers' lock."""
        return locked(self._folder / ".lock", root=self._root)

    def generation(self) -> Generation | None:
        """The generation in use; None when there is no index or it has other fields."""
        try:
            name = read_file(self._current).decode()
        except (FileNotFoundError, UnicodeDecodeError, NotAFileError):
            return None
        folder = self._folder / name
        if not _has_current_fields(name) or not folder.is_dir():
            return None
        if self._generation is None or self._generation.folder != folder:
            self._generation = Generation(folder)
        return self._generation

    def add(self, document: dict[str, Any]) -> None:
        """Add or replace one document; DamagedError when there is no index. Lock held."""
        generation = self.generation()
        if not generation:
            raise DamagedError(self._current)
        generation.add([document])

    def read(
        self, collect: Callable[[Iterator[dict[str, Any]]], T], newest: str | None = None
    ) -> T:
        """`collect(documents)`, for all documents up to `newest`, newest first, without a lock.

        `collect` is called again when partitions were added or removed meanwhile, so that it sees
        every run once. DamagedError when `collect` reaches a partition that does not parse.
        """
        with disk_errors("read", self._folder):
            for _ in range(READ_ATTEMPTS):
                generation = self.generation()
                paths = generation.paths() if generation else []
                found = collect(generation.newest_first(paths, newest) if generation else iter(()))
                now = self.generation()
                if now is generation and (now is None or now.paths() == paths):
                    break
            return found

    @contextmanager
    def rebuilding(self) -> Iterator[Generation]:
        """A new generation that replaces the old one when the block ends. Lock held.

        Until then readers see the old generation. After an error the old one stays in use.
        """
        generation = Generation(self._folder / f"{_PREFIX}{token_hex(4)}")
        make_folder(generation.folder, root=self._root)
        try:
            yield generation
            write_atomic(self._current, generation.folder.name.encode(), root=self._root)
        except BaseException:
            remove_folder(generation.folder, root=self._root)
            raise
        self.sweep()

    def sweep(self) -> None:
        """Remove generations that are not in use, such as those of a killed rebuild. Lock held."""
        used = self.generation()
        for folder in removable(self._folder):
            if used is None or folder != used.folder:
                remove_folder(folder, root=self._root)

    def stamp(self) -> object:
        """A value that stays equal until any process adds, changes or removes a document."""
        with disk_errors("read", self._folder):
            generation = self.generation()
            paths = generation.paths() if generation else []
            try:
                found = [(path.name, path.stat()) for path in paths]
            except FileNotFoundError:  # a rebuilt index has just replaced this one
                return object()
        name = generation.folder.name if generation else ""
        return name, [(n, s.st_ino, s.st_mtime_ns, s.st_size) for n, s in found]

    def folders(self) -> list[Path]:
        """The folders in which the index writes."""
        return [self._folder, *folders(self._folder)]


def _load(storage: AtomicStorage, end: str | None) -> list[dict[str, Any]]:
    """The documents of a partition below the id `end`, sorted by id.

    The caller must not change them. DamagedError when it does not parse or lacks a field.
    """
    documents = storage.documents()
    if not all(one.keys() >= FIELDS and isinstance(one["test_id"], str) for one in documents):
        raise DamagedError(storage.path)
    if end is None or not documents or documents[-1]["test_id"] < end:
        return documents
    return [document for document in documents if document["test_id"] < end]


def _replace(storage: AtomicStorage, documents: Sequence[dict[str, Any]]) -> None:
    """Write a partition with exactly `documents`, which are sorted by id."""
    storage.replace({_number(document["test_id"]): document for document in documents})


def _storage(path: Path) -> AtomicStorage:
    return AtomicStorage(path, root=_root_of(path))


def _root_of(path: Path) -> Path:
    """The data folder of a partition."""
    return path.parents[2]


def _has_current_fields(name: str) -> bool:
    return name.startswith(_PREFIX) and _GENERATION.fullmatch(name) is not None


def _by_age(documents: Sequence[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """The documents, which are sorted by id, from the newest to the oldest.

    They are sorted by time stamp only if two of them began in the same second.
    """
    if len({document["test_id"][:15] for document in documents}) == len(documents):
        return documents[::-1]
    return sorted(documents, key=_age, reverse=True)


def _number(test_id: str) -> int:
    """The test id as a number in the same order, for TinyDB's document id."""
    return int(test_id.replace("-", ""), 16)


def _age(document: dict[str, Any]) -> tuple[str, str, str]:
    """A sort key by time; within one second the time stamp decides, since ids end in chance."""
    test_id: str = document["test_id"]
    # Without the Z: "…14Z" would otherwise sort after "…14.5Z".
    return test_id[:15], document["timestamp"].rstrip("Z"), test_id
