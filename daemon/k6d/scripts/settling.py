"""Decides when a changed path has settled, so that no file is reported in the middle of a write.

See `watcher` for the two cases. Paths are strings, as there.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.scripts.candidates import UNREAD, Stat, has_writer

if TYPE_CHECKING:
    from collections.abc import Iterator

TICK_S = 0.01  # the coarsest mtime clock: two writes within it can have the same mtime


@frozen
class _Pending:
    """A path that has not settled: its Stat, since when, and when to check it again (monotonic)."""

    stat: Stat | None
    since: float
    due: float
    closed: bool = False


class Settling:
    """The last reported Stat of each path (`seen`), and the paths that have not settled."""

    def __init__(self, settle_s: float) -> None:
        self.seen: dict[str, Stat] = {}
        self._settle_s = settle_s
        self._pending: dict[str, _Pending] = {}

    def shared(self, paths: frozenset[str]) -> frozenset[str]:
        """Return the same paths; those in `seen` are the same objects, which saves their memory."""
        known = {path: path for path in self.seen}
        return frozenset(known.get(path, path) for path in paths)

    def forget(self, path: str) -> None:
        """Forget all about a path."""
        self.seen.pop(path, None)
        self._pending.pop(path, None)

    def begin(self, path: str, stat: Stat) -> None:
        """Record the first Stat of a path; with UNREAD it is checked in the next pass."""
        self.seen[path] = stat
        if stat == UNREAD:
            self._pending[path] = _Pending(stat=stat, since=0.0, due=0.0)

    def drop(self, path: str) -> None:
        """Stop waiting for a path; the next walk finds it again."""
        self._pending.pop(path, None)

    def due(self) -> Iterator[str]:
        """Yield the waiting paths that are to be checked now."""
        now = time.monotonic()
        return (path for path, one in self._pending.items() if one.due <= now)

    def next_due(self) -> float:
        """Return when the next waiting path is to be checked (monotonic); infinity without one."""
        return min((one.due for one in self._pending.values()), default=float("inf"))

    def has_settled(self, path: str, stat: Stat | None, *, closed: bool, first: bool) -> bool:
        """Return whether to report the path now; a path that has to wait is pending afterwards.

        `closed`: it was closed after writing or moved in. `first`: this is the first pass, so a
        file without a writer is complete.
        """
        before = self._pending.pop(path, None)
        if stat == self.seen.get(path):
            return False
        now = time.monotonic()
        age_s = time.time() - stat[2] / 1e9 if stat else 0.0
        if before is None or before.stat != stat:
            since = now - max(0.0, age_s) if first else now
            was_closed = before is not None and before.closed
            before = _Pending(stat=stat, since=since, due=now, closed=was_closed)
        writer = stat is not None and has_writer(path)
        closed = (closed or before.closed or (first and writer is False)) and not writer
        settled = not writer and now - before.since >= self._settle_s
        racy = not first and 0 <= age_s < TICK_S
        if settled or (stat is not None and closed and not racy):
            if stat is None:
                self.seen.pop(path, None)
            else:
                self.seen[path] = stat
            return True
        wait_from = now if writer else before.since
        due = now + TICK_S if closed else wait_from + self._settle_s
        self._pending[path] = replace(before, due=due, closed=closed)
        return False
