"""Make the index agree with the run files after a crash, damage or a manual change."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from k6d.core.errors import K6dError
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    """Runs missing from the index (sorted), entries without a file, and damaged partitions."""

    lacking: list[str]
    gone: set[str]
    damaged: list[Path]


def reconcile(index: Index, runs: RunFiles) -> Repair:
    """Add missing runs to `index`, drop entries without a file, and rebuild damaged partitions.

    The caller holds the writers' lock. Names are compared; only files of missing runs are read. If
    a partition is damaged or there is no index, readers see the old state until the end.
    """
    generation = index.generation()
    found = _difference(generation, runs)
    if generation and not found.damaged:
        return _apply(generation, runs, found)
    with index.rebuilding() as fresh:
        if generation:
            with disk_errors("copy", generation.folder):
                fresh.adopt([path for path in generation.paths() if path not in found.damaged])
        report = _apply(fresh, runs, found)
    messages = [f"{path}: did not parse, rebuilt from the run files" for path in found.damaged]
    return replace(
        report, partitions_rebuilt=len(found.damaged), messages=messages + report.messages
    )


def _difference(generation: Generation | None, runs: RunFiles) -> _Difference:
    """Compare the index with the names of run files, one partition at a time to save memory.

    Writers write the file first and add the entry under the lock that the caller holds. An entry
    without a file is therefore stale.
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


def _apply(generation: Generation, runs: RunFiles, found: _Difference) -> Repair:
    generation.remove(found.gone)
    added, set_aside, messages = fill(generation, runs, found.lacking)
    return Repair(added=added, dropped=len(found.gone), set_aside=set_aside, messages=messages)


def fill(
    generation: Generation,
    runs: RunFiles,
    test_ids: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[int, list[str], list[str]]:
    """Add the runs `test_ids` (sorted) to the index.

    Returns the number of added runs, the paths of files that were set aside, and messages.
    `progress` is called with (done, total).
    """
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
