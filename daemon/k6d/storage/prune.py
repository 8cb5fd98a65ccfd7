"""Retention: remove old runs or make them smaller, and remove snapshots without a run."""

from __future__ import annotations

import logging
from dataclasses import field
from typing import TYPE_CHECKING

from k6d.core.errors import K6dError
from k6d.core.frozen import frozen
from k6d.core.text import plural
from k6d.storage import accepted
from k6d.storage.orphans import STATE, orphans, remember_young, snapshot_of
from k6d.storage.pinned import pins
from k6d.storage.removable import Removable, stored
from k6d.storage.retention import MIB, Removal
from k6d.storage.slimming import SLIMMED, Slimming, checked_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from k6d.settings import Settings
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

INCIDENTS = "incidents"
BATCH = 500  # runs removed under one lock; a run that ends meanwhile waits for one batch only


@frozen
class Pruned:
    """What was removed, or would be: runs, runs made smaller, snapshots, and the bytes freed."""

    removed: list[Removal] = field(default_factory=list)
    slimmed: int = 0
    snapshots: int = 0
    bytes: int = 0


def prune(settings: Settings, store: Store, *, now: datetime, dry_run: bool = False) -> Pruned:
    """Remove what the settings do not keep; with `dry_run` only report it.

    If the process dies halfway, the next call removes the rest.
    """
    failing, is_needed = _needed_by_people(store)
    removable = Removable(store, settings.retention, now=now, failing=failing, is_needed=is_needed)
    gone = removable.removals(())
    snapshots: dict[str, str | None] = {}
    unreadable: dict[str, str] = {}
    while found := find_unreadable(store, [one.test_id for one in gone], snapshots):
        unreadable |= found
        gone = removable.removals(unreadable)
    leaving = {removal.test_id for removal in gone}
    # Snapshots first: if the process dies here, the next call still finds the runs and removes
    # them. In the other order nothing would name the snapshots any more.
    unneeded = orphans(store, [stored(one) for one in store.documents(leaving)], snapshots)
    dropped = store.drop_snapshots(unneeded, dry_run=dry_run)
    if not dry_run:
        remember_young(store, unneeded)
        gone = _delete(store, gone)
    slimming = Slimming(store, settings.retention, now=now, is_needed=is_needed, dry_run=dry_run)
    count, freed = slimming.run(leaving, unreadable)
    if unreadable:
        first, why = next(iter(unreadable.items()))
        runs_kept = plural(len(unreadable), "run")
        logger.warning("pruning kept %s that it cannot read, such as %s: %s", runs_kept, first, why)
    done = Pruned(
        removed=gone,
        slimmed=count,
        snapshots=len(dropped),
        bytes=sum(removal.bytes for removal in gone) + freed + sum(dropped),
    )
    if not dry_run and done != Pruned():
        logger.info("%s", summary(done))
    return done


def _delete(store: Store, gone: list[Removal]) -> list[Removal]:
    """Delete the runs, without those that a person has pinned or accepted meanwhile."""
    deleted = []
    for start in range(0, len(gone), BATCH):
        _, is_needed = _needed_by_people(store)
        batch = [
            one for one in gone[start : start + BATCH] if not is_needed(one.test_id, one.script)
        ]
        store.delete([one.test_id for one in batch])
        deleted += batch
    return deleted


def summary(done: Pruned, *, dry_run: bool = False) -> str:
    """One line about what was removed, or with `dry_run` would be."""
    verb = "would remove" if dry_run else "removed"
    return (
        f"{verb} {plural(len(done.removed), 'run')} and {plural(done.snapshots, 'snapshot')}, "
        f"{'make' if dry_run else 'made'} {plural(done.slimmed, 'run')} smaller: "
        f"{done.bytes / MIB:,.1f} MiB"
    )


def find_unreadable(
    store: Store, gone: list[str], snapshots: dict[str, str | None]
) -> dict[str, str]:
    """The runs to remove that cannot be read, with the reason; they must be kept.

    A newer k6d wrote them, or they are damaged. The snapshots of the readable runs are added to
    `snapshots`.
    """
    unreadable = {}
    for test_id in (test_id for test_id in gone if test_id not in snapshots):
        try:
            snapshots[test_id] = snapshot_of(checked_record(store.load_raw(test_id)))
        except (K6dError, ValueError) as error:
            unreadable[test_id] = str(error)
    return unreadable


def _failing(store: Store) -> dict[str, str]:
    """The first run of each script's open incident; damaged entries are left out."""
    states = store.state(INCIDENTS).all().items()
    opened = ((script, state.get("incident")) for script, state in states)
    first = {script: one.get("first_run") for script, one in opened if isinstance(one, dict)}
    return {script: test_id for script, test_id in first.items() if isinstance(test_id, str)}


def _needed_by_people(store: Store) -> tuple[dict[str, str], Callable[[str, str], bool]]:
    """The first run of each script's open incident, and whether people need a run of a script.

    They need pinned runs, those that an accepted level names, and those since an incident began.
    """
    failing = _failing(store)
    named = accepted.run_ids(store) | {pin.run for pin in pins(store)}

    def is_needed(test_id: str, script: str) -> bool:
        return test_id in named or test_id >= failing.get(script, "~")

    return failing, is_needed


def forget_progress(store: Store) -> None:
    """Let the next prune examine all runs again, because old runs were imported or restored."""
    store.state(STATE).delete(SLIMMED)
