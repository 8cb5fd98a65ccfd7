"""Mutes: for a while, no notifications about the scripts that match a pattern."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from k6d.core.numbers import kept_time
from k6d.core.parse import LONGEST_S, parse_duration
from k6d.core.text import covers

if TYPE_CHECKING:
    from k6d.storage.store import Store


class Mutes:
    """The mutes of one store; only this class reads and writes the state "mutes"."""

    def __init__(self, store: Store) -> None:
        self._state = store.state("mutes")

    def active(self, now: datetime) -> dict[str, datetime]:
        """Return the end of each active mute by its pattern."""
        ends = {pattern: kept_time(v.get("until")) for pattern, v in self._state.all().items()}
        return {pattern: end for pattern, end in ends.items() if end and end > now}

    def of(self, script: str, now: datetime) -> dict[str, datetime]:
        """Return the active mutes that cover the script, its own or a pattern's."""
        return {p: end for p, end in self.active(now).items() if covers(p, script)}

    def put(self, pattern: str, duration: str) -> datetime | None:
        """Mute for a duration such as 2h and return the end; "0s" ends the mute: None.

        ValueError says what is wrong with the duration.
        """
        try:
            seconds = parse_duration(duration)
            pattern.encode()
        except ValueError as error:
            raise ValueError("should be such as 30m, 2h, 7d") from error
        if seconds > LONGEST_S:
            raise ValueError("should be a year at most")
        if not seconds:
            self._state.delete(pattern)
            return None
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        self._state.put(pattern, {"until": end.isoformat()})
        return end
