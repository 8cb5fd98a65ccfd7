"""Counts WebSocket handshakes by the target's response status, from k6's pushes."""

from __future__ import annotations

from collections import Counter

from k6d.execution.remote_write import tags

# A script may give each session a unique tag. New series above this limit are not counted.
MAX_SERIES = 2_000


class Handshakes:
    """Keeps the newest running total of each series of `ws_sessions`."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[bytes, ...], int] = {}

    def take(self, labels: tuple[bytes, ...], total: float) -> None:
        """Record the running total of sessions with these tags."""
        if labels in self._sessions or len(self._sessions) < MAX_SERIES:
            self._sessions[labels] = round(total)

    def absorb(self, other: Handshakes) -> None:
        """Add the sessions of another runner."""
        for labels, total in other._sessions.items():
            self._sessions[labels] = self._sessions.get(labels, 0) + total

    def result(self) -> dict[str, int]:
        """Return the attempts by status; "0" means that nobody answered."""
        counts: Counter[str] = Counter()
        for labels, total in self._sessions.items():
            counts[tags(labels).get("status") or "0"] += total
        return dict(sorted(counts.items()))
