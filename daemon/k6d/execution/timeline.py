"""Counts requests second by second and builds the time line of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from k6d.core.frozen import frozen
from k6d.core.measurements import Timeline
from k6d.execution.remote_write import Histogram

_MAX_POINTS = 600
# Each divides the next, so that whole entries can be merged at every step.
_RESOLUTIONS_S = (1, 2, 10, 30, 60, 300, 600, 1800, 3600)
_SAME_SECOND_MS = 250  # k6's last push comes right after a regular one
_DRIFT_S = 0.75  # a larger deviation means that a push was missed


@dataclass(slots=True)
class Tally:
    """The requests of one row of the breakdown, or of one entry of the time line.

    Only `judged` requests can be `unexpected`: a script may tell k6 not to judge some or all
    requests. In the time line, `mix` counts the requests by scenario and name.
    """

    requests: int = 0
    judged: int = 0
    unexpected: int = 0
    iterations: int = 0
    vus: int | None = None
    latency: Histogram = field(default_factory=Histogram)
    mix: Counter[str] = field(default_factory=Counter)

    def count(self, latency: Histogram, *, expected: bool | None) -> None:
        self.requests += latency.count
        self.judged += 0 if expected is None else latency.count
        self.unexpected += latency.count if expected is False else 0
        self.latency.add(latency)

    def merge(self, other: Tally) -> None:
        self.requests += other.requests
        self.judged += other.judged
        self.unexpected += other.unexpected
        self.iterations += other.iterations
        if other.vus is not None:
            self.vus = max(self.vus or 0, other.vus)
        self.latency.add(other.latency)
        self.mix.update(other.mix)

    @property
    def failed(self) -> int | None:
        """Return the number of failed requests; None if k6 judged none."""
        return self.unexpected if self.judged else None

    def failed_each(self, step_s: int) -> float | None:
        """Return failed requests per second; 0 without requests, None if no request was judged."""
        return None if self.requests and not self.judged else round(self.unexpected / step_s, 2)


@frozen
class Handed:
    """A finished entry of one runner; `second` is of the epoch, `vus` the newest number known."""

    second: int
    entry: Tally
    vus: int | None
    is_known: bool


class Recorder:
    """Builds the time line; above _MAX_POINTS entries, neighbours are merged."""

    def __init__(self) -> None:
        self.resolution_s = 1
        self.first_ms = self.last_ms = 0
        self.second = -1
        self.current = Tally()
        self._entries: dict[int, Tally] = {}
        self._unknown: set[int] = set()  # entries in which one of several runners did not push
        self._handed = self._late = 0  # entries given away, and how many of them have no rate
        self._vus: int | None = None

    def add(self, push: Tally, at_ms: int) -> None:
        """Add the requests of a push; `at_ms` is the time of its newest sample."""
        second = self._second(at_ms)
        if second != self.second:
            self.second, self.current = second, Tally()
        self.last_ms = max(self.last_ms, at_ms)
        self.current.merge(push)
        while second // self.resolution_s >= _MAX_POINTS and not self._handed:
            self._coarsen()
        self._entries.setdefault(second // self.resolution_s, Tally()).merge(push)

    def _second(self, at_ms: int) -> int:
        """Return the second that a push belongs to: the next second for each regular push.

        A push right after another belongs to the same second. A push that deviates by more than
        _DRIFT_S belongs to the second of its time. The sample times alone cannot decide: they are
        those of requests, anywhere in the second before the push, so that some seconds would get
        no push and others two.
        """
        if self.second < 0:
            self.first_ms = self.last_ms = at_ms
            return 0
        if at_ms - self.last_ms < _SAME_SECOND_MS:
            return self.second
        following, passed_s = self.second + 1, (at_ms - self.first_ms) / 1000
        if abs(passed_s - following) <= _DRIFT_S:
            return following
        return max(following, round(passed_s))

    def _coarsen(self) -> None:
        finer = self.resolution_s
        larger = (step for step in _RESOLUTIONS_S if step > finer)
        self.resolution_s = next(larger, finer * 2)
        entries, self._entries = self._entries, {}
        for index, entry in entries.items():
            merged = self._entries.setdefault(index * finer // self.resolution_s, Tally())
            merged.merge(entry)
        self._unknown = {index * finer // self.resolution_s for index in self._unknown}

    def hand_over(self, *, everything: bool = False) -> list[Handed]:
        """Give away the entries that no later push changes; the newest only with `everything`.

        Call it after each push, from the first on: entries that are given away are not merged.
        """
        handed, end = [], self.second + (1 if everything else 0)
        for index in range(self._handed, end):
            entry = self._entries.get(index)
            is_known = self._is_known(index)
            self._late += not is_known
            self._vus = self._vus if entry is None or entry.vus is None else entry.vus
            handed.append(
                Handed(
                    second=round(self.first_ms / 1000) + index,
                    entry=entry or Tally(),
                    vus=self._vus,
                    is_known=is_known,
                )
            )
            self._entries.pop(index - 1, None)  # the next entry asks for its neighbour
        self._handed = max(self._handed, end)
        return handed

    def begin(self, second: int) -> None:
        """Set the second of the epoch of the first entry that is put."""
        self.first_ms = self.last_ms = second * 1000

    def put(self, second: int, entry: Tally, *, is_known: bool) -> None:
        """Set the entry of a second, from the first on; all of it is there."""
        while second // self.resolution_s >= _MAX_POINTS:
            self._coarsen()
        index = second // self.resolution_s
        self._entries.setdefault(index, Tally()).merge(entry)
        if not is_known:
            self._unknown.add(index)
        self.second = max(self.second, second)

    def mixes(self) -> list[dict[str, int]]:
        """Return the requests in each entry of the time line, by scenario and name."""
        return [dict(entry.mix) for entry in self._all()]

    @property
    def began_s(self) -> float | None:
        """The time of the start, in seconds since 1970: the first push has the second before it."""
        return self.first_ms / 1000 - 1 if self.first_ms else None

    def gaps(self) -> int:
        """Return how many entries of the time line have no rate because k6 pushed too late."""
        rest = range(self._handed, len(self._all()))
        return self._late + sum(not self._is_known(index) for index in rest)

    def _all(self) -> list[Tally]:
        length = self.second // self.resolution_s + 1 if self.second >= 0 else 0
        empty = Tally()
        return [self._entries.get(index, empty) for index in range(length)]

    def _is_known(self, index: int) -> bool:
        """Return whether k6 pushed in this entry and in the previous one.

        A push holds the data since the previous push, so without that one the rate is unknown.
        """
        there = index in self._entries and (index == 0 or index - 1 in self._entries)
        return there and index not in self._unknown

    def timeline(self, most_ms: float | None = None) -> Timeline:
        """Return all entries from the first push to the last, with None where k6 did not push.

        A late push covers all seconds since the previous one, so the rates of these seconds are
        unknown. Quantiles are capped at `most_ms`.
        """
        step = self.resolution_s
        entries = self._all()
        known = [self._is_known(index) for index in range(len(entries))]
        return Timeline(
            resolution_s=step,
            t=[(index + 1) * step for index in range(len(entries))],
            vus=[entry.vus for entry in entries],
            requests_per_second=[
                round(entry.requests / step, 2) if there else None
                for entry, there in zip(entries, known, strict=True)
            ],
            errors_per_second=[
                entry.failed_each(step) if there else None
                for entry, there in zip(entries, known, strict=True)
            ],
            p95_ms=[ms(entry.latency, 0.95, most_ms) for entry in entries],
            p50_ms=[ms(entry.latency, 0.5, most_ms) for entry in entries],
            p99_ms=[ms(entry.latency, 0.99, most_ms) for entry in entries],
            iterations_per_second=[
                round(entry.iterations / step, 2) if there else None
                for entry, there in zip(entries, known, strict=True)
            ],
            began=self.began_s,
        )


def ms(latency: Histogram, q: float, most_ms: float | None = None) -> float | None:
    """Return a quantile in ms, at most `most_ms`; None if no request was answered.

    k6 counts unanswered requests as 0 s.
    """
    seconds = latency.quantile(q) if latency.buckets else None
    if seconds is None:
        return None
    estimate_ms = round(seconds * 1000, 3)
    return estimate_ms if most_ms is None else min(estimate_ms, most_ms)
