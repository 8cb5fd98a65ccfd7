"""The store of one data folder: save, load, find and list runs; repair it after a crash."""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from k6d.core.errors import K6dError
from k6d.storage.data_folder import refuse_links
from k6d.storage.files import disk_errors, remove_leftovers
from k6d.storage.index import Index
from k6d.storage.index_reader import IndexReader
from k6d.storage.query import (
    LatestState,
    Query,
    Statistics,
    first_of,
    latest_state,
    statistics,
    summed,
)
from k6d.storage.record import FIELDS, age, encodable, is_test_id
from k6d.storage.repair import Repair, changed_months, rebuild, reconcile
from k6d.storage.runs import RunFiles
from k6d.storage.snapshots import Snapshots
from k6d.storage.state import STATES, State
from k6d.storage.tally import confirms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from k6d.core.model import Earlier, Run

IndexDocument = dict[str, Any]
T = TypeVar("T")
SHORTEST_PART = 4
LISTED_MATCHES = 5
MOST_KEPT = 100  # documents in one cached answer
STATISTICS_KEPT_S = 10
WRITERS = 8

_PART = re.compile(r"[0-9a-f-]+")
_STATE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")

log = logging.getLogger(__name__)


class Store:
    """Runs, their index, snapshots and states in the folder `data`.

    The constructor does not touch the disk. Threads and processes may share a data folder. Each
    method raises K6dError, with path and remedy, when the disk refuses; the store stays usable.
    """

    def __init__(self, data: Path) -> None:
        self._runs = RunFiles(data / "runs", root=data)
        self.keep_files, self.kept_file = self._runs.keep_files, self._runs.kept_file
        self._data = data
        self._state = data / "state"
        self._index = Index(data / "index", root=data)
        reader = IndexReader(self._index, self._runs)
        self._reader = reader
        self.newest, self.oldest, self.each_script = (
            reader.newest,
            reader.oldest,
            reader.each_script,
        )
        self.documents, self.cached = reader.documents, reader.cached
        snapshots = Snapshots(data / "snapshots", root=data, locked=self._index.locked)
        self._snapshots = snapshots
        self.put_snapshot, self.copy_snapshot = snapshots.put, snapshots.copy
        self.snapshot_path, self.snapshot_bytes = snapshots.path, snapshots.total_bytes
        self.drop_snapshots = snapshots.drop
        self._states: dict[str, State] = {}
        self._index_is_behind = False

    def save(self, run: Run) -> None:
        """Write the run's file, then its index entry; an existing run with this id is replaced.

        If only the index could not be written, the K6dError says so: the run itself is saved, and
        the next `save` or `repair` adds it to the index.
        """
        if self.run_path(run.test_id).exists():
            with self._index.locked():  # `shrink` or `amend` may be rewriting it now
                self._replace(run)
            return
        document = self._runs.write(run)
        try:
            with self._index.locked():
                self._enter(document)
        except K6dError as error:
            raise self._left_out(document, error) from error

    def put(self, runs: Iterable[Run]) -> None:
        """Write the files of new runs, several at a time, because each write waits for the disk.

        Call `repair` afterwards to add them to the index, also when the process died halfway.
        """
        with ThreadPoolExecutor(WRITERS) as pool:
            for _ in pool.map(self._runs.write, runs):
                pass

    def amend(self, test_id: str, change: Callable[[Run], Run]) -> Run:
        """Save and return `change(run)` of the stored run; K6dError when it was removed."""
        with self._index.locked():
            run = change(self._runs.load(test_id))
            self._replace(run)
        return run

    def load(self, test_id: str) -> Run:
        """The run `test_id`; unknown fields are ignored. K6dError when it is missing or damaged."""
        return self._runs.load(test_id)

    def load_earlier(self, test_id: str) -> Earlier:
        """What later runs are compared with of the run `test_id`; K6dError as `load`."""
        from k6d.core.model import Earlier

        return self._runs.part(test_id, Earlier)

    def load_raw(self, test_id: str) -> bytes:
        """The run's JSON from its file, without the checksum."""
        return self._runs.read(test_id)

    def run_path(self, test_id: str) -> Path:
        """The path of the run's file, whether it exists or not."""
        return self._runs.path(test_id)

    def find(self, run: str) -> str:
        """The one id that starts or ends with `run`, or the "latest"; K6dError for none or many.

        A re-run is not the latest: its run has the verdict.
        """
        if run == "latest":
            if not (found := self.last()):
                raise K6dError("there is no run yet; 'k6d run SCRIPT' makes one")
            return str(found["test_id"])
        if is_test_id(run) and self.run_path(run).exists():
            return run
        if len(run) < SHORTEST_PART or not _PART.fullmatch(run):
            raise K6dError(
                f"{run!r} names no run; give an id, at least {SHORTEST_PART} characters of its "
                "start or end, a script, or 'latest'"
            )
        ids = self._runs.find(run)
        if len(ids) == 1:
            return ids[0]
        if not ids:
            raise K6dError(f"no run {run}; see 'k6d history' for those there are")
        listed = ", ".join(ids[: -LISTED_MATCHES - 1 : -1])
        more = f" and {len(ids) - LISTED_MATCHES} more" if len(ids) > LISTED_MATCHES else ""
        raise K6dError(f"{run} names {len(ids)} runs: {listed}{more}; give more of the id")

    def history(
        self,
        script: str | None = None,
        limit: int | None = 20,
        *,
        newest: str | None = None,
        **filters: object,
    ) -> list[IndexDocument]:
        """Index documents of `script` with the fields `filters`, up to the id `newest`."""
        unknown = sorted(filters.keys() - FIELDS)
        if unknown:
            raise K6dError(f"no field {unknown[0]!r} in the index; it has {sorted(FIELDS)}")

        def collect(documents: Iterable[IndexDocument]) -> list[IndexDocument]:
            old = (d for d in documents if newest is None or d["test_id"] <= newest)
            matching = (d for d in old if all(d[name] == filters[name] for name in filters))
            return [dict(document) for document in islice(matching, limit)]

        return self._reader.newest(collect, newest=newest, script=_encoded(script))

    def last(self, script: str | None = None) -> IndexDocument | None:
        """The index document of the newest run, or of that of `script`, but for re-runs."""

        def first(documents: Iterator[IndexDocument]) -> IndexDocument | None:
            return next((dict(one) for one in documents if not confirms(one)), None)

        return self._reader.newest(first, script=script and _encoded(script))

    def scripts(self) -> list[IndexDocument]:
        """The newest index document of each script, newest first."""

        def newest(documents: Iterator[IndexDocument]) -> list[IndexDocument]:
            return [dict(document) for document in islice(documents, 1)]

        found = [document for one in self._reader.each_script(newest) for document in one]
        return sorted(found, key=age, reverse=True)

    def refuse_links(self) -> None:
        """LinkError when a part of the data folder is a link; the folder itself may be a link."""
        refuse_links(self._data)

    def delete(self, test_ids: Sequence[str]) -> None:
        """Remove runs: the index entries first, then the files, so that each entry has a file.

        If the process dies halfway, the next `repair` adds the runs whose files are left.
        """
        self.refuse_links()
        with self._index.locked():
            generation = self._index.generation()
            if generation:
                self._reader.repairing(lambda: generation.remove(test_ids))
            for test_id in test_ids:
                self._runs.delete(test_id)
        self._reader.free_memory()
        log.debug("removed %d runs", len(test_ids))

    def shrink(
        self, test_id: str, less: Callable[[bytes], bytes | None], *, dry_run: bool = False
    ) -> int | None:
        """Replace a run's JSON by `less(data)`, under the writers' lock.

        `less` must not change fields of the index document; it returns None to leave the run
        unchanged. Returns the number of freed bytes, or None when the run is unchanged.
        """
        self.refuse_links()
        with self._index.locked():
            data = self._runs.read(test_id)
            left = less(data)
            if left is not None and not dry_run:
                self._runs.replace(test_id, left)
        return None if left is None else len(data) - len(left)

    def of_script(self, script: str, collect: Callable[[Iterator[IndexDocument]], T]) -> T:
        """`collect(documents)` of one script, newest first; see `IndexReader`."""
        return self._reader.newest(collect, script=_encoded(script))

    def runs_bytes(self) -> int:
        """The size of the files of all runs in bytes; looks at each file."""
        return self._runs.total_bytes()

    def run_bytes(self, test_id: str) -> int:
        """The size of the run's file in bytes; 0 when there is none."""
        return self._runs.size(test_id)

    def search(self, query: Query, *, limit: int | None = 50) -> list[IndexDocument]:
        """Index documents that match, newest first; only partitions in its time range are read."""
        if query.script is not None:
            query = replace(query, script=encodable(query.script))

        def collect(found: Iterator[IndexDocument]) -> list[IndexDocument]:
            return query.select(found, limit)

        script = query.script
        if limit is None or limit > MOST_KEPT:
            return self._reader.newest(
                collect, newest=query.newest(), script=script, skip=query.skip()
            )
        key = "search", query, limit
        kept = self.cached(key, collect, newest=query.newest(), script=script, skip=query.skip())
        return [dict(document) for document in kept]

    def statistics(
        self, *, days: int, now: datetime | None = None, script: str | None = None
    ) -> Statistics:
        """Counts of the last `days` days; of closed days and months, noted counts are read."""
        now = now or datetime.now(UTC)
        name = _encoded(script)
        lately = int(now.timestamp() / STATISTICS_KEPT_S)
        key = "statistics", days, name, lately
        if name is None:
            first = first_of(days=days, now=now)
            return self._reader.cached_answer(
                key, lambda: summed(self._reader.tally(first), days=days, now=now)
            )
        return self.cached(
            key,
            lambda found: statistics(found, days=days, now=now, script=name),
            script=name,
        )

    def latest_states(
        self, *, recent: int = 30, metric: str = "response_time_p95"
    ) -> dict[str, LatestState]:
        """Each script's latest state, the script that ran last first."""
        make = partial(latest_state, recent=recent, metric=metric)

        def collect() -> dict[str, LatestState]:
            found = [state for state in self._reader.each_script(make) if state]
            found.sort(key=lambda state: age(state.newest), reverse=True)
            return {state.last["script"]: state for state in found}

        return dict(self._reader.cached_answer(("latest_states", recent, metric), collect))

    def state(self, name: str) -> State:
        """The state with that name; K6dError unless it is lower case letters, digits, - and _."""
        if not _STATE_NAME.fullmatch(name):
            raise K6dError(f"{name!r} cannot name a state; use lower case letters, digits, - and _")
        return self._states.setdefault(name, State(self._state / f"{name}.json", root=self._data))

    def repair(self) -> Repair:
        """Repair the data folder after a crash; cheap enough for each start of the daemon.

        Only temporary files of dead processes and unfinished indexes are deleted. Run files that
        are missing from the index and do not parse, and states that do not parse, are renamed to
        `….unreadable`, logged, and listed in the report.
        """
        self.refuse_links()
        data = self._data
        months = changed_months(self._index, self._runs)
        places = [data, *months, self._snapshots.folder, self._state, *self._index.folders()]
        with disk_errors("clean", data):
            leftovers = remove_leftovers(places, root=data)
        aside = {name: path for name in STATES if (path := self.state(name).mend())}
        with self._index.locked():
            self._index.sweep()
            found = reconcile(self._index, self._runs)
        self._index_is_behind = False
        lost = [f"{path}: did not parse, set aside: {STATES[name]}" for name, path in aside.items()]
        report = replace(
            found,
            leftovers_removed=leftovers,
            set_aside=[*found.set_aside, *map(str, aside.values())],
            states=list(aside),
            messages=[*found.messages, *lost],
        )
        if report != Repair():
            log.info("store repaired: %d runs added, %d dropped", report.added, report.dropped)
        for message in report.messages:
            log.warning("%s", message)
        return report

    def check_index(self) -> None:
        """Compare what changed since the last check with the run files, and repair the index.

        When this is done now and then, the next start has little to compare.
        """
        with self._index.locked():
            report = reconcile(self._index, self._runs)
        for message in report.messages:
            log.warning("%s", message)
        self._reader.update_facts()

    def reindex(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Rebuild the index from the run files; returns the number of its runs.

        `progress` is called with (done, total). Other writers wait meanwhile. Readers do not wait:
        they see the old index until the new one is complete.
        """
        with self._index.locked():
            report = rebuild(self._index, self._runs, progress)
        self._reader.update_facts()
        self._index_is_behind = False
        for message in report.messages:
            log.warning("%s", message)
        log.info("index rebuilt: %d runs", report.added)
        return report.added

    def _replace(self, run: Run) -> None:
        """Write an existing run's file and its index entry. Lock held.

        The lock covers both: otherwise two changes at once could leave the entry of the first.
        """
        if self._index.replaced() not in (None, run.test_id):
            reconcile(self._index, self._runs)
        self._index.replacing(run.test_id)
        document = self._runs.write(run)
        try:
            self._enter(document)
        except K6dError as error:
            raise self._left_out(document, error) from error
        self._index.replacing(None)

    def _enter(self, document: IndexDocument) -> None:
        """Add a document to the index. Lock held."""
        if self._index_is_behind:
            reconcile(self._index, self._runs)
        self._reader.repairing(lambda: self._index.add(document))
        self._index_is_behind = False

    def _left_out(self, document: IndexDocument, error: K6dError) -> K6dError:
        self._index_is_behind = True
        return K6dError(f"run {document['test_id']} is kept, but not in the index: {error}")

    def free_memory(self) -> None:
        """Free the memory of cached answers and states; the next call reads the files again."""
        self._reader.free_memory()
        for state in list(self._states.values()):
            state.free_memory()


def _encoded(script: str | None) -> str | None:
    """The script's name as index documents have it."""
    return None if script is None else encodable(script)
