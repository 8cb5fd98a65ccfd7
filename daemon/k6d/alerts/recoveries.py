"""Incidents that ended with healthy runs: since when, how long they took.

The state of a script holds its last incident alone. This history has the incidents before it. A
crash between the two loses nothing: the last incident is recorded with the next run at the latest.
"""

from __future__ import annotations

import logging
from statistics import median
from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.core.model import K6dError
from k6d.core.numbers import kept_time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from k6d.alerts.records import Incident
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

STATE = "recoveries"
MOST_KEPT = 1000  # each new one rewrites the file, so the oldest go


@frozen
class Recovery:
    """An incident of a script: `since` its first failing run, until a healthy run `ended` it."""

    script: str
    since: datetime
    ended: datetime
    first_run: str
    last_run: str

    @property
    def lasted_s(self) -> float:
        """The time to recovery."""
        return (self.ended - self.since).total_seconds()


class Recoveries:
    """The recoveries of one store; only this class reads and writes the state."""

    def __init__(self, store: Store, *, most: int = MOST_KEPT) -> None:
        self._state, self._most = store.state(STATE), most
        self._recorded: dict[str, str] = {}

    def record(self, incident: Incident | None) -> None:
        """Record an incident that ended; of no other and of none, nothing is recorded.

        Recording it again changes nothing. A disk that refuses is logged, and no reason to stop.
        """
        if incident is None or self._recorded.get(incident.script) == incident.id:
            return
        try:
            found = _recovery(incident)
            if found and self._state.get(incident.id) is None:
                self._put(incident.id, found)
        except K6dError as error:
            logger.error("the end of incident %s is not recorded: %s", incident.id, error)
            return
        self._recorded[incident.script] = incident.id

    def _put(self, key: str, found: Recovery) -> None:
        ends = sorted((one.ended, old) for old, one in self._read().items())
        for _, old in ends[: max(0, len(ends) + 1 - self._most)]:
            self._state.delete(old)
        times = {"since": found.since.isoformat(), "ended": found.ended.isoformat()}
        runs = {"first_run": found.first_run, "last_run": found.last_run}
        self._state.put(key, {"script": found.script, **times, **runs})

    def all(self, last: Iterable[Incident | None] = ()) -> list[Recovery]:
        """Every recovery, the oldest first; `last` are the last incidents of the scripts.

        They count too: older versions of k6d recorded no others.
        """
        ended = {one.id: found for one in last if one and (found := _recovery(one))}
        return sorted((self._read() | ended).values(), key=lambda one: one.ended)

    def _read(self) -> dict[str, Recovery]:
        found = {}
        for key, document in self._state.all().items():
            since, ended = (kept_time(document.get(name)) for name in ("since", "ended"))
            names = [document.get(name) for name in ("script", "first_run", "last_run")]
            if since and ended and all(isinstance(name, str) for name in names):
                script, first, last = map(str, names)
                found[key] = Recovery(
                    script=script, since=since, ended=ended, first_run=first, last_run=last
                )
        return found


def typical_s(recoveries: Iterable[Recovery]) -> float | None:
    """The median time to recovery; None without any."""
    times = [one.lasted_s for one in recoveries]
    return median(times) if times else None


def _recovery(incident: Incident) -> Recovery | None:
    """The incident as a recovery; None if no healthy run ended it, but a person or a lost file."""
    if incident.resolved_at is None or not incident.healthy:
        return None
    return Recovery(
        script=incident.script,
        since=incident.since,
        ended=incident.resolved_at,
        first_run=incident.first_run,
        last_run=incident.last_run,
    )
