"""Counts the completed and dropped iterations of each scenario, from k6's pushes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.core.measurements import Iterations
from k6d.execution.remote_write import Histogram, tags
from k6d.execution.timeline import ms

if TYPE_CHECKING:
    from collections.abc import Mapping

# A script may give each iteration a unique tag. New series above this limit are not counted.
MAX_SERIES = 2_000


class IterationCounter:
    """Keeps the newest running total of each series; the scenarios are added up at the end."""

    def __init__(self) -> None:
        self._lasted: dict[tuple[bytes, ...], Histogram] = {}
        self._dropped: dict[tuple[bytes, ...], int] = {}
        self._new = 0

    def lasted(self, labels: tuple[bytes, ...], durations: Histogram) -> None:
        """Record the durations of all iterations of a series so far."""
        if labels in self._lasted or len(self._lasted) < MAX_SERIES:
            before = self._lasted.get(labels)
            self._new += durations.count - (before.count if before else 0)
            self._lasted[labels] = durations

    def take_new(self) -> int:
        """Return how many iterations ended since the last call."""
        new, self._new = self._new, 0
        return new

    def dropped(self, labels: tuple[bytes, ...], total: float) -> None:
        """Record the running total of dropped iterations of a series."""
        if labels in self._dropped or len(self._dropped) < MAX_SERIES:
            self._dropped[labels] = round(total)

    def absorb(self, other: IterationCounter) -> None:
        """Add the iterations of another runner."""
        for labels, durations in other._lasted.items():
            mine = self._lasted.get(labels)
            self._lasted[labels] = mine + durations if mine else durations
        for labels, total in other._dropped.items():
            self._dropped[labels] = self._dropped.get(labels, 0) + total

    def result(self) -> dict[str, Iterations]:
        """Return the iterations by scenario; iterations without the tag are under ""."""
        durations: dict[str, Histogram] = {}
        for labels, histogram in self._lasted.items():
            durations.setdefault(_scenario(labels), Histogram()).add(histogram)
        dropped: dict[str, int] = {}
        for labels, total in self._dropped.items():
            name = _scenario(labels)
            dropped[name] = dropped.get(name, 0) + total
        return {name: _row(name, durations, dropped) for name in sorted({*durations, *dropped})}


def _row(name: str, durations: Mapping[str, Histogram], dropped: Mapping[str, int]) -> Iterations:
    lasted = durations.get(name, Histogram())
    mean = lasted.mean
    return Iterations(
        count=lasted.count,
        dropped=dropped.get(name, 0),
        avg_ms=None if mean is None else round(mean * 1000, 3),
        fast_ms=ms(lasted, 0.05),
    )


def _scenario(labels: tuple[bytes, ...]) -> str:
    return tags(labels).get("scenario", "")
