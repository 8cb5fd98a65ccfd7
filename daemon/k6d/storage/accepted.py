"""Accepted levels: changes that a person accepted as normal with `k6d accept`.

Earlier runs of the same script and workload then leave the baseline. Only this module reads and
writes the state "accepted".
"""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.core.terms import WORSE

if TYPE_CHECKING:
    from k6d.core.model import Run
    from k6d.storage.store import Store

STATE = "accepted"


@frozen
class AcceptedLevel:
    """The level of the runs from `since` to `until` (run ids) is normal.

    `at` is the time of the acceptance, ISO 8601 in UTC.
    """

    since: str
    until: str
    reason: str = ""
    at: str = ""


def accepted_levels(store: Store, script: str) -> dict[str, AcceptedLevel]:
    """The accepted level of each workload of the script; entries that do not parse are left out."""
    entries = store.state(STATE).get(script) or {}
    levels = {workload: _level(entry) for workload, entry in entries.items()}
    return {workload: level for workload, level in levels.items() if level}


def accepted_level(store: Store, run: Run) -> AcceptedLevel | None:
    """The accepted level for the script and workload of `run`; None when there is none."""
    return accepted_levels(store, run.script).get(_workload(run))


def newest_accepted(store: Store) -> dict[str, str]:
    """The first run of the newest accepted level of each script that has one."""
    levels = {name: accepted_levels(store, name).values() for name in store.state(STATE).all()}
    return {name: max(one.since for one in found) for name, found in levels.items() if found}


def run_ids(store: Store) -> set[str]:
    """The first and last run of every accepted level; retention keeps these runs."""
    scripts = store.state(STATE).all()
    levels = (level for script in scripts for level in accepted_levels(store, script).values())
    return {test_id for level in levels for test_id in (level.since, level.until)}


def accept(run: Run, store: Store, *, reason: str) -> str:
    """Accept the level of `run` as the one with which later runs are compared.

    Returns the id of the first run at that level. This is the run since which a series is
    regressed, or else `run`. If several series are regressed, it is the latest of their first runs:
    before it, at least one series was not at its present level.
    """
    worse = [c.since or run.test_id for c in run.comparisons if c.state == WORSE]
    since = max(worse, default=run.test_id)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    level = AcceptedLevel(since=since, until=run.test_id, reason=reason, at=at)
    store.state(STATE).change(
        run.script, lambda known: (known or {}) | {_workload(run): asdict(level)}
    )
    return since


def forget(script: str, store: Store) -> int:
    """Take back what was accepted of the script, for every workload; the number of levels."""
    levels = accepted_levels(store, script)
    store.state(STATE).delete(script)
    return len(levels)


def _workload(run: Run) -> str:
    return str(run.snapshot.workload if run.snapshot else None)


def _level(entry: Any) -> AcceptedLevel | None:
    known = {field.name for field in fields(AcceptedLevel)}
    try:
        texts = {key: value for key, value in entry.items() if key in known}
        level = AcceptedLevel(**texts)
    except (AttributeError, TypeError):
        return None
    return level if all(isinstance(value, str) for value in texts.values()) else None
