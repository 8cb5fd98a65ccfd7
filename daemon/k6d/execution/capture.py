"""Adds up k6's remote-write pushes to the breakdown and the time line of a run.

k6 pushes once a second, and once more at its end. A push holds the series that changed since the
last push, each with its running total. The capture keeps the latest total of each series and adds
up the rows of the breakdown at the end. The difference between two pushes is an entry of the time
line. Of the request metrics, only the histograms of `http_req_duration` are read: for each set of
tags, their counts equal those of `http_reqs`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from k6d.core.measurements import OFFLINE, Breakdown
from k6d.execution.excluded import EXCLUDED, SETUP, TEARDOWN, Exclude, kind_of
from k6d.execution.executor import Live
from k6d.execution.handshakes import Handshakes
from k6d.execution.iterations import IterationCounter
from k6d.execution.other_calls import GRPC, PAGES, Calls
from k6d.execution.remote_write import Histogram, decode, name_label, read, tags
from k6d.execution.rows import OTHER, Requests, Table, counts, hidden, load_of, named
from k6d.execution.timeline import Recorder, Tally, ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from k6d.core.measurements import Metrics
    from k6d.execution.remote_write import Series
    from k6d.execution.timeline import Handed

MAX_ERRORS = 10  # errors can be unlimited: some contain a port or a certificate
MAX_MIXED = 50  # distinct scenario and name pairs in one second of the time line
MAX_UNTRACKED = 200  # above it, untracked requests are not split by error
_LATENCY = name_label("k6_http_req_duration_seconds")
_VUS = name_label("k6_vus")
_DROPPED = name_label("k6_dropped_iterations_total")
_ITERATION = name_label("k6_iteration_duration_seconds")
_Latency = tuple[tuple[bytes, ...], Histogram, int]  # labels, running total, time in ms
_SESSIONS = name_label("k6_ws_sessions_total")
_READ = (_LATENCY, _VUS, _DROPPED, _ITERATION, _SESSIONS, GRPC.label, PAGES.label)


class Capture:
    """Adds up the pushes of one run; every method is thread-safe.

    `hide` removes secrets from names. Series whose names are equal after that are added up.
    """

    def __init__(
        self,
        max_endpoints: int = 200,
        max_series: int = 50_000,
        exclude: Exclude | None = None,
        hide: Callable[[str], str] = str,
    ) -> None:
        self._hide = hide
        self._max_endpoints = max_endpoints
        self._max_series = max_series
        self._exclude = exclude or Exclude()
        self._last_ms: dict[str | None, int] = {}  # keys: None (the load), setup, teardown
        # The key is the hash of all tags; the tags themselves would store each URL a second time.
        self._series: dict[int, Requests] = {}
        self._untracked: dict[tuple[object, ...], Requests] = {}
        self._iterations = IterationCounter()
        self._handshakes = Handshakes()
        self._grpc, self._pages = (Calls(one, self._exclude, hide) for one in (GRPC, PAGES))
        self._mix_keys: set[str] = set()
        self._recorder = Recorder()
        self._total = Tally()
        self._vus: int | None = None
        self._lock = threading.Lock()

    def feed(self, body: bytes) -> None:
        """Count one push as k6 sent it; a malformed push raises ValueError and counts nothing."""
        self.take(decode(body))

    def take(self, pushed: Iterable[bytes]) -> None:
        """Count the encoded series of one push; a malformed one raises ValueError."""
        latencies: list[_Latency] = []
        vus, at_ms = None, 0
        for raw in pushed:
            if not any(label in raw for label in _READ):
                continue  # skips nine tenths of a push without parsing it
            series = read(raw)
            self._count_others(series)
            if _LATENCY in series.labels:
                for latency, when in series.histograms:
                    latencies.append((series.labels, latency, when))
                    at_ms = max(at_ms, when)
            elif _VUS in series.labels:
                for value, when in series.samples:
                    vus, at_ms = round(value), max(at_ms, when)
        if at_ms:
            with self._lock:
                self._count(latencies, vus=vus, at_ms=at_ms)

    def _count_others(self, series: Series) -> None:
        with self._lock:
            if _ITERATION in series.labels and series.histograms:
                self._iterations.lasted(series.labels, series.histograms[-1][0])
            elif GRPC.label in series.labels and series.histograms:
                self._grpc.take(series.labels, series.histograms[-1][0])
            elif PAGES.label in series.labels and series.histograms:
                self._pages.take(series.labels, series.histograms[-1][0])
            elif _DROPPED in series.labels and series.samples:
                self._iterations.dropped(series.labels, series.samples[-1][0])
            elif _SESSIONS in series.labels and series.samples:
                self._handshakes.take(series.labels, series.samples[-1][0])

    def _untracked_series(
        self, found: dict[str, str], latency: Histogram
    ) -> tuple[Requests, Histogram]:
        """Return the row that stands for series above the limit, and the histogram to add to it.

        The previous total of such a series is not known. So each push that contains it counts as
        one request with the mean latency: exact if every URL is requested once, else too few.
        """
        apart = kind_of(found, self._exclude)
        made = Requests.of(hidden(found, self._hide) | {"name": OTHER}, apart)
        made.method = made.group = None
        if len(self._untracked) >= MAX_UNTRACKED:
            made.error = None
        key = (made.scenario, made.status, made.error_code, made.error, made.expected, made.apart)
        pooled = self._untracked.setdefault(key, made)
        if latency.count > 1:
            latency = Histogram.of([latency.sum / latency.count], schema=latency.schema)
        return pooled, latency

    def _count(self, latencies: list[_Latency], *, vus: int | None, at_ms: int) -> None:
        push, apart = Tally(vus=vus), Tally()
        for labels, latency, when in latencies:
            key = hash(labels)
            series = self._series.get(key)
            if series is None and len(self._series) < self._max_series:
                found = tags(labels)
                made = Requests.of(hidden(found, self._hide), kind_of(found, self._exclude))
                series = self._series[key] = made
            if series is None:
                series, new = self._untracked_series(tags(labels), latency)
                series.latency.add(new)
            else:
                new, series.latency = latency - series.latency, latency
            (push if series.apart is None else apart).count(new, expected=series.expected)
            if series.apart is None:
                push.mix[self._mixed(series)] += new.count
            self._last_ms[series.apart] = max(when, self._last_ms.get(series.apart, 0))
        push.iterations = self._iterations.take_new()
        self._total.merge(push)
        self._total.merge(apart)
        self._vus = self._vus if vus is None else vus
        self._recorder.add(push, at_ms)

    def live(self) -> Live:
        """Return the progress of the run."""
        return live_of(*self.progress())

    def progress(self) -> tuple[Tally, Tally, float]:
        """Return the requests of the last second, all so far, and the seconds since the start."""
        with self._lock:
            recorder, now, total = self._recorder, Tally(), Tally()
            now.merge(recorder.current)
            now.vus = self._vus
            total.merge(self._total)
            since_s = (recorder.last_ms - recorder.first_ms) / 1000
            return now, total, round(since_s + 1, 1) if recorder.second >= 0 else 0.0

    def result(self, totals: Metrics) -> Breakdown:
        """Return the breakdown of the load and of the requests apart from it.

        `totals` are k6's own, of all requests. Quantiles are estimates from histograms, so they are
        capped at the longest response time in `totals`.
        """
        with self._lock:
            most_ms = totals.response_time_max
            timeline = self._recorder.timeline(most_ms)
            every = [*self._series.values(), *self._untracked.values()]
            series = [one for one in every if one.apart is None]
            notes = self._notes()
            table = Table(
                most=self._max_endpoints,
                lasted_s=self._load_s(totals) or len(timeline.t) * timeline.resolution_s,
                exact=totals,
                notes=notes,
            )
            return Breakdown(
                endpoints=table.rows("endpoints", series, lambda one: (one.name, one.method)),
                scenarios=table.rows("scenarios", series, lambda one: named(one.scenario)),
                groups=table.rows("groups", series, lambda one: named(one.group)),
                status_codes=dict(sorted(counts(series, lambda one: one.status).items())),
                error_codes=dict(sorted(counts(series, lambda one: one.error_code).items())),
                errors=dict(counts(series, lambda one: one.error).most_common(MAX_ERRORS)),
                iterations=self._iterations.result(),
                handshakes=self._handshakes.result(),
                grpc_methods=self._grpc.rows(table),
                grpc_codes=self._grpc.codes(),
                pages=self._pages.rows(table),
                apart={
                    kind: table.rows(
                        f"{kind} endpoints",
                        [one for one in every if one.apart == kind],
                        lambda one: (one.name, one.method),
                    )
                    for kind in (SETUP, TEARDOWN, EXCLUDED, OFFLINE)
                    if any(one.apart == kind for one in every)
                },
                timeline=timeline,
                notes=notes,
            )

    def hand_over(self, *, everything: bool = False) -> list[Handed]:
        """Give away finished entries of the time line; see `Recorder.hand_over`."""
        with self._lock:
            return self._recorder.hand_over(everything=everything)

    def with_timeline(self, recorder: Recorder) -> None:
        """Take the time line of all runners."""
        self._recorder = recorder

    def absorb(self, other: Capture) -> None:
        """Add what the capture of another runner has counted, without its time line."""
        for key, one in other._series.items():
            mine = self._series.get(key)
            self._series[key] = mine.plus(one) if mine else one
        for pool, one in other._untracked.items():
            mine = self._untracked.get(pool)
            self._untracked[pool] = mine.plus(one) if mine else one
        self._iterations.absorb(other._iterations)
        self._handshakes.absorb(other._handshakes)
        self._grpc.absorb(other._grpc)
        self._pages.absorb(other._pages)
        for part, at_ms in other._last_ms.items():
            self._last_ms[part] = max(at_ms, self._last_ms.get(part, 0))
        self._total.merge(other._total)

    def errors(self) -> set[str]:
        """Return k6's messages for the requests of the load that had no answer."""
        with self._lock:
            return {one.error for one in self._load() if one.error}

    def leave_out(self, is_own: Callable[[str], bool]) -> None:
        """Take requests with such errors out of the load; the time line still has them."""
        with self._lock:
            for one in self._load():
                if one.error and is_own(one.error):
                    one.apart = OFFLINE

    def _load(self) -> list[Requests]:
        every = [*self._series.values(), *self._untracked.values()]
        return [one for one in every if one.apart is None]

    def load_so_far(self) -> Tally:
        """Return the requests of the load together."""
        with self._lock:
            load = Tally()
            for one in self._load():
                load.count(one.latency, expected=one.expected)
            return load

    def late_seconds(self) -> int:
        """Return for how many seconds nothing is known, because k6 pushed too late."""
        with self._lock:
            return self._recorder.gaps() * self._recorder.resolution_s

    def mixes(self) -> list[dict[str, int]]:
        """Return the requests in each entry of the time line, by scenario and name."""
        with self._lock:
            return self._recorder.mixes()

    def _mixed(self, series: Requests) -> str:
        key = f"{series.scenario or ''} {series.name}"
        if key not in self._mix_keys and len(self._mix_keys) >= MAX_MIXED:
            return OTHER
        self._mix_keys.add(key)
        return key

    def load(self, totals: Metrics) -> Metrics | None:
        """Return the totals of the load alone; None if all requests belong to the load."""
        with self._lock:
            every = [*self._series.values(), *self._untracked.values()]
            if all(one.apart is None for one in every):
                return None
            load_s = self._load_s(totals)
        return load_of(totals, self.load_so_far(), load_s)

    def _notes(self) -> list[str]:
        notes, gaps = self._overflow(), self._recorder.gaps()
        if gaps:
            notes.append(
                f"k6 pushed its numbers too late for {gaps} entries of the time line, which have no"
                " rates: it has too many series, or too little CPU"
            )
        return notes

    def _overflow(self) -> list[str]:
        overflow = sum(one.latency.count for one in self._untracked.values())
        if not overflow:
            return []
        return [
            f"more than {self._max_series} distinct sets of tags: at least {overflow}"
            f" requests beyond them are summed as '{OTHER}'; give requests a name tag to"
            " group URLs"
        ]

    def _load_s(self, totals: Metrics) -> float | None:
        """Return how long the load lasted, in seconds: k6's duration without setup and teardown.

        The load begins with the last request of setup and ends with its own last request.
        """
        lasted_s = None if totals.duration_ms is None else totals.duration_ms / 1000
        before, load, after = (self._last_ms.get(part) for part in (SETUP, None, TEARDOWN))
        if lasted_s is None or load is None:
            return lasted_s
        if before is not None and load > before:
            return (load - before) / 1000
        if after is not None and after > load:
            return max(lasted_s - (after - load) / 1000, 0.0) or None
        return lasted_s


def live_of(now: Tally, total: Tally, elapsed_s: float) -> Live:
    """Return the progress of a run, from what `Capture.progress` returns."""
    return Live(
        elapsed_s=elapsed_s,
        vus=now.vus,
        requests=total.requests,
        failed=total.failed,
        requests_per_second=float(now.requests),
        errors_per_second=now.failed_each(1),
        p95_ms=ms(now.latency, 0.95),
    )
