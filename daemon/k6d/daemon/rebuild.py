"""Rebuilds damaged or lost state files from the saved runs, as far as possible.

It restores which contents of a script ran, its incident, and its last scheduled run. Each state is
written in one step, so after a kill the next start rebuilds it again.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from k6d.core import reading
from k6d.core.model import INCONCLUSIVE, K6dError, Outcome, Trigger
from k6d.jobs.schedule import LATE, Entry
from k6d.jobs.scheduler import entries, plans
from k6d.scripts.registry import Registry, ScriptState
from k6d.scripts.starts import STATE
from k6d.settings import parse_script_settings
from k6d.storage.damage import states_gone
from k6d.storage.state import STATES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from k6d.alerts.alerting import Alerts
    from k6d.core.model import Run
    from k6d.settings import Settings
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

MOST_REPLAYED = 200  # runs for each script; an older incident begins with the oldest of these runs
NOT_ITS_OWN = (Outcome.ABORTED, *INCONCLUSIVE)  # do not prove that the contents ran


def rebuild(settings: Settings, store: Store, alerts: Alerts, *, lost: Collection[str]) -> None:
    """Rebuild the states `lost` (see `Repair.states`) from the runs of existing scripts.

    A state is also rebuilt if its file is missing although runs show that it existed.
    """
    newest = next(iter(store.history(limit=1)), None)
    gone = [name for name in states_gone(settings.data, newest) if name not in lost]
    for name in gone:
        logger.warning("%s is gone: %s", store.state(name).path, STATES[name])
    lost = {*lost, *gone}
    incidents = "incidents" in lost or alerts.damaged()
    if "scripts" in lost or incidents:
        runs = _runs_of_scripts(settings, store)
        if "scripts" in lost:
            _scripts(Registry(store, settings.scripts), runs)
        if incidents:
            count = alerts.rebuild(_to_replay(settings, store, runs))
            logger.warning("incidents are rebuilt from the runs: %d open", count)
    schedules = "schedule" in lost or not store.state(STATE).path.exists()
    if schedules or "queue" in lost:
        _schedules(settings, store, new=schedules, again="queue" in lost)


def _runs_of_scripts(settings: Settings, store: Store) -> dict[str, list[dict[str, Any]]]:
    """Return index documents, newest first, of each script with a file, without re-runs.

    As many as are replayed, and the newest one of the script's own contents.
    """

    def collect(documents: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
        found, own = list[dict[str, Any]](), False
        for document in documents:
            if not found and not reading.is_file(settings.scripts / document["script"]):
                return []
            known = document["fingerprint"] or document["outcome"] != Outcome.COMPLETED
            if known and document["trigger"] != Trigger.CONFIRMATION:
                own = own or _is_its_own(document)
                if len(found) < MOST_REPLAYED or own:
                    found.append(dict(document))
                if len(found) >= MOST_REPLAYED and own:
                    break
        return found

    runs = (found for found in store.each_script(collect) if found)
    return {found[0]["script"]: found for found in sorted(runs, key=_newest, reverse=True)}


def _scripts(registry: Registry, runs: dict[str, list[dict[str, Any]]]) -> None:
    """Note that the contents of the newest run have run; k6 finds the rest at the next change."""
    present, ran = registry.all(), {}
    for name, documents in runs.items():
        newest = next(filter(_is_its_own, documents), None)
        if name not in present and newest and newest["fingerprint"]:
            ran[name] = ScriptState(ran=newest["fingerprint"], was_test=True)
    registry.put_all(ran)


def _is_its_own(document: dict[str, Any]) -> bool:
    """Whether the run shows that the contents ran without options of its own."""
    return not document["overrides"] and document["outcome"] not in NOT_ITS_OWN


def _newest(documents: list[dict[str, Any]]) -> str:
    return str(documents[0]["test_id"])


def _to_replay(
    settings: Settings, store: Store, runs: dict[str, list[dict[str, Any]]]
) -> Iterator[tuple[str, bool | list[str] | None, list[Run]]]:
    """Yield each script, its `notify` setting, and its runs since it was healthy, oldest first."""
    known, patience = Registry(store, settings.scripts).all(), settings.notify.resolve_after
    for name, documents in runs.items():
        replayed = [_loaded(store, d["test_id"]) for d in _since_healthy(documents, patience)]
        try:
            own = parse_script_settings(
                known[name].settings if name in known else None, script=name
            ).notify
        except K6dError:
            own = None
        yield name, own, [run for run in reversed(replayed) if run]


def _since_healthy(documents: Sequence[dict[str, Any]], patience: int) -> list[dict[str, Any]]:
    """Return the newest documents, back to `patience` healthy ones: no incident was open then."""
    healthy = 0
    for number, document in enumerate(documents[:MOST_REPLAYED]):
        well = document["outcome"] == Outcome.COMPLETED and not document["anomalies"]
        healthy = healthy + 1 if well and not document["overrides"] else 0
        if healthy > 2 * patience:
            return list(documents[: number + 1])
    return list(documents[:MOST_REPLAYED])


def _loaded(store: Store, test_id: str) -> Run | None:
    try:
        return store.load(test_id)
    except K6dError as error:
        logger.warning("incidents are rebuilt without a run: %s", error)
        return None


def _schedules(settings: Settings, store: Store, *, new: bool, again: bool) -> None:
    """Continue each schedule from its newest scheduled run; later starts count as missed.

    `new` covers schedules without an entry; `again` covers those whose last job is lost too.
    """
    kept, rebuilt = entries(store), {}
    for script, plan in plans(settings, Registry(store, settings.scripts).all(), store).items():
        ran = store.history(script, 1, trigger=Trigger.SCHEDULED.value)
        at = datetime.fromisoformat(ran[0]["timestamp"]) if ran else None
        entry = kept.get(script)
        if entry is None and new and at:
            entry = Entry(rule=plan.rule, next=plan.after(at), at=at, last=plan.before(at))
        elif again and entry and entry.last and (at is None or at < entry.last - LATE):
            entry = replace(entry, next=entry.last)
        if entry and entry != kept.get(script):
            before = (store.state(STATE).get(script) or {}).get("missed", [])
            rebuilt[script] = asdict(entry) | {"missed": before}
    if rebuilt:
        store.state(STATE).put_all(rebuilt)
        logger.warning("schedules are rebuilt from the runs: %s", ", ".join(sorted(rebuilt)))
