"""Make the index agree with the run files, after a crash, damage, or a change by hand."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from k6d.core.model import K6dError
from k6d.storage.files import disk_errors
from k6d.storage.index import PARTITION_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from k6d.storage.index import Generation, Index
    from k6d.storage.runs import RunFiles

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What was mended; `messages` are lines for a person, empty when all was well.

    `states` are the states of which all or a part was lost.
    """

    added: int = 0
    dropped: int = 0
    partitions_rebuilt: int = 0
    leftovers_removed: int = 0
    set_aside: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    """Runs that the index lacks (sorted), entries without a file, partitions that don't parse."""

    lacking: list[str]
    gone: set[str]
    damaged: list[Path]


def reconcile(index: Index, runs: RunFiles) -> Repair:
    """Enter the runs that `index` lacks, drop what has no file, fill damaged partitions again.

    The caller holds the writers' lock. Compares names and reads only the files that are missing.
    When partitions are damaged, or there is no index, readers see the old state until all is done.
    """
    generation = index.generation()
    found = _compared(generation, runs)
    if generation and not found.damaged:
        return _settle(generation, runs, found)
    with index.rebuilding() as fresh:
        if generation:
            with disk_errors("copy", generation.folder):
                fresh.adopt([path for path in generation.paths() if path not in found.damaged])
        report = _settle(fresh, runs, found)
    messages = [f"{path}: did not parse, rebuilt from the run files" for path in found.damaged]
    return replace(
        report, partitions_rebuilt=len(found.damaged), messages=messages + report.messages
    )


def _compared(generation: Generation | None, runs: RunFiles) -> _Difference:
    """Entries against the names of files, a partition at a time: a long past takes no more memory.

    Writers write files first and enter them under the lock that the caller holds, so no entry is
    taken for stale because its file came later.
    """
    lacking: list[str] = []
    gone: set[str] = set()
    damaged: list[Path] = []
    files = runs.ids()
    ahead = next(files, None)
    for path, end, entered in generation.contents() if generation else ():
        stored: set[str] = set()
        while ahead is not None and (end is None or ahead < end):
            stored.add(ahead)
            ahead = next(files, None)
        if entered is None:
            damaged.append(path)
        lacking += sorted(stored - (entered or set()))
        gone |= (entered or set()) - stored
    if ahead is not None:
        lacking += [ahead, *files]
    return _Difference(lacking=lacking, gone=gone, damaged=damaged)


def _settle(generation: Generation, runs: RunFiles, found: _Difference) -> Repair:
    generation.remove(found.gone)
    added, set_aside, messages = fill(generation, runs, found.lacking)
    return Repair(added=added, dropped=len(found.gone), set_aside=set_aside, messages=messages)


def fill(
    generation: Generation,
    runs: RunFiles,
    test_ids: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[int, list[str], list[str]]:
    """Enter the runs `test_ids` (sorted); return how many, the files set aside, and messages."""
    added, set_aside, messages = 0, [], []
    for start in range(0, len(test_ids), PARTITION_LIMIT):
        batch = test_ids[start : start + PARTITION_LIMIT]
        documents = []
        for test_id in batch:
            try:
                document = runs.document(test_id)
            except K6dError as error:
                messages.append(str(error))
            except ValueError as error:
                aside = runs.set_aside(test_id)
                set_aside.append(str(aside))
                messages.append(f"{aside}: not a run that parses ({error}), set aside")
            else:
                documents += [document] if document else []
        generation.add(documents)
        added += len(documents)
        if progress:
            progress(start + len(batch), len(test_ids))
    return added, set_aside, messages
