"""The time line of all runners of a run, added up while it grows.

A runner hands its entries over as soon as no push changes them. So the memory for a time line does
not grow with the number of runners.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k6d.execution.timeline import Recorder, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k6d.execution.timeline import Handed

WINDOW_S = 60  # a runner that was silent for longer ended the run


@dataclass(slots=True)
class _Second:
    """A second of all runners; `has_vus`: one of them pushed in it."""

    entry: Tally = field(default_factory=Tally)
    vus: int = 0
    has_vus: bool = False
    is_known: bool = True


class Together:
    """Adds entries up, aligned by the runners' clocks; thread-safe.

    Virtual users are added, of a runner that pushed late the newest number. An entry in which one
    runner did not push has no rates. A runner that has not begun, or has ended, adds nothing.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, _Second] = {}
        self._recorder = Recorder()
        self._first: int | None = None  # the second at which the time line begins
        self._settled = 0  # all before it is in the recorder
        self._lock = threading.Lock()

    def add(self, handed: Iterable[Handed]) -> None:
        """Add entries of one runner."""
        with self._lock:
            for one in handed:
                self._add(one)
            if self._seconds:
                self._settle(max(self._seconds) - WINDOW_S)

    def _add(self, one: Handed) -> None:
        second = max(one.second, self._settled)
        mine = self._seconds.setdefault(second, _Second())
        mine.entry.merge(one.entry)
        mine.vus += one.vus or 0
        mine.has_vus |= one.entry.vus is not None
        mine.is_known &= one.is_known

    def _settle(self, before: int) -> None:
        for second in sorted(one for one in self._seconds if one < before):
            if self._first is None:
                self._first = second
                self._recorder.begin(second)
            one = self._seconds.pop(second)
            one.entry.vus = one.vus if one.has_vus else None
            self._recorder.put(second - self._first, one.entry, is_known=one.is_known)
        self._settled = max(self._settled, before)

    def recorder(self) -> Recorder:
        """Return the whole time line; nothing is added afterwards."""
        with self._lock:
            if self._seconds:
                self._settle(max(self._seconds) + 1)
            return self._recorder
