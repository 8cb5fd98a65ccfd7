"""Make the index agree with the run files after a crash, damage or a manual change."""

from __future__ import annotations

import logging
from bisect import bisect_left
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from k6d.core.errors import K6dError
from k6d.storage.documents import DamagedError
from k6d.storage.index import PARTITION_LIMIT, Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from k6d.storage.index import Generation, Index
    from k6d.storage.runs import RunFiles

Document = dict[str, Any]
T = TypeVar("T")
MOST_WAITING = 50_000  # documents in memory: some 30 MB

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What a repair changed; `messages` are lines for the log, empty when nothing was damaged.

    `states` names the states that lost all or some of their entries.
    """

    added: int = 0
    dropped: int = 0
    partitions_rebuilt: int = 0
    leftovers_removed: int = 0
    set_aside: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


class _Found:
    """What a repair has changed so far."""

    def __init__(self) -> None:
        self.added = self.dropped = self.rebuilt = 0
        self.set_aside: list[str] = []
        self.messages: list[str] = []

    def report(self) -> Repair:
        """The finished report."""
        return Repair(
            added=self.added,
            dropped=self.dropped,
            partitions_rebuilt=self.rebuilt,
            set_aside=self.set_aside,
            messages=self.messages,
        )


class _ScriptCopies:
    """Adds documents of months to their scripts, many at a time.

    One by one, each of 500 scripts would rewrite a partition for each of its documents. Documents
    are kept as bytes, because in memory each takes five times as much otherwise.
    """

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._waiting: dict[str, list[bytes]] = {}
        self._count = 0

    def add(self, documents: Iterable[Document]) -> None:
        """Compare these documents, sorted by id, with those of their scripts, now or later."""
        for document in documents:
            self._waiting.setdefault(document["script"], []).append(orjson.dumps(document))
            self._count += 1
        if self._count >= MOST_WAITING:
            self.finish()

    def finish(self) -> None:
        """Add those documents that their scripts lack or have in another form."""
        for name, texts in self._waiting.items():
            script, documents = self._generation.script(name), [orjson.loads(one) for one in texts]
            ids = [document["test_id"] for document in documents]
            known = _on_scripts(self._generation, partial(script.find, ids))
            held = {document["test_id"]: document for document in known}
            script.add([one for one in documents if held.get(one["test_id"]) != one])
        self._waiting, self._count = {}, 0


def rebuild(
    index: Index, runs: RunFiles, progress: Callable[[int, int], None] | None = None
) -> Repair:
    """Build a new index from the run files; readers see the old one until the end. Lock held.

    `progress` is called with (done, total).
    """
    found, done = _Found(), 0
    months = [month.name for month in runs.months()]
    total = sum(runs.count(month) for month in months)
    with index.rebuilding() as generation:
        copies = _ScriptCopies(generation)
        for month in months:
            for batch in _batches(runs.ids_of(month)):
                documents = _documents(runs, batch, found)
                generation.add_to_months(documents)
                copies.add(documents)
                found.added += len(documents)
                done += len(batch)
                if progress:
                    progress(done, total)
        copies.finish()
    return found.report()


def reconcile(index: Index, runs: RunFiles, *, damaged: Path | None = None) -> Repair:
    """Add missing runs to `index`, drop entries without a file, and rebuild damaged partitions.

    The caller holds the writers' lock. Names are compared; only files of missing runs are read.
    `damaged` is a partition in which a reader found damage. Without an index, a new one is built.
    """
    generation = index.generation()
    if generation is None:
        return rebuild(index, runs)
    if damaged and generation.is_of_script(damaged):
        with suppress(DamagedError):  # of a month, which the rest rebuilds
            count = mend_script(generation, damaged)
            message = f"{damaged}: did not parse, rebuilt from the documents of its months"
            return Repair(partitions_rebuilt=count, messages=[message])
    found, copies = _Found(), _ScriptCopies(generation)
    for name in sorted({*generation.months(), *(month.name for month in runs.months())}):
        _reconcile_month(generation, runs, name, found=found, copies=copies)
    copies.finish()
    return found.report()


def _reconcile_month(
    generation: Generation, runs: RunFiles, name: str, *, found: _Found, copies: _ScriptCopies
) -> None:
    """Make a month of the index agree with its run files.

    Writers write the file first and add the entry under the lock that the caller holds. An entry
    without a file is therefore stale.
    """
    month, files = generation.month(name), runs.ids_of(name)
    begin, lacking = 0, list[str]()
    for part in month.contents():
        end = len(files) if part.end is None else bisect_left(files, part.end)
        stored, begin = files[begin:end], end
        if part.documents is None:
            documents = _documents(runs, stored, found)
            month.put(part.start, documents)
            path = month.path(part.start)
            found.messages.append(f"{path}: did not parse, rebuilt from the run files")
            found.rebuilt += 1
            found.added += len(documents)
            copies.add(documents)
            continue
        there, entered = set(stored), {one["test_id"] for one in part.documents}
        gone = sorted(entered - there)
        copies.add(one for one in part.documents if one["test_id"] in there)
        _on_scripts(generation, partial(generation.remove, gone))
        found.dropped += len(gone)
        lacking += sorted(there - entered)
    lacking += files[begin:]
    for batch in _batches(lacking):
        documents = _documents(runs, batch, found)
        month.add(documents)
        copies.add(documents)
        found.added += len(documents)


def _on_scripts(generation: Generation, act: Callable[[], T]) -> T:
    """Call `act`; mend the damaged partitions of scripts that it meets."""
    while True:
        try:
            return act()
        except DamagedError as error:
            if not generation.is_of_script(error.path):
                raise
            mend_script(generation, error.path)


def mend_script(generation: Generation, path: Path) -> int:
    """Write the damaged partitions of a script anew, from the documents of the months.

    `path` is one of them. Returns their number. Lock held.
    """
    script = generation.script_of(path)
    damaged = [part for part in script.contents() if part.documents is None]
    for part in damaged:
        own = []
        for document in generation.oldest_first(part.start, Seen()):
            if part.end is not None and document["test_id"] >= part.end:
                break
            if generation.script(document["script"]).folder == script.folder:
                own.append(document)
        script.put(part.start, own)
    return len(damaged)


def _batches(test_ids: list[str]) -> Iterator[list[str]]:
    return (
        test_ids[begin : begin + PARTITION_LIMIT]
        for begin in range(0, len(test_ids), PARTITION_LIMIT)
    )


def _documents(runs: RunFiles, test_ids: Iterable[str], found: _Found) -> list[Document]:
    """The index documents of the runs `test_ids`; files that are no run are set aside."""
    documents = []
    for test_id in test_ids:
        try:
            document = runs.document(test_id)
        except K6dError as error:
            found.messages.append(str(error))
        except ValueError as error:
            aside = runs.set_aside(test_id)
            found.set_aside.append(str(aside))
            found.messages.append(f"{aside}: not a run that parses ({error}), set aside")
        else:
            documents += [document] if document else []
    return documents
