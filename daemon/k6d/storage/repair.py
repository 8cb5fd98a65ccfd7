"""Make the index agree with the run files after a crash, damage or a manual change."""

from __future__ import annotations

import logging
from bisect import bisect_left
from contextlib import suppress
from dataclasses import field
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from k6d.core.errors import K6dError
from k6d.core.frozen import frozen
from k6d.storage.checked import Checked, MonthNow, ranges, settled_ns
from k6d.storage.documents import DamagedError
from k6d.storage.generation import Seen
from k6d.storage.months import PARTITION_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from k6d.storage.generation import Generation
    from k6d.storage.index import Index
    from k6d.storage.partitions import Span
    from k6d.storage.runs import RunFiles

Document = dict[str, Any]
T = TypeVar("T")
MOST_WAITING = 50_000  # documents in memory: some 30 MB

log = logging.getLogger(__name__)


@frozen
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
    are kept as text: as objects, or as a text each, they take five times the memory.
    """

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._waiting: dict[str, bytearray] = {}
        self._count = 0

    def add(self, documents: Iterable[Document]) -> None:
        """Compare these documents, sorted by id, with those of their scripts, now or later."""
        for document in documents:
            text = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
            self._waiting.setdefault(document["script"], bytearray()).extend(text)
            self._count += 1
        if self._count >= MOST_WAITING:
            self.finish()

    def finish(self) -> None:
        """Add those documents that their scripts lack or have in another form."""
        for name, texts in self._waiting.items():
            script = self._generation.script(name)
            documents = [orjson.loads(line) for line in texts.splitlines()]
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
        copies, checked = _ScriptCopies(generation), Checked(generation.folder, generation.root)
        written: list[tuple[str, int, list[str]]] = []
        for month in months:
            changed, entered = settled_ns(runs.folder_of(month)), list[str]()
            for batch in _batches(runs.ids_of(month)):
                documents = _documents(runs, batch, found)
                generation.add_to_months(documents)
                copies.add(documents)
                there = {document["test_id"] for document in documents}
                # Not the texts of documents: each would keep a page of freed ones alive.
                entered += [test_id for test_id in batch if test_id in there]
                done += len(batch)
                if progress:
                    progress(done, total)
            found.added += len(entered)
            # Parts that were written just now cannot be noted, so the last month waits.
            written = [*_note(written, generation, checked), (month, changed, entered)]
        copies.finish()
        _note(written, generation, checked)
        checked.write()
    return found.report()


def _note(
    written: list[tuple[str, int, list[str]]], generation: Generation, checked: Checked
) -> list[tuple[str, int, list[str]]]:
    """Note that these new months agree with the run files; returns []."""
    for name, changed, ids in written:
        now = MonthNow(runs=changed, index=generation.month(name).folder)
        checked.put(name, now.record(ranges(list(now.parts), ids), whole=True))
    return []


def reconcile(index: Index, runs: RunFiles, *, damaged: Path | None = None) -> Repair:
    """Add missing runs to `index`, drop entries without a file, and rebuild damaged partitions.

    The caller holds the writers' lock. Names are compared, of what changed since the last time;
    only files of missing runs are read. `damaged` is a partition in which a reader found damage.
    Without an index, a new one is built.
    """
    generation = index.generation()
    if generation is None:
        return rebuild(index, runs)
    if damaged and generation.is_of_script(damaged):
        with suppress(DamagedError):  # of a month, which the rest rebuilds
            count = mend_script(generation, damaged)
            message = f"{damaged}: did not parse, rebuilt from the documents of its months"
            return Repair(partitions_rebuilt=count, messages=[message])
    checked = Checked(generation.folder, generation.root)
    if damaged:
        checked.forget(damaged)
    replaced = index.replaced()
    one = _Reconciling(generation, runs, checked)
    for name in sorted({*generation.months(), *(month.name for month in runs.months())}):
        one.month(name)
    one.copies.finish()
    if replaced:
        _on_scripts(generation, partial(generation.add, _documents(runs, [replaced], one.found)))
        index.replacing(None)
    checked.write()
    return one.found.report()


def changed_months(index: Index, runs: RunFiles) -> list[Path]:
    """The folders of run files that changed since they were compared with the index."""
    generation = index.generation()
    if generation is None:
        return runs.months()
    checked = Checked(generation.folder, generation.root)
    return [
        month
        for month in runs.months()
        if not checked.are_same_files(month.name, settled_ns(str(month)))
    ]


class _Reconciling:
    """Makes months of the index agree with their run files.

    Writers write the file first and add the entry under the lock that the caller holds. An entry
    without a file is therefore stale.
    """

    def __init__(self, generation: Generation, runs: RunFiles, checked: Checked) -> None:
        self._generation, self._runs, self._checked = generation, runs, checked
        self.found, self.copies = _Found(), _ScriptCopies(generation)

    def month(self, name: str) -> None:
        """One month; `copies.finish` has to follow when all months are done."""
        part = self._generation.month(name)
        now = MonthNow(runs=settled_ns(self._runs.folder_of(name)), index=part.folder)
        if self._checked.is_same_month(name, now):
            return
        files, begin, lacking = self._runs.ids_of(name), 0, list[str]()
        agreed: dict[str, Sequence[str]] = {}
        messages = len(self.found.messages)
        spans = part.spans()
        for span in spans:
            end = len(files) if span.end is None else bisect_left(files, span.end)
            stored, begin = files[begin:end], end
            if self._checked.is_same_part(name, span.start, now, stored):
                agreed[span.start] = stored
                continue
            absent = self._part(name, span, stored)
            if absent is None:
                agreed[span.start] = stored
            else:
                lacking += absent
        lacking += files[begin:]
        for batch in _batches(lacking):
            self._enter(part.add, batch)
        whole = len(agreed) == len(spans) and not lacking and messages == len(self.found.messages)
        self._checked.put(name, now.record(agreed, whole=whole))

    def _part(self, name: str, span: Span, stored: Sequence[str]) -> list[str] | None:
        """Compare a partition; returns the ids that it lacks, None when it agrees with `stored`."""
        part = self._generation.month(name)
        documents = part.documents(span)
        if documents is None:
            self.found.rebuilt += 1
            path = part.path(span.start)
            self.found.messages.append(f"{path}: did not parse, rebuilt from the run files")
            self._enter(partial(part.put, span.start), stored)
            self._drop_from_scripts(name, span, set(stored))
            return []
        there, entered = set(stored), {one["test_id"] for one in documents}
        self.copies.add(one for one in documents if one["test_id"] in there)
        if there == entered:
            return None
        if gone := sorted(entered - there):
            _on_scripts(self._generation, partial(self._generation.remove_stale, gone))
            self.found.dropped += len(gone)
        return sorted(there - entered)

    def _drop_from_scripts(self, month: str, span: Span, stored: set[str]) -> None:
        """Drop what scripts have of a partition beyond `stored`: its own documents are lost."""
        first = max(span.start, month.replace("-", ""))
        end = min(span.end or "~", month.replace("-", "") + "~")
        for script in self._generation.scripts():
            damaged = next((one for one in script.spans() if script.documents(one) is None), None)
            if damaged:
                mend_script(self._generation, script.path(damaged.start))
            found = script.oldest_first(script.starts(), first)
            ids = takewhile(lambda test_id: test_id < end, (one["test_id"] for one in found))
            script.remove([test_id for test_id in ids if test_id not in stored])

    def _enter(self, add: Callable[[list[Document]], None], test_ids: Sequence[str]) -> None:
        """Read the run files and `add` their documents to the month, and to their scripts."""
        documents = _documents(self._runs, test_ids, self.found)
        add(documents)
        self.copies.add(documents)
        self.found.added += len(documents)


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
    damaged = [span for span in script.spans() if script.documents(span) is None]
    for span in damaged:
        own = []
        for document in generation.oldest_first(span.start, Seen()):
            if span.end is not None and document["test_id"] >= span.end:
                break
            if generation.script(document["script"]).folder == script.folder:
                own.append(document)
        script.put(span.start, own)
    return len(damaged)


def _batches(test_ids: Sequence[str]) -> Iterator[Sequence[str]]:
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
