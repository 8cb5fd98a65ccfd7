"""Snapshots that no run needs any more."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.errors import K6dError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from k6d.storage.retention import Stored
    from k6d.storage.store import Store

STATE, YOUNG = "retention", "young"
Prints = dict[str, str | None]

logger = logging.getLogger(__name__)


def orphans(
    store: Store, leaving: Collection[Stored], snapshots: Mapping[str, str | None]
) -> Prints:
    """Snapshots of leaving runs that no remaining run needs, with their fingerprints.

    `snapshots` has the snapshot of each leaving run. Only runs with the same fingerprint can share
    a snapshot, so only those are read: first of the same script, then of all others.
    """
    young = (store.state(STATE).get(YOUNG) or {}).items()
    prints: Prints = {k: v for k, v in young if v is None or isinstance(v, str)}
    of_scripts: dict[str, Prints] = {}
    for run in leaving:
        if snapshot := snapshots[run.test_id]:
            of_scripts.setdefault(run.script, {})[snapshot] = run.fingerprint
    for found in of_scripts.values():
        prints |= found
    prints = {snapshot: made for snapshot, made in prints.items() if _is_id(store, snapshot)}
    gone = {run.test_id for run in leaving}
    for script, found in of_scripts.items():
        asked = {snapshot: made for snapshot, made in found.items() if snapshot in prints}
        left = store.of_script(script, partial(_unneeded, store, asked, gone))
        prints = {k: v for k, v in prints.items() if k not in asked or k in left}
    return store.newest(partial(_unneeded, store, prints, gone)) if prints else {}


def remember_young(store: Store, orphans: Prints) -> None:
    """Store the orphans that were too young to be removed: no run will name them the next time."""
    left = {
        orphan: made for orphan, made in orphans.items() if store.snapshot_path(orphan).exists()
    }
    if left != (store.state(STATE).get(YOUNG) or {}):
        store.state(STATE).put(YOUNG, left)


def snapshot_of(record: dict[str, Any]) -> str | None:
    """The id of the run's snapshot, None when it has none; ValueError when it is no run."""
    try:
        return str(record["snapshot"]["id"]) if record["snapshot"] else None
    except (KeyError, TypeError) as error:
        raise ValueError("not a run") from error


def _unneeded(
    store: Store, prints: Prints, gone: Collection[str], documents: Iterable[dict[str, Any]]
) -> Prints:
    """Those of the snapshots that none of the runs needs; reading stops when none is left.

    A snapshot is kept if a run that may need it cannot be read.
    """
    left = dict(prints)
    for document in documents if left else ():
        made, test_id = document["fingerprint"], document["test_id"]
        if test_id in gone or made not in left.values():
            continue
        for snapshot in _named(store, test_id, [one for one in left if left[one] == made]):
            del left[snapshot]
        if not left:
            break
    return left


def _named(store: Store, test_id: str, candidates: list[str]) -> Iterator[str]:
    """Those of the candidates that the run needs: all of them if it cannot be read."""
    try:
        needed = snapshot_of(orjson.loads(store.load_raw(test_id)))
    except (K6dError, ValueError) as error:
        logger.warning("snapshots such as %s are kept: %s", candidates[0], error)
        yield from candidates
    else:
        yield from (one for one in candidates if one == needed)


def _is_id(store: Store, snapshot: str) -> bool:
    try:
        store.snapshot_path(snapshot)
    except K6dError as error:
        logger.warning("snapshot %s is kept: %s", snapshot, error)
        return False
    return True
