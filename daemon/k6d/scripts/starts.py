"""When scripts with a schedule start next, as the scheduler keeps it in the state `schedule`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.core.numbers import kept_time

if TYPE_CHECKING:
    from datetime import datetime

    from k6d.storage.store import Store

STATE = "schedule"


@frozen
class Start:
    """The next start of a script, and its schedule in words."""

    at: datetime
    rule: str


def next_starts(store: Store) -> dict[str, Start]:
    """Return the next start of each script with a schedule; damaged entries are left out."""
    found = {}
    for script, entry in store.state(STATE).all().items():
        rule, at = entry.get("rule"), kept_time(entry.get("next"))
        if isinstance(rule, str) and at:
            found[script] = Start(at=at, rule=rule)
    return found
