"""Which stored runs retention may remove.

The index is read in small parts: old runs from the oldest on, and of their scripts as many runs as
decide whether one of them is needed. So the memory, and the time for a run, do not grow with the
number of stored runs.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.errors import K6dError
from k6d.storage.files import size
from k6d.storage.orphans import snapshot_of
from k6d.storage.partitions import LOWEST_ID
from k6d.storage.retention import (
    HISTORY_RUNS,
    MIB,
    Archive,
    Contents,
    Removal,
    Stored,
    baselines,
    removals,
    too_many,
    too_old,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from k6d.settings import Retention
    from k6d.storage.store import Store

Document = dict[str, Any]
BATCH = 500  # runs of which it is decided together whether they are needed


def stored(document: Document, *, size: int = 0) -> Stored:
    """The run of an index document; `size` is that of its file in bytes."""
    at = datetime.fromisoformat(document["timestamp"])
    return Stored(
        test_id=document["test_id"],
        script=document["script"],
        timestamp=at if at.tzinfo else at.replace(tzinfo=UTC),
        workload=document["workload"],
        fingerprint=document["fingerprint"],
        comparable=document["comparable"],
        overrides=document["overrides"],
        bytes=size,
    )


class Removable:
    """The runs to remove by a policy.

    `failing` names the first run of each script's open incident. `is_needed` says whether people
    need a run.
    """

    def __init__(
        self,
        store: Store,
        policy: Retention,
        *,
        now: datetime,
        failing: dict[str, str],
        is_needed: Callable[[str, str], bool],
    ) -> None:
        self._store, self._policy, self._now = store, policy, now
        self._failing, self._is_needed = failing, is_needed
        self._outdated: dict[str, tuple[Stored, str]] | None = None

    def removals(self, unreadable: Collection[str]) -> list[Removal]:
        """The runs to remove, first those by age and count, then by size, each oldest first.

        Runs in `unreadable` are kept.
        """
        if self._outdated is None:
            found = {**self._too_many(), **self._too_old()}
            free = self._free(one for one, _ in found.values())
            self._outdated = {test_id: found[test_id] for test_id in free}
        outdated = {i: one for i, one in self._outdated.items() if i not in unreadable}
        used, archives, left = 0, dict[Contents, Archive](), Counter[Archive | None]()
        if self._policy.disk_mib:
            used = self._store.snapshot_bytes() + self._store.runs_bytes()
            if used > self._policy.disk_mib * MIB:
                archives, left = self._archives()
        others = self._others({*outdated, *unreadable})
        return removals(outdated, others, self._policy, used=used, archives=archives, left=left)

    def _stored(self, document: Document) -> Stored:
        return stored(document, size=self._store.run_bytes(document["test_id"]))

    def _too_old(self) -> dict[str, tuple[Stored, str]]:
        if not self._policy.days:
            return {}
        oldest, reason = self._now - timedelta(days=self._policy.days), too_old(self._policy)
        first = f"{oldest.astimezone(UTC):%Y%m%d-%H%M%S}~"

        def collect(documents: Iterator[Document]) -> list[Document]:
            return [dict(one) for one in takewhile(lambda one: one["test_id"] <= first, documents)]

        found = [self._stored(document) for document in self._store.oldest(collect)]
        return {run.test_id: (run, reason) for run in found if run.timestamp < oldest}

    def _too_many(self) -> dict[str, tuple[Stored, str]]:
        if not self._policy.runs:
            return {}

        def collect(documents: Iterator[Document]) -> list[Document]:
            return [dict(document) for document in islice(documents, self._policy.runs, None)]

        reason = too_many(self._policy)
        return {
            document["test_id"]: (self._stored(document), reason)
            for documents in self._store.each_script(collect)
            for document in documents
        }

    def _free(self, runs: Iterable[Stored]) -> set[str]:
        """Those of the runs that nothing needs: no person, and no later run as baseline."""
        by_script: dict[str, list[Stored]] = {}
        for run in runs:
            if not self._is_needed(run.test_id, run.script):
                by_script.setdefault(run.script, []).append(run)
        return {
            run.test_id
            for script, ones in by_script.items()
            for kept in [self._store.of_script(script, partial(self._kept, among=ones))]
            for run in ones
            if run.test_id not in kept
        }

    def _kept(self, documents: Iterator[Document], *, among: list[Stored]) -> set[str]:
        runs = map(stored, documents)
        return baselines(runs, history=HISTORY_RUNS, failing=self._failing, among=among)

    def _others(self, taken: Collection[str]) -> Iterator[Stored]:
        """The runs that nothing needs, oldest first, without those in `taken`."""
        first = LOWEST_ID

        def collect(documents: Iterator[Document]) -> list[Document]:
            later = (one for one in documents if one["test_id"] > first)
            return [dict(document) for document in islice(later, BATCH)]

        while batch := self._store.oldest(collect, first):
            first = batch[-1]["test_id"]
            runs = [self._stored(one) for one in batch if one["test_id"] not in taken]
            free = self._free(runs)
            yield from (run for run in runs if run.test_id in free)

    def _archives(self) -> tuple[dict[Contents, Archive], Counter[Archive | None]]:
        """The snapshot of each contents, named by one of its runs, and the runs of each snapshot.

        Contents whose run is unreadable have none.
        """
        count: Counter[Contents] = Counter()
        example: dict[Contents, str] = {}

        def collect(documents: Iterator[Document]) -> None:
            count.clear()
            for one in documents:
                contents = one["fingerprint"], one["workload"]
                count[contents] += 1
                example[contents] = one["test_id"]

        self._store.newest(collect)
        found: dict[Contents, Archive] = {}
        for contents, test_id in example.items():
            with suppress(K6dError, ValueError):
                if snapshot := snapshot_of(orjson.loads(self._store.load_raw(test_id))):
                    found[contents] = Archive(snapshot, size(self._store.snapshot_path(snapshot)))
        left: Counter[Archive | None] = Counter()
        for contents, runs in count.items():
            left[found.get(contents)] += runs
        return found, left
