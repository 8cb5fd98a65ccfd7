"""Deletes runs that a person names, with their confirmations and the snapshots of no other run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.core.errors import K6dError
from k6d.core.frozen import frozen
from k6d.core.terms import Trigger
from k6d.storage import accepted, prune
from k6d.storage.orphans import orphans, remember_young
from k6d.storage.pinned import pins
from k6d.storage.removable import stored

if TYPE_CHECKING:
    from collections.abc import Collection

    from k6d.storage.store import Store


@frozen
class Deleted:
    """The deleted runs, among them the confirmations of those that were named."""

    runs: list[str]
    snapshots: int


def with_confirmations(test_ids: Collection[str], store: Store) -> list[str]:
    """The runs, and the re-runs that confirm them, which say nothing without them.

    K6dError when a run is pinned or an accepted level names it.
    """
    found = set(test_ids)
    for test_id in test_ids:
        try:
            found.update(store.load(test_id).confirmations)
        except K6dError:  # damaged: a person may delete it for that reason
            continue
    pinned = found & {pin.run for pin in pins(store)}
    if pinned:
        raise K6dError(f"run {min(pinned)} is pinned; 'k6d pin {min(pinned)} --off' unpins it")
    if levels := found & accepted.run_ids(store):
        one = min(levels)
        raise K6dError(f"an accepted level begins or ends with run {one}; 'k6d unaccept' ends it")
    return sorted(run for run in found if store.run_path(run).exists())


def delete(test_ids: Collection[str], store: Store) -> Deleted:
    """Delete these runs and the snapshots that no other run needs.

    If the process dies halfway, a snapshot may be gone before its run; the run stays readable.
    """
    leaving = [stored(document) for document in store.documents(test_ids)]
    snapshots: dict[str, str | None] = {}
    damaged = prune.find_unreadable(store, [run.test_id for run in leaving], snapshots)
    snapshots |= dict.fromkeys(damaged)
    unneeded = orphans(store, leaving, snapshots)
    dropped = store.drop_snapshots(unneeded)
    remember_young(store, unneeded)
    store.delete(sorted(test_ids))
    return Deleted(runs=sorted(test_ids), snapshots=len(dropped))


def runs_of(script: str, store: Store) -> list[str]:
    """Every run of the script that is no confirmation, oldest first."""
    found = store.history(script, limit=None)
    return sorted(d["test_id"] for d in found if d["trigger"] != Trigger.CONFIRMATION)
