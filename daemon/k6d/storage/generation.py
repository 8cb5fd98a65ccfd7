"""A complete index: the documents by month and again by script, and the notes beside them.

"Lock held" means: the caller holds the writers' lock.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from k6d.storage.checked import stamps
from k6d.storage.facts import Facts
from k6d.storage.files import names
from k6d.storage.months import Months
from k6d.storage.partitions import Partitions
from k6d.storage.record import month_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from k6d.storage.tally import Tally

Document = dict[str, Any]
Skip = Callable[[dict[str, Any]], bool]

SCRIPT_LIMIT = 100  # documents in a partition of a script
SCRIPTS = "scripts"

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
        self.folder, self.root, self.durable = folder, root, durable
        self._months = Months(folder, root=root, durable=durable)
        self.facts = Facts(self._months)

    def months(self) -> list[str]:
        """The months that have documents, such as 2026-11, oldest first."""
        return self._months.names()

    def month(self, name: str) -> Partitions:
        """The documents of a month; there may be none."""
        return self._months.partitions(name, partial(self.facts.enter, name))

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
        for name in reversed(seen.list(self.months)):
            if newest is not None and name > month_of(newest):
                continue
            month, skipped = self.month(name), set[str]()
            if skip and (whole := self.facts.traits(name)) and skip(whole):
                continue
            starts = seen.list(month.starts)
            if skip:
                known = self.facts.parts(name, stamps(month.folder))
                skipped = {start for start, its in known.items() if skip(its)}
            yield from month.newest_first(starts, newest, skipped)

    def tally(self, first: str, seen: Seen) -> Tally:
        """The counts of all runs from the id `first` on."""
        return self.facts.tally_since(first, seen.list)

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
        for name, ids in by_month(test_ids):
            found = self.month(name).find(ids)
            self.month(name).remove(ids)
            self._remove_from_scripts(found)

    def remove_stale(self, test_ids: Collection[str]) -> None:
        """Drop the documents of runs whose files are gone. Lock held.

        From the months last: if the process dies, a check finds documents without a file.
        """
        for name, ids in by_month(test_ids):
            self._remove_from_scripts(self.month(name).find(ids))
            self.month(name).remove(ids)

    def _remove_from_scripts(self, documents: Iterable[Document]) -> None:
        for script, gone in by_script(documents).items():
            self.script(script).remove([document["test_id"] for document in gone])

    def _script(self, name: str) -> Partitions:
        place = f"{self.folder}/{SCRIPTS}/{name}"
        return Partitions(place, root=self.root, limit=SCRIPT_LIMIT, durable=self.durable)


def by_month(test_ids: Iterable[str]) -> list[tuple[str, list[str]]]:
    return [(name, list(ids)) for name, ids in groupby(sorted(test_ids), month_of)]


def by_script(documents: Iterable[Document]) -> dict[str, list[Document]]:
    """The documents of each script, in the same order."""
    found: dict[str, list[Document]] = {}
    for document in documents:
        found.setdefault(document["script"], []).append(document)
    return found
