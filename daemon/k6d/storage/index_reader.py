"""Reads the index for queries: repairs it first if it is damaged, and caches small answers."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from k6d.storage.documents import DamagedError
from k6d.storage.partitions import LOWEST_ID
from k6d.storage.repair import reconcile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from k6d.storage.generation import Skip
    from k6d.storage.index import Index
    from k6d.storage.runs import RunFiles
    from k6d.storage.tally import Tally

IndexDocument = dict[str, Any]
T = TypeVar("T")
MOST_ANSWERS = 16  # cached until a run is saved; statistics of a year take a second
MOST_MENDED = 1000  # damaged partitions in one call that are written anew

log = logging.getLogger(__name__)


class IndexReader:
    """Queries of the index.

    `collect` gets an iterator of documents, which must not be changed, and reads as many of them as
    it needs. It may be called again when the index changed meanwhile.
    """

    def __init__(self, index: Index, runs: RunFiles) -> None:
        self._index, self._runs = index, runs
        self._answers: dict[object, tuple[object, object]] = {}

    def newest(
        self,
        collect: Callable[[Iterator[IndexDocument]], T],
        *,
        newest: str | None = None,
        script: str | None = None,
        skip: Skip | None = None,
    ) -> T:
        """`collect(documents)`, of all runs or of a script, from the id `newest` down.

        Parts of the index whose traits `skip` accepts are not read.
        """
        return self._mending(
            lambda: self._index.read(collect, newest=newest, script=script, skip=skip)
        )

    def tally(self, first: str) -> Tally:
        """The counts of all runs from the id `first` on."""
        return self._mending(lambda: self._index.tally(first))

    def oldest(self, collect: Callable[[Iterator[IndexDocument]], T], first: str = LOWEST_ID) -> T:
        """`collect(documents)` of all runs from the id `first` on, oldest first."""
        return self._mending(lambda: self._index.read_from(collect, first))

    def each_script(self, collect: Callable[[Iterator[IndexDocument]], T]) -> list[T]:
        """`collect(documents)` for each script, newest first; the scripts are in no order."""
        return self._mending(lambda: self._index.read_scripts(collect))

    def documents(self, test_ids: Collection[str]) -> list[IndexDocument]:
        """The documents of these runs, oldest first; runs that the index lacks are left out."""
        return self._mending(lambda: self._index.find(test_ids))

    def update_facts(self) -> None:
        """Note what queries need of the parts of the index that changed; see `facts`."""
        self._mending(self._index.update_facts)

    def cached(
        self,
        key: object,
        collect: Callable[[Iterator[IndexDocument]], T],
        *,
        newest: str | None = None,
        script: str | None = None,
        skip: Skip | None = None,
    ) -> T:
        """The cached result of `collect` for `key`, or a new one after the index has changed.

        With `script`, the documents are those of the script; `skip` as in `newest`.
        """
        make = partial(self.newest, collect, newest=newest, script=script, skip=skip)
        return self.cached_answer(key, make, script=script)

    def cached_answer(self, key: object, make: Callable[[], T], *, script: str | None = None) -> T:
        """The cached answer for `key`, or that of `make` after the index has changed."""
        stamp = self._index.stamp(script)
        kept = self._answers.get(key)
        if kept and kept[0] == stamp:
            return cast("T", kept[1])
        answer = make()
        if len(self._answers) >= MOST_ANSWERS:
            self._answers.clear()
        self._answers[key] = (stamp, answer)
        return answer

    def free_memory(self) -> None:
        """Forget the cached answers."""
        self._answers.clear()

    def repairing(self, act: Callable[[], T]) -> T:
        """Call `act`, which changes the index, after a repair if it is damaged. Lock held."""
        for _ in range(MOST_MENDED):
            try:
                return act()
            except DamagedError as error:
                reconcile(self._index, self._runs, damaged=error.path)
        return act()

    def _mending(self, read: Callable[[], T]) -> T:
        """The answer of `read`, after a repair if there is no index or it is damaged."""
        for _ in range(MOST_MENDED):
            damaged = None
            try:
                if self._index.generation() or next(self._runs.ids(), None) is None:
                    return read()
            except DamagedError as error:
                damaged = error.path
                log.warning("rebuilding the damaged index from the run files: %s", error)
            with self._index.locked():
                reconcile(self._index, self._runs, damaged=damaged)
        return read()
