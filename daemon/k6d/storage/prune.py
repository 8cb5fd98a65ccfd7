"""Retention carried out: old runs removed or made smaller, and snapshots that nobody needs."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.model import SCHEMA_VERSION, K6dError
from k6d.core.text import plural
from k6d.storage import accepted
from k6d.storage.files import size
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
    from k6d.storage import Store
    from k6d.storage.retention import Contents

logger = logging.getLogger(__name__)

INCIDENTS = "incidents"
STATE, SLIMMED, YOUNG = "retention", "slimmed", "young"
BATCH = 500  # runs removed under one lock, so that a run that ends meanwhile waits only shortly


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What went, or would go: runs, runs made smaller, snapshots, and the bytes freed."""

    removed: list[Removal] = field(default_factory=list)
    slimmed: int = 0
    snapshots: int = 0
    bytes: int = 0


def prune(settings: Settings, store: Store, *, now: datetime, dry_run: bool = False) -> Pruned:
    """Remove what the settings don't keep. Killed at any instant, the rest goes the next time."""
    runs, used = _stored(store), store.snapshot_bytes()
    used += sum(run.bytes for run in runs)
    failing = _failing(store)
    kept = baselines(runs, history=HISTORY_RUNS, failing=failing) | _spoken_of(store, runs, failing)
    archives = _archives(store, runs) if 0 < settings.retention.disk_mib * MIB < used else {}
    decide = partial(removals, runs, settings.retention, now=now, used=used, archives=archives)
    gone = decide(kept=kept)
    snapshots: dict[str, str | None] = {}
    strange: dict[str, str] = {}
    while found := _unread(store, gone, snapshots):
        strange |= found
        kept |= found.keys()
        gone = decide(kept=kept)
    leaving = {removal.test_id for removal in gone}
    staying = [run for run in runs if run.test_id not in leaving]
    # Snapshots first: cut off here, the runs go the next time; the other way round they would stay.
    going = [run for run in runs if run.test_id in leaving]
    orphans = _orphans(store, going, staying, snapshots)
    dropped = store.drop_snapshots(orphans, dry_run=dry_run)
    if not dry_run:
        _keep_in_mind(store, orphans)
    ids = [] if dry_run else [removal.test_id for removal in gone]
    for start in range(0, len(ids), BATCH):
        store.delete(ids[start : start + BATCH])
    count, freed = _slim(settings, store, staying, strange, now=now, dry_run=dry_run)
    if strange:
        first, why = next(iter(strange.items()))
        logger.warning("%s, %s say, stay as they are: %s", plural(len(strange), "run"), first, why)
    done = Pruned(
        removed=gone,
        slimmed=count,
        snapshots=len(dropped),
        bytes=sum(removal.bytes for removal in gone) + freed + sum(dropped),
    )
    if not dry_run and done != Pruned():
        logger.info("%s", said(done))
    return done


def said(done: Pruned, *, dry_run: bool = False) -> str:
    """What was done, in one line."""
    verb = "would remove" if dry_run else "removed"
    return (
        f"{verb} {plural(len(done.removed), 'run')} and {plural(done.snapshots, 'snapshot')}, "
        f"{'make' if dry_run else 'made'} {plural(done.slimmed, 'run')} smaller: "
        f"{done.bytes / MIB:,.1f} MiB"
    )


def _stored(store: Store) -> list[Stored]:
    """Every run, newest first; one that is replaced or goes meanwhile counts no bytes."""
    texts: dict[Any, Any] = {}  # a hundred thousand runs are of some scripts only

    def once(text: Any) -> Any:
        return texts.setdefault(text, text)

    def one(document: dict[str, Any]) -> Stored:
        at = datetime.fromisoformat(document["timestamp"])
        return Stored(
            test_id=document["test_id"],
            script=once(document["script"]),
            timestamp=at if at.tzinfo else at.replace(tzinfo=UTC),  # such a run stays: `_record`
            workload=once(document["workload"]),
            fingerprint=once(document["fingerprint"]),
            comparable=document["comparable"],
            bytes=store.run_bytes(document["test_id"]),
        )

    return store.each(one)


def _archives(store: Store, runs: list[Stored]) -> dict[Contents, Archive]:
    """The snapshot of each contents, as one of its runs names it; none where that doesn't read."""
    found: dict[Contents, Archive] = {}
    for contents, test_id in {run.contents: run.test_id for run in runs}.items():
        with suppress(K6dError, ValueError):
            if snapshot := _snapshot_of(orjson.loads(store.load_raw(test_id))):
                found[contents] = Archive(snapshot, size(store.snapshot_path(snapshot)))
    return found


def _unread(store: Store, gone: list[Removal], snapshots: dict[str, str | None]) -> dict[str, str]:
    """Those that we cannot read, and why: what a newer k6d wrote, or what is damaged, is kept.

    The snapshots of the others are put into `snapshots`.
    """
    strange = {}
    for test_id in (removal.test_id for removal in gone if removal.test_id not in snapshots):
        try:
            snapshots[test_id] = _snapshot_of(_record(store.load_raw(test_id)))
        except (K6dError, ValueError) as error:
            strange[test_id] = str(error)
    return strange


def _failing(store: Store) -> dict[str, str]:
    """The first run of each script's open incident; what is none is left out, as alerts do."""
    standings = store.state(INCIDENTS).all().items()
    opened = ((script, standing.get("incident")) for script, standing in standings)
    first = {script: one.get("first_run") for script, one in opened if isinstance(one, dict)}
    return {script: test_id for script, test_id in first.items() if isinstance(test_id, str)}


def _spoken_of(store: Store, runs: list[Stored], failing: dict[str, str]) -> set[str]:
    """Runs that accepted levels name, or that belong to an incident that is open."""
    return accepted.run_ids(store) | {
        run.test_id for run in runs if run.test_id >= failing.get(run.script, "~")
    }


def _orphans(
    store: Store, leaving: list[Stored], staying: list[Stored], snapshots: dict[str, str | None]
) -> dict[str, str | None]:
    """Snapshots of runs that leave, or left, and of none that stays, with their fingerprints.

    Runs that share one share contents.
    """
    found = ((snapshots[run.test_id], run.fingerprint) for run in leaving)
    young = (store.state(STATE).get(YOUNG) or {}).items()
    prints: dict[str, str | None] = {k: v for k, v in young if v is None or isinstance(v, str)}
    prints |= {snapshot: fingerprint for snapshot, fingerprint in found if snapshot}
    heirs: dict[str | None, list[str]] = {fingerprint: [] for fingerprint in prints.values()}
    for run in staying:
        if run.fingerprint in heirs:
            heirs[run.fingerprint].append(run.test_id)
    orphans: dict[str, str | None] = {}
    for snapshot, fingerprint in prints.items():
        try:
            store.snapshot_path(snapshot)  # K6dError for what is no id
            needing = (orjson.loads(store.load_raw(heir)) for heir in heirs[fingerprint])
            if not any(_snapshot_of(record) == snapshot for record in needing):
                orphans[snapshot] = fingerprint
        except (K6dError, ValueError) as error:
            logger.warning("snapshot %s is kept: %s", snapshot, error)
    return orphans


def _keep_in_mind(store: Store, orphans: dict[str, str | None]) -> None:
    """Those too young to be dropped now: once they are not, no run speaks of them any more."""
    left = {
        orphan: made for orphan, made in orphans.items() if store.snapshot_path(orphan).exists()
    }
    if left != (store.state(STATE).get(YOUNG) or {}):
        store.state(STATE).put(YOUNG, left)


def look_again(store: Store) -> None:
    """Old runs came in: which of all are to be made smaller is looked at anew."""
    store.state(STATE).delete(SLIMMED)


def _slim(
    settings: Settings,
    store: Store,
    runs: list[Stored],
    strange: dict[str, str],
    *,
    now: datetime,
    dry_run: bool,
) -> tuple[int, int]:
    """Make each run as small as its age wants; how many, and the bytes that frees.

    A run is read once for each tier that it comes to: `done` is how far each has been worked off,
    and which runs were passed over: an incident was open, or they are `strange`, for this reason.
    """
    state, policy = store.state(STATE), settings.retention
    done = _worked_off(state.get(SLIMMED) or {})
    count, freed, reached = 0, 0, {"spared": list[str]()} | done
    kept, spared = _spoken_of(store, runs, _failing(store)), set(reached["spared"])
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
            less = store.shrink(run.test_id, partial(_less, wanted=wanted), dry_run=dry_run)
            if less is not None:
                count, freed = count + 1, freed + less
        except (K6dError, ValueError) as error:
            strange[run.test_id] = str(error)
            reached["spared"].append(run.test_id)
        reached[wanted.value] = max(reached.get(wanted.value, ""), run.test_id)
    if not dry_run and reached != done:
        state.put(SLIMMED, reached)
    return count, freed


def _worked_off(kept: dict[str, Any]) -> dict[str, Any]:
    """What of an entry is as `_slim` keeps it: {tier: run id, "spared": run ids}."""
    spared = kept.get("spared")
    ids = [one for one in spared if isinstance(one, str)] if isinstance(spared, list) else []
    return {k: v for k, v in kept.items() if isinstance(v, str) and k != "spared"} | (
        {"spared": ids} if "spared" in kept else {}
    )


def _less(data: bytes, *, wanted: Tier) -> bytes | None:
    """The run's JSON as small as `wanted`; None when it is."""
    record = slimmed(_record(data), wanted)
    return None if record is None else orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _record(data: bytes) -> dict[str, Any]:
    """The run as JSON; K6dError when a newer k6d wrote it: it may mean more than we know.

    ValueError for what is no run.
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
    """The id of the run's snapshot, None when it has none; ValueError for what is no run."""
    try:
        return str(record["snapshot"]["id"]) if record["snapshot"] else None
    except (KeyError, TypeError) as error:
        raise ValueError("not a run") from error
