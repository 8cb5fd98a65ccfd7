"""Pinned runs: retention keeps them whole, with their snapshots, until a person unpins them.

Only this module reads and writes the state "pinned".
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.storage.record import encodable

if TYPE_CHECKING:
    from k6d.core.model import Run
    from k6d.storage.store import Store

STATE = "pinned"


@frozen
class Pin:
    """A pinned run of a script; `at` is the time of the pinning, ISO 8601 in UTC."""

    run: str
    script: str
    reason: str = ""
    at: str = ""


def pins(store: Store) -> list[Pin]:
    """Every pinned run, the newest run first."""
    found = (_pin(test_id, document) for test_id, document in store.state(STATE).all().items())
    return sorted(found, key=lambda pin: pin.run, reverse=True)


def pin(run: Run, store: Store, *, reason: str) -> Pin:
    """Pin the run; a second pin replaces the reason."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    made = Pin(run=run.test_id, script=run.script, reason=encodable(reason.strip()), at=at)
    store.state(STATE).put(run.test_id, asdict(made))
    return made


def unpin(test_id: str, store: Store) -> bool:
    """Let retention treat the run like any other; False if it is not pinned."""
    return store.state(STATE).delete(test_id)


def _pin(test_id: str, document: dict[str, Any]) -> Pin:
    texts = {name: str(document.get(name) or "") for name in ("script", "reason", "at")}
    return Pin(run=test_id, **texts)
