"""Make old runs smaller: drop what their age does not keep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.errors import K6dError
from k6d.core.model import SCHEMA_VERSION
from k6d.storage.orphans import STATE
from k6d.storage.partitions import LOWEST_ID
from k6d.storage.removable import stored
from k6d.storage.retention import Tier, slimmed, tier

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from k6d.settings import Retention
    from k6d.storage.retention import Stored
    from k6d.storage.store import Store

SLIMMED, SPARED = "slimmed", "spared"
BATCH = 500


class Slimming:
    """One pass over the runs that became old enough since the last one.

    A run is read once for each tier that it reaches. The state SLIMMED holds the newest run done in
    each tier, and as "spared" the runs that were passed over, because people need them or because
    they could not be read.
    """

    def __init__(
        self,
        store: Store,
        policy: Retention,
        *,
        now: datetime,
        is_needed: Callable[[str, str], bool],
        dry_run: bool,
    ) -> None:
        self._store, self._policy, self._now = store, policy, now
        self._is_needed, self._dry_run = is_needed, dry_run
        self._before = _valid_progress(store.state(STATE).get(SLIMMED) or {})
        self._done: dict[str, Any] = {SPARED: list[str]()} | self._before
        self._again: set[str] = set(self._done[SPARED])
        self._done[SPARED] = []

    def run(self, leaving: Collection[str], unreadable: dict[str, str]) -> tuple[int, int]:
        """Make the runs smaller; returns their number and the bytes freed.

        Runs in `leaving` are left out. Those that cannot be read are added to `unreadable`, with
        the reason.
        """
        count = freed = 0
        for run in self._candidates():
            wanted = tier(self._now - run.timestamp, self._policy)
            if wanted is Tier.FULL or run.test_id in leaving:
                continue
            if self._is_needed(run.test_id, run.script):
                self._done[SPARED].append(run.test_id)
                continue
            try:
                less = self._store.shrink(
                    run.test_id, partial(_reduced, wanted=wanted), dry_run=self._dry_run
                )
                if less is not None:
                    count, freed = count + 1, freed + less
            except (K6dError, ValueError) as error:
                unreadable[run.test_id] = str(error)
                self._done[SPARED].append(run.test_id)
            newest = self._done.get(wanted.value, "")
            self._done[wanted.value] = max(newest, run.test_id)
        if not self._dry_run and self._done != self._before:
            self._store.state(STATE).put(SLIMMED, self._done)
        return count, freed

    def _candidates(self) -> Iterator[Stored]:
        """The runs that were spared, and those that no pass has seen in their present tier."""
        for document in self._store.documents(self._again):
            yield stored(document)
        first = self._before.get(Tier.SUMMARY.value, LOWEST_ID)
        summary = self._end(self._policy.detail_days)
        detail = max(summary, self._before.get(Tier.DETAIL.value, LOWEST_ID))
        yield from self._between(first, summary)
        yield from self._between(detail, self._end(self._policy.full_days))

    def _end(self, days: int) -> str:
        """An id above those of all runs that are older than so many days; 0: no run is."""
        if not days:
            return LOWEST_ID
        moment = (self._now - timedelta(days=days)).astimezone(UTC)
        return f"{moment:%Y%m%d-%H%M%S}~"

    def _between(self, first: str, end: str) -> Iterator[Stored]:
        """The runs above `first`, up to `end`, oldest first, without those that were spared."""

        def collect(documents: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
            later = (one for one in documents if one["test_id"] > first)
            return [dict(document) for document in islice(later, BATCH)]

        while first < end and (batch := self._store.oldest(collect, first)):
            for document in batch:
                first = document["test_id"]
                if first <= end and first not in self._again:
                    yield stored(document)
            if first > end:
                break


def _valid_progress(kept: dict[str, Any]) -> dict[str, Any]:
    """The valid part of the state SLIMMED: {tier: run id, "spared": run ids}."""
    spared = kept.get(SPARED)
    ids = [one for one in spared if isinstance(one, str)] if isinstance(spared, list) else []
    return {k: v for k, v in kept.items() if isinstance(v, str) and k != SPARED} | (
        {SPARED: ids} if SPARED in kept else {}
    )


def _reduced(data: bytes, *, wanted: Tier) -> bytes | None:
    """The run's JSON reduced to the tier `wanted`; None when it is as small already."""
    record = slimmed(checked_record(data), wanted)
    return None if record is None else orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def checked_record(data: bytes) -> dict[str, Any]:
    """The run's JSON, decoded.

    K6dError when a newer k6d wrote it, because it may hold unknown fields that must stay.
    ValueError when it is no run.
    """
    record: dict[str, Any] = orjson.loads(data)
    try:
        if record.get("schema_version", 0) > SCHEMA_VERSION:
            raise K6dError("a newer k6d wrote it")
        aware = datetime.fromisoformat(record["timestamp"]).tzinfo
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("not a run") from error
    if not aware:
        raise ValueError("its timestamp names no time zone")
    return record
