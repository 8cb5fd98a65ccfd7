"""Adds up the pushes of all runners of one run, and keeps each runner's numbers apart."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k6d.execution.capture import live_of
from k6d.execution.kubernetes.streams import Streams
from k6d.execution.kubernetes.together import Together
from k6d.execution.remote_write import decode, name_label
from k6d.execution.timeline import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from k6d.execution.capture import Capture
    from k6d.execution.executor import Live

MOST_SERIES = 50_000  # of all runners together
LEAST_SERIES = 2_000
_VUS = name_label("k6_vus")
# The operator's tag for the number of a runner.
_NUMBER = re.compile(rb"\n\x0binstance_id\x12[\x01-\x04](\d{1,4})")


@dataclass(slots=True)
class One:
    """What came from one runner; `last_at` is the time of its last push (monotonic)."""

    capture: Capture
    streams: Streams
    last_at: float
    lock: threading.Lock = field(default_factory=threading.Lock)


class Captures:
    """The captures of the runners by number; thread-safe.

    `make` makes a capture for at most so many series. `wanted` are metrics that thresholds name.
    """

    def __init__(
        self, runners: int, *, make: Callable[[int], Capture], wanted: Iterable[str]
    ) -> None:
        self._runners = runners
        self._most = max(MOST_SERIES // runners, LEAST_SERIES)
        self._make, self._wanted = make, set(wanted)
        self._of: dict[int, One] = {}
        self._together = Together()
        self._lock = threading.Lock()

    def push(self, body: bytes) -> None:
        """Count one push of a runner; ValueError if it is malformed or of no runner."""
        pushed = decode(body)
        number = _runner_of(pushed)
        if number is None or not 1 <= number <= self._runners:
            raise ValueError("the push names no runner of this run")
        one = self._one(number)
        with one.lock:
            one.capture.take(pushed)
            one.streams.feed(pushed)
            one.last_at = time.monotonic()
            finished = one.capture.hand_over()
        self._together.add(finished)

    def _one(self, number: int) -> One:
        with self._lock:
            if number not in self._of:
                streams = Streams(self._wanted, most=self._most)
                self._of[number] = One(self._make(self._most), streams, time.monotonic())
            return self._of[number]

    def pushed_at(self) -> dict[int, float]:
        """Return when each runner pushed last (monotonic), without those that never did."""
        with self._lock:
            return {number: one.last_at for number, one in self._of.items()}

    def numbers(self) -> list[int]:
        """Return the runners that pushed."""
        return sorted(self._of)

    def of(self, number: int) -> Capture | None:
        """Return the capture of one runner."""
        one = self._of.get(number)
        return one.capture if one else None

    def streams(self) -> Sequence[Streams]:
        """Return the streams of all runners that pushed."""
        with self._lock:
            return [one.streams for one in self._of.values()]

    def live(self) -> Live:
        """Return the progress of all runners together."""
        with self._lock:
            each = [one.capture.progress() for one in self._of.values()]
        now, total = Tally(), Tally()
        for current, so_far, _ in each:
            now.merge(current)
            total.merge(so_far)
        vus = [current.vus for current, _, _ in each if current.vus is not None]
        now.vus = sum(vus) if vus else None
        return live_of(now, total, max((elapsed_s for _, _, elapsed_s in each), default=0.0))

    def merged(self) -> Capture:
        """Return the sum of all captures; call it once, when all runners have ended."""
        made = self._make(MOST_SERIES)
        for number in self.numbers():
            capture = self._of[number].capture
            self._together.add(capture.hand_over(everything=True))
            made.absorb(capture)
        made.with_timeline(self._together.recorder())
        return made


def _runner_of(pushed: Sequence[bytes]) -> int | None:
    """Return the number of the runner that pushed.

    k6's own gauge of virtual users has the runner's tags alone. A script may set a tag of the same
    name on other series, so these are asked only if the gauge is not in the push.
    """
    found = next((raw for raw in pushed if _VUS in raw), None)
    candidates = [found] if found is not None else pushed
    for raw in candidates:
        if number := _NUMBER.search(raw):
            return int(number[1])
    return None
