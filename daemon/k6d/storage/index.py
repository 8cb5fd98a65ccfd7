"""The index of the runs: small documents in partitions, by month and again by script.

    index/current               names the generation in use
    index/replacing             the id of a run whose file is being replaced
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

import re
import time
import zlib
from contextlib import contextmanager
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeVar

from k6d.storage.data_folder import (
    NotAFileError,
    read_file,
    removable,
    remove_file,
    remove_folder,
    sync_tree,
)
from k6d.storage.documents import DamagedError
from k6d.storage.files import (
    YOUNG_NS,
    disk_errors,
    folders,
    locked,
    make_folder,
    modified_ns,
    write_atomic,
)
from k6d.storage.generation import SCRIPTS, Generation, Seen, by_month
from k6d.storage.record import FIELDS, is_test_id
from k6d.storage.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from k6d.storage.generation import Skip
    from k6d.storage.partitions import Partitions

Document = dict[str, Any]
T = TypeVar("T")

# A reader starts again when partitions were added or removed meanwhile, about once in 250 runs.
READ_ATTEMPTS = 10

# A generation with other fields, or other meanings of them, from another version of k6d, is not
# read but rebuilt. Since version 2, `overrides` leaves out variables beside the script, and the
# metrics are those that are judged. Since version 4 there are folders of months and scripts, and
# since version 6 the writers keep the traits of months.
_VERSION = 6
_PREFIX = f"generation-{zlib.crc32(' '.join([*sorted(FIELDS), str(_VERSION)]).encode()):08x}-"
_GENERATION = re.compile(r"generation-[0-9a-f-]{8,}")


class Index:
    """The generation in use, and its replacement by a new one."""

    def __init__(self, folder: Path, *, root: Path) -> None:
        self._folder, self._root = folder, root
        self._current = folder / "current"
        self._replacing = folder / "replacing"
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

    def replacing(self, test_id: str | None) -> None:
        """Note that the file of an existing run is about to change; None: its entry has too.

        The file has the same name afterwards. Without the note, nobody would see that a process
        died before it changed the entry. Lock held.
        """
        if test_id:
            write_atomic(self._replacing, test_id.encode(), root=self._root)
        else:
            with disk_errors("remove", self._replacing):
                remove_file(self._replacing, root=self._root)

    def replaced(self) -> str | None:
        """The run whose entry may be older than its file; None if there is none. Lock held."""
        with disk_errors("read", self._replacing):
            try:
                test_id = read_file(self._replacing).decode(errors="replace")
            except FileNotFoundError:
                return None
        return test_id if is_test_id(test_id) else None

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
        months = by_month(test_ids)
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
            facts = generation.facts
            facts.update()
            for name in facts.lost():
                with self.locked():
                    facts.mend(name)

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


def _has_current_fields(name: str) -> bool:
    return name.startswith(_PREFIX) and _GENERATION.fullmatch(name) is not None
