"""The index of the runs: small documents in partitions, by month and again by script.

    index/current               names the generation in use
    index/generation-<a>-<b>/   a: a hash of the documents' fields; b: random
        2026-11/                the documents of a month (UTC), in partitions
        scripts/<hash>/         the same documents of one script, in partitions

A query of all runs reads months, newest first; a query of one script reads only its own folder. So
neither takes longer because there are many other runs.

Months decide which runs there are. A check compares them with the run files, and then the documents
of months that changed with those of their scripts. "Lock held" means: the caller holds the writers'
lock.
"""

from __future__ import annotations

import hashlib
import re
import time
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from itertools import groupby
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeVar

from k6d.storage.checked import stamps
from k6d.storage.data_folder import NotAFileError, read_file, removable, remove_folder, sync_tree
from k6d.storage.documents import DamagedError
from k6d.storage.facts import Facts, tally_since
from k6d.storage.files import (
    YOUNG_NS,
    disk_errors,
    folders,
    locked,
    make_folder,
    modified_ns,
    names,
    write_atomic,
)
from k6d.storage.partitions import Partitions
from k6d.storage.record import FIELDS
from k6d.storage.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

Document = dict[str, Any]
T = TypeVar("T")
Skip = Callable[[dict[str, Any]], bool]

# Documents in a partition. One save rewrites one partition of each kind, of 0.5 KB documents.
PARTITION_LIMIT = 250
SCRIPT_LIMIT = 100
# A reader starts again when partitions were added or removed meanwhile, about once in 250 runs.
READ_ATTEMPTS = 10
SCRIPTS = "scripts"

# A generation with other fields, or other meanings of them, from another version of k6d, is not
# read but rebuilt. Since version 2, `overrides` leaves out variables beside the script, and the
# metrics are those that are judged. Version 4 has folders of months and scripts.
_VERSION = 4
_PREFIX = f"generation-{zlib.crc32(' '.join([*sorted(FIELDS), str(_VERSION)]).encode()):08x}-"
_GENERATION = re.compile(r"generation-[0-9a-f-]{8,}")
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_SCRIPT = re.compile(r"[0-9a-f]{16}")


class Seen:
    """The folders that a reader has listed, to find out whether they changed meanwhile."""

    def __init__(self) -> None:
        self._lists: list[tuple[Callable[[], list[str]], list[str]]] = []

    def list(self, names: Callable[[], list[str]]) -> list[str]:
        """The names now."""
        found = names()
        self._lists.append((names, found))
        return found

    def is_same(self) -> bool:
        """Whether each of the folders still has the same names."""
        return all(names() == found for names, found in self._lists)


class Generation:
    """A complete index in its own folder; if not `durable`, `sync_tree` has to follow."""

    def __init__(self, folder: Path, *, root: Path, durable: bool = True) -> None:
        self.folder, self.root, self._durable = folder, root, durable

    def months(self) -> list[str]:
        """The months that have documents, such as 2026-11, oldest first."""
        return sorted(name for name in names(self.folder) if _MONTH.fullmatch(name))

    def month(self, name: str) -> Partitions:
        """The documents of a month; there may be none."""
        return self._partitions(name, PARTITION_LIMIT)

    def script(self, name: str) -> Partitions:
        """The documents of a script; there may be none."""
        return self._script(hashlib.sha256(name.encode()).hexdigest()[:16])

    def scripts(self) -> list[Partitions]:
        """The documents of each script, in no order."""
        folder = self.folder / SCRIPTS
        return [self._script(name) for name in names(folder) if _SCRIPT.fullmatch(name)]

    def is_of_script(self, path: Path) -> bool:
        """Whether the partition `path` is one of a script."""
        return path.parent.parent.name == SCRIPTS

    def script_of(self, path: Path) -> Partitions:
        """The documents of the script to which the partition `path` belongs."""
        return self._script(path.parent.name)

    def newest_first(
        self, newest: str | None, seen: Seen, skip: Skip | None = None
    ) -> Iterator[Document]:
        """The documents of all runs up to the id `newest`; only what the caller reaches is read.

        Months and partitions whose traits `skip` accepts are left out.
        """
        facts = Facts(self)
        for name in reversed(seen.list(self.months)):
            if newest is not None and name > month_of(newest):
                continue
            month, skipped = self.month(name), list[str]()
            starts = seen.list(month.starts)
            if skip:
                if (whole := facts.traits(name)) and skip(whole):
                    continue
                known = facts.parts(name, stamps(month.folder))
                skipped = [start for start, its in known.items() if skip(its)]
            yield from month.newest_first(starts, newest, skipped)

    def tally(self, first: str, seen: Seen) -> Tally:
        """The counts of all runs from the id `first` on."""
        return tally_since(self, first, seen.list)

    def oldest_first(self, first: str, seen: Seen) -> Iterator[Document]:
        """The documents from the id `first` on; only what the caller reaches is read."""
        for name in seen.list(self.months):
            if name >= month_of(first):
                month = self.month(name)
                yield from month.oldest_first(seen.list(month.starts), first)

    def add(self, documents: Sequence[Document]) -> None:
        """Add documents sorted by id, or replace those with the same ids. Lock held."""
        self.add_to_months(documents)
        self.add_to_scripts(documents)

    def add_to_months(self, documents: Sequence[Document]) -> None:
        """The first half of `add`; the second has to follow. Lock held."""
        for name, ones in groupby(documents, lambda document: month_of(document["test_id"])):
            self.month(name).add(list(ones))

    def add_to_scripts(self, documents: Iterable[Document]) -> None:
        """The second half of `add`, for any documents sorted by id. Lock held."""
        for name, ones in by_script(documents).items():
            self.script(name).add(ones)

    def remove(self, test_ids: Collection[str]) -> None:
        """Drop the documents of runs whose files are still there. Lock held.

        From the months first: if the process dies, a check finds files that no month has.
        """
        for name, ids in _by_month(test_ids):
            found = self.month(name).find(ids)
            self.month(name).remove(ids)
            self._remove_from_scripts(found)

    def remove_stale(self, test_ids: Collection[str]) -> None:
        """Drop the documents of runs whose files are gone. Lock held.

        From the months last: if the process dies, a check finds documents without a file.
        """
        for name, ids in _by_month(test_ids):
            self._remove_from_scripts(self.month(name).find(ids))
            self.month(name).remove(ids)

    def _remove_from_scripts(self, documents: Iterable[Document]) -> None:
        for script, gone in by_script(documents).items():
            self.script(script).remove([document["test_id"] for document in gone])

    def _script(self, name: str) -> Partitions:
        return self._partitions(f"{SCRIPTS}/{name}", SCRIPT_LIMIT)

    def _partitions(self, name: str, limit: int) -> Partitions:
        place = f"{self.folder}/{name}"
        return Partitions(place, root=self.root, limit=limit, durable=self._durable)


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
            self._generation = Generation(folder, root=self._root)
        return self._generation

    def add(self, document: dict[str, Any]) -> None:
        """Add or replace one document; DamagedError when there is no index. Lock held."""
        generation = self.generation()
        if not generation:
            raise DamagedError(self._current)
        generation.add([document])

    def read(
        self,
        collect: Callable[[Iterator[Document]], T],
        *,
        newest: str | None = None,
        script: str | None = None,
        skip: Skip | None = None,
    ) -> T:
        """`collect(documents)`, of all runs or of a script, up to `newest`, without a lock.

        The newest document comes first. Parts of the index whose traits `skip` accepts are left
        out. DamagedError when `collect` reaches a partition that does
        not parse.
        """

        def documents(generation: Generation, seen: Seen) -> Iterator[Document]:
            if script is None:
                return generation.newest_first(newest, seen, skip)
            own = generation.script(script)
            found = own.newest_first(seen.list(own.starts), newest)
            return (document for document in found if document["script"] == script)

        return self._read(documents, collect)

    def find(self, test_ids: Collection[str]) -> list[Document]:
        """The documents of these runs, oldest first; runs without one are left out."""
        if not (generation := self.generation()):
            return []
        months = _by_month(test_ids)
        return [one for name, ids in months for one in generation.month(name).find(ids)]

    def tally(self, first: str) -> Tally:
        """The counts of all runs from the id `first` on; see `read`."""
        with disk_errors("read", self._folder):
            for _ in range(READ_ATTEMPTS):
                generation, seen = self.generation(), Seen()
                found = generation.tally(first, seen) if generation else Tally()
                if seen.is_same() and self.generation() is generation:
                    break
            return found

    def update_facts(self) -> None:
        """Note what queries need of the parts that changed; see `facts`."""
        if generation := self.generation():
            Facts(generation).update()

    def read_from(self, collect: Callable[[Iterator[Document]], T], first: str) -> T:
        """As `read`, of all runs from the id `first` on, the oldest first."""
        return self._read(lambda generation, seen: generation.oldest_first(first, seen), collect)

    def read_scripts(self, collect: Callable[[Iterator[Document]], T]) -> list[T]:
        """`collect(documents)` for each script, newest first, as `read`."""
        generation = self.generation()

        def one(own: Partitions) -> T:
            return self._read(
                lambda _, seen: own.newest_first(seen.list(own.starts)), collect, generation
            )

        return [one(own) for own in generation.scripts()] if generation else []

    def _read(
        self,
        documents: Callable[[Generation, Seen], Iterator[Document]],
        collect: Callable[[Iterator[Document]], T],
        known: Generation | None = None,
    ) -> T:
        """`collect` what `documents` yields.

        `collect` is called again when partitions were added or removed meanwhile, so that it sees
        every run once.
        """
        with disk_errors("read", self._folder):
            for _ in range(READ_ATTEMPTS):
                generation, seen = known or self.generation(), Seen()
                found = collect(documents(generation, seen) if generation else iter(()))
                if seen.is_same() and (known or self.generation()) is generation:
                    break
            return found

    @contextmanager
    def rebuilding(self) -> Iterator[Generation]:
        """A new generation that replaces the old one when the block ends. Lock held.

        Until then readers see the old generation. After an error the old one stays in use.
        """
        folder = self._folder / f"{_PREFIX}{token_hex(4)}"
        generation = Generation(folder, root=self._root, durable=False)
        make_folder(generation.folder, root=self._root)
        try:
            yield generation
            with disk_errors("write", generation.folder):
                sync_tree(generation.folder)
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

    def stamp(self, script: str | None = None) -> object:
        """A value that stays equal until any process changes the documents, or those of a script.

        The time of a folder changes with each partition. Two changes in one tick of the clock have
        equal times, so a time that is not over yet is equal to no other.
        """
        with disk_errors("read", self._folder):
            generation = self.generation()
            if not generation:
                return ""
            if script is None:
                places = [generation.month(name).folder for name in generation.months()]
            else:
                places = [generation.script(script).folder]
            times = [modified_ns(place) for place in places]
        young = max(times, default=0) > time.time_ns() - YOUNG_NS
        return object() if young else (generation.folder.name, places, times)

    def folders(self) -> list[Path]:
        """The folders in which the index writes."""
        found = [self._folder, *folders(self._folder)]
        if generation := self.generation():
            found += [*folders(generation.folder), *folders(generation.folder / SCRIPTS)]
        return found


def month_of(test_id: str) -> str:
    """The name of the run's month, such as 2026-11."""
    return f"{test_id[:4]}-{test_id[4:6]}"


def _by_month(test_ids: Iterable[str]) -> list[tuple[str, list[str]]]:
    return [(name, list(ids)) for name, ids in groupby(sorted(test_ids), month_of)]


def by_script(documents: Iterable[Document]) -> dict[str, list[Document]]:
    """The documents of each script, in the same order."""
    found: dict[str, list[Document]] = {}
    for document in documents:
        found.setdefault(document["script"], []).append(document)
    return found


def _has_current_fields(name: str) -> bool:
    return name.startswith(_PREFIX) and _GENERATION.fullmatch(name) is not None
