"""Retention: remove old runs or make them smaller, and remove snapshots without a run."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.errors import K6dError
from k6d.core.terms import SCHEMA_VERSION
from k6d.core.text import plural
from k6d.storage import accepted
from k6d.storage.files import size
from k6d.storage.pinned import pins
from k6d.storage.retention import (
    HISTORY_RUNS,
    MIB,
    Archive,
    Removal,
    Stored,
    Tier,
    baselines,
    removals,
    slimmed,
    tier,
)

if TYPE_CHECKING:
    from k6d.settings import Settings
    from k6d.storage.retention import Contents
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

INCIDENTS = "incidents"
STATE, SLIMMED, YOUNG = "retention", "slimmed", "young"
BATCH = 500  # runs removed under one lock; a run that ends meanwhile waits for one batch only


@dataclass(frozen=True, slots=True, kw_only=True)
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
    runs, used = all_runs(store), store.snapshot_bytes()
    used += sum(run.bytes for run in runs)
    failing = _failing(store)
    kept = baselines(runs, history=HISTORY_RUNS, failing=failing) | _needed_by_people(
        store, runs, failing
    )
    archives = _archives(store, runs) if 0 < settings.retention.disk_mib * MIB < used else {}
    decide = partial(removals, runs, settings.retention, now=now, used=used, archives=archives)
    gone = decide(kept=kept)
    snapshots: dict[str, str | None] = {}
    unreadable: dict[str, str] = {}
    while found := find_unreadable(store, [one.test_id for one in gone], snapshots):
        unreadable |= found
        kept |= found.keys()
        gone = decide(kept=kept)
    leaving = {removal.test_id for removal in gone}
    staying = [run for run in runs if run.test_id not in leaving]
    # Snapshots first: if the process dies here, the next call still finds the runs and removes
    # them. In the other order nothing would name the snapshots any more.
    going = [run for run in runs if run.test_id in leaving]
    unneeded = orphans(store, going, staying, snapshots)
    dropped = store.drop_snapshots(unneeded, dry_run=dry_run)
    if not dry_run:
        remember_young(store, unneeded)
    ids = [] if dry_run else [removal.test_id for removal in gone]
    for start in range(0, len(ids), BATCH):
        store.delete(ids[start : start + BATCH])
    count, freed = _slim(settings, store, staying, unreadable, now=now, dry_run=dry_run)
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


def summary(done: Pruned, *, dry_run: bool = False) -> str:
    """One line about what was removed, or with `dry_run` would be."""
    verb = "would remove" if dry_run else "removed"
    return (
        f"{verb} {plural(len(done.removed), 'run')} and {plural(done.snapshots, 'snapshot')}, "
        f"{'make' if dry_run else 'made'} {plural(done.slimmed, 'run')} smaller: "
        f"{done.bytes / MIB:,.1f} MiB"
    )


def all_runs(store: Store) -> list[Stored]:
    """Every run, newest first; a run that is removed meanwhile has 0 bytes."""
    texts: dict[Any, Any] = {}  # equal texts are stored once: 100,000 runs have few scripts

    def once(text: Any) -> Any:
        return texts.setdefault(text, text)

    def one(document: dict[str, Any]) -> Stored:
        at = datetime.fromisoformat(document["timestamp"])
        return Stored(
            test_id=document["test_id"],
            script=once(document["script"]),
            timestamp=at if at.tzinfo else at.replace(tzinfo=UTC),  # `_record` keeps such runs
            workload=once(document["workload"]),
            fingerprint=once(document["fingerprint"]),
            comparable=document["comparable"],
            overrides=document["overrides"],
            bytes=store.run_bytes(document["test_id"]),
        )

    return store.each(one)


def _archives(store: Store, runs: list[Stored]) -> dict[Contents, Archive]:
    """The snapshot for each contents, named by one of its runs; none if that run is unreadable."""
    found: dict[Contents, Archive] = {}
    for contents, test_id in {run.contents: run.test_id for run in runs}.items():
        with suppress(K6dError, ValueError):
            if snapshot := _snapshot_of(orjson.loads(store.load_raw(test_id))):
                found[contents] = Archive(snapshot, size(store.snapshot_path(snapshot)))
    return found


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
            snapshots[test_id] = _snapshot_of(_record(store.load_raw(test_id)))
        except (K6dError, ValueError) as error:
            unreadable[test_id] = str(error)
    return unreadable


def _failing(store: Store) -> dict[str, str]:
    """The first run of each script's open incident; damaged entries are left out."""
    states = store.state(INCIDENTS).all().items()
    opened = ((script, state.get("incident")) for script, state in states)
    first = {script: one.get("first_run") for script, one in opened if isinstance(one, dict)}
    return {script: test_id for script, test_id in first.items() if isinstance(test_id, str)}


def _needed_by_people(store: Store, runs: list[Stored], failing: dict[str, str]) -> set[str]:
    """Pinned runs, those that an accepted level names, and those since an open incident began."""
    return (
        accepted.run_ids(store)
        | {pin.run for pin in pins(store)}
        | {run.test_id for run in runs if run.test_id >= failing.get(run.script, "~")}
    )


def orphans(
    store: Store, leaving: list[Stored], staying: list[Stored], snapshots: dict[str, str | None]
) -> dict[str, str | None]:
    """Snapshots of removed runs that no remaining run needs, with their fingerprints.

    Only runs with the same fingerprint can share a snapshot, so only those are read.
    """
    found = ((snapshots[run.test_id], run.fingerprint) for run in leaving)
    young = (store.state(STATE).get(YOUNG) or {}).items()
    prints: dict[str, str | None] = {k: v for k, v in young if v is None or isinstance(v, str)}
    prints |= {snapshot: fingerprint for snapshot, fingerprint in found if snapshot}
    candidates: dict[str | None, list[str]] = {fingerprint: [] for fingerprint in prints.values()}
    for run in staying:
        if run.fingerprint in candidates:
            candidates[run.fingerprint].append(run.test_id)
    found_orphans: dict[str, str | None] = {}
    for snapshot, fingerprint in prints.items():
        try:
            store.snapshot_path(snapshot)  # K6dError for what is no id
            needing = (
                orjson.loads(store.load_raw(candidate)) for candidate in candidates[fingerprint]
            )
            if not any(_snapshot_of(record) == snapshot for record in needing):
                found_orphans[snapshot] = fingerprint
        except (K6dError, ValueError) as error:
            logger.warning("snapshot %s is kept: %s", snapshot, error)
    return found_orphans


def remember_young(store: Store, orphans: dict[str, str | None]) -> None:
    """Store the orphans that were too young to be removed: no run will name them the next time."""
    left = {
        orphan: made for orphan, made in orphans.items() if store.snapshot_path(orphan).exists()
    }
    if left != (store.state(STATE).get(YOUNG) or {}):
        store.state(STATE).put(YOUNG, left)


def forget_progress(store: Store) -> None:
    """Let the next prune examine all runs again, because old runs were imported or restored."""
    store.state(STATE).delete(SLIMMED)


def _slim(
    settings: Settings,
    store: Store,
    runs: list[Stored],
    unreadable: dict[str, str],
    *,
    now: datetime,
    dry_run: bool,
) -> tuple[int, int]:
    """Make each run as small as its age requires; returns the number of runs and the bytes freed.

    A run is read once for each tier that it reaches. The state SLIMMED holds the newest run done
    in each tier, and as "spared" the runs that were passed over, because an incident was open or
    because they are in `unreadable` (run id to reason).
    """
    state, policy = store.state(STATE), settings.retention
    done = _valid_progress(state.get(SLIMMED) or {})
    count, freed, reached = 0, 0, {"spared": list[str]()} | done
    kept, spared = _needed_by_people(store, runs, _failing(store)), set(reached["spared"])
    reached["spared"] = []
    for run in reversed(runs):
        wanted = tier(now - run.timestamp, policy)
        if wanted is Tier.FULL:
            break
        if run.test_id in kept:
            reached["spared"].append(run.test_id)
            continue
        if run.test_id <= done.get(wanted.value, "") and run.test_id not in spared:
            continue
        try:
            less = store.shrink(run.test_id, partial(_reduced, wanted=wanted), dry_run=dry_run)
            if less is not None:
                count, freed = count + 1, freed + less
        except (K6dError, ValueError) as error:
            unreadable[run.test_id] = str(error)
            reached["spared"].append(run.test_id)
        reached[wanted.value] = max(reached.get(wanted.value, ""), run.test_id)
    if not dry_run and reached != done:
        state.put(SLIMMED, reached)
    return count, freed


def _valid_progress(kept: dict[str, Any]) -> dict[str, Any]:
    """The valid part of the state SLIMMED: {tier: run id, "spared": run ids}."""
    spared = kept.get("spared")
    ids = [one for one in spared if isinstance(one, str)] if isinstance(spared, list) else []
    return {k: v for k, v in kept.items() if isinstance(v, str) and k != "spared"} | (
        {"spared": ids} if "spared" in kept else {}
    )


def _reduced(data: bytes, *, wanted: Tier) -> bytes | None:
    """The run's JSON reduced to the tier `wanted`; None when it is as small already."""
    record = slimmed(_record(data), wanted)
    return None if record is None else orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _record(data: bytes) -> dict[str, Any]:
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


def _snapshot_of(record: dict[str, Any]) -> str | None:
    """The id of the run's snapshot, None when it has none; ValueError when it is no run."""
    try:
        return str(record["snapshot"]["id"]) if record["snapshot"] else None
    except (KeyError, TypeError) as error:
        raise ValueError("not a run") from error
