"""Index documents in one folder: files of a few hundred each, sorted by test id.

    <folder>/<test_id>.json     a partition, named by the lowest id that belongs to it

A partition covers the ids up to the first id of the next partition; entries outside that range are
ignored. A split writes the upper half first. If the process dies before the lower half is written,
readers still see each run once. "Lock held" means: the caller holds the writers' lock.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from k6d.storage.data_folder import remove_file
from k6d.storage.documents import TABLE, AtomicStorage, DamagedError
from k6d.storage.files import disk_errors, names
from k6d.storage.record import FIELDS, age

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

Document = dict[str, Any]
Before = Callable[["Sequence[Document]"], None]

ENDING = ".json"
# The name of the first partition, so that every id belongs to a partition.
LOWEST_ID = "00000000-000000-000000"
_is_name = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}\.json").fullmatch


class Span(NamedTuple):
    """The range of a partition: its first id, and the first id after it, None for the last one."""

    start: str
    end: str | None


def spans(starts: Sequence[str]) -> list[Span]:
    """The range of each partition, for their first ids in ascending order."""
    return [Span(*one) for one in zip_longest(starts, starts[1:])]


class Partitions:
    """The partitions of one folder, with at most `limit` documents each.

    One save rewrites one partition. Documents are not cached: in memory each would take 3 KB.
    `before_write` is called with new documents before they are written.
    """

    def __init__(
        self,
        folder: str,
        *,
        root: Path,
        limit: int,
        durable: bool = True,
        before_write: Before | None = None,
    ) -> None:
        self.folder, self._root, self._limit, self._durable = folder, root, limit, durable
        self._before_write = before_write or (lambda _: None)

    def path(self, start: str) -> Path:
        """The path of the partition that begins at the id `start`."""
        return Path(f"{self.folder}/{start}{ENDING}")

    def starts(self) -> list[str]:
        """The first id of each partition, oldest first."""
        return sorted([name[: -len(ENDING)] for name in names(self.folder) if _is_name(name)])

    def newest_first(
        self,
        starts: Sequence[str],
        newest: str | None = None,
        skipped: Collection[str] = (),
    ) -> Iterator[Document]:
        """The documents of the partitions `starts`; each is read when the caller reaches it.

        Partitions with only ids above `newest`, and those in `skipped`, are not read.
        """
        end: str | None = None
        for start in reversed(starts):
            if start not in skipped and (newest is None or start <= newest):
                yield from _by_age(self._load(start, end))
            end = start

    def oldest_first(self, starts: Sequence[str], first: str = LOWEST_ID) -> Iterator[Document]:
        """The documents from the id `first` on, by id; a partition is read when it is reached."""
        for at in range(max(0, bisect_right(starts, first) - 1), len(starts)):
            end = starts[at + 1] if at + 1 < len(starts) else None
            yield from (one for one in self._load(starts[at], end) if one["test_id"] >= first)

    def add(self, documents: Sequence[Document]) -> None:
        """Add documents sorted by id, or replace those with the same ids. Lock held."""
        self._before_write(documents)
        rest = list(documents)
        while rest:
            starts = self.starts()
            if not starts or starts[0] != LOWEST_ID:
                starts.insert(0, LOWEST_ID)
            at = bisect_right(starts, rest[0]["test_id"]) - 1
            end = starts[at + 1] if at + 1 < len(starts) else None
            count = len(rest)
            if end is not None:
                count = bisect_left(rest, end, key=lambda document: document["test_id"])
            self._merge(starts[at], end, new=rest[:count])
            rest = rest[count:]

    def put(self, start: str, documents: Sequence[Document]) -> None:
        """Replace the partition `start`, whatever it holds, by the documents. Lock held."""
        self._before_write(documents)
        self._write(start, documents, size=self._limit)

    def remove(self, test_ids: Sequence[str]) -> None:
        """Drop the documents of `test_ids`, which are sorted. Lock held."""
        starts, wanted = self.starts(), set(test_ids)
        places = {bisect_right(starts, test_id) - 1 for test_id in test_ids} - {-1}
        for at in sorted(places, reverse=True):
            end = starts[at + 1] if at + 1 < len(starts) else None
            held = self._load(starts[at], end)
            gone = [document for document in held if document["test_id"] in wanted]
            if gone:
                numbers = [_number(document["test_id"]) for document in gone]
                self._storage(starts[at]).table().remove(doc_ids=numbers)
            if len(gone) == len(held):
                self._remove_empty(starts, at)
                del starts[at]

    def find(self, test_ids: Sequence[str]) -> list[Document]:
        """The documents of `test_ids`, which are sorted; those without one are left out."""
        wanted, found = set(test_ids), list[Document]()
        starts = self.starts()
        for at in sorted({bisect_right(starts, test_id) - 1 for test_id in test_ids} - {-1}):
            end = starts[at + 1] if at + 1 < len(starts) else None
            found += [one for one in self._load(starts[at], end) if one["test_id"] in wanted]
        return found

    def within(self, start: str, end: str | None) -> list[Document]:
        """The documents of the partition `start` below the id `end`, oldest first."""
        return self._load(start, end)

    def spans(self) -> list[Span]:
        """The range of each partition, the oldest first."""
        return spans(self.starts())

    def documents(self, span: Span) -> list[Document] | None:
        """The documents of a partition, sorted by id; None when it does not parse."""
        try:
            return self._load(span.start, span.end)
        except DamagedError:
            return None

    def _remove_empty(self, starts: Sequence[str], at: int) -> None:
        """Remove the file of an empty partition, whose range then belongs to the one before it.

        What a cut-off split left there would be listed again, so it goes first.
        """
        if at:
            storage = self._storage(starts[at - 1])
            before = storage.documents()
            kept = [document for document in before if document["test_id"] < starts[at]]
            if kept != before:
                _replace(storage, kept)
        path = self.path(starts[at])
        with disk_errors("remove", path):
            remove_file(path, root=self._root)

    def _merge(self, start: str, end: str | None, *, new: Sequence[Document]) -> None:
        """Put `new` into the partition `start` and split it if it becomes too large."""
        held = self._load(start, end)
        by_id = {document["test_id"]: document for document in (*held, *new)}
        merged = [by_id[test_id] for test_id in sorted(by_id)]
        appended = not held or new[0]["test_id"] > held[-1]["test_id"]
        # Half full, or the next late document would split again.
        size = self._limit if appended or len(merged) <= self._limit else self._limit // 2
        if merged != held:
            self._write(start, merged, size=size, held=held)

    def _write(
        self,
        start: str,
        documents: Sequence[Document],
        *,
        size: int,
        held: Sequence[Document] | None = None,
    ) -> None:
        """Write the documents in partitions of `size`, the upper ones first."""
        first, *others = (
            documents[begin : begin + size] for begin in range(0, len(documents) or 1, size)
        )
        for piece in reversed(others):
            _replace(self._storage(piece[0]["test_id"]), piece)
        if first != held:
            _replace(self._storage(start), first)

    def _load(self, start: str, end: str | None) -> list[Document]:
        """The documents of a partition below the id `end`, sorted by id.

        The caller must not change them. DamagedError when it does not parse or lacks a field.
        """
        storage = self._storage(start)
        documents = storage.documents()
        if not all(one.keys() >= FIELDS and isinstance(one["test_id"], str) for one in documents):
            raise DamagedError(storage.path)
        if end is None or not documents or documents[-1]["test_id"] < end:
            return documents
        return [document for document in documents if document["test_id"] < end]

    def _storage(self, start: str) -> AtomicStorage:
        return AtomicStorage(self.path(start), root=self._root, durable=self._durable)


def _replace(storage: AtomicStorage, documents: Sequence[Document]) -> None:
    """Write a partition with exactly `documents`, which are sorted by id."""
    storage.write({TABLE: {str(_number(one["test_id"])): one for one in documents}})


def _by_age(documents: Sequence[Document]) -> Iterable[Document]:
    """The documents, which are sorted by id, from the newest to the oldest.

    They are sorted by time stamp only if two of them began in the same second.
    """
    if len({document["test_id"][:15] for document in documents}) == len(documents):
        return documents[::-1]
    return sorted(documents, key=age, reverse=True)


def _number(test_id: str) -> int:
    """The test id as a number in the same order, for TinyDB's document id."""
    return int(test_id.replace("-", ""), 16)
