"""k6's remote-write pushes → numbers by endpoint, scenario and group, and a time line.

k6 pushes once a second, and once more when it ends, the series that changed since the last push,
each with its running total. So the latest state of each series is kept, the rows are added up from
those at the end, and what a push added to them is the time line's next entry. Only the histograms
of `http_req_duration` are read: their counts are those of `http_reqs`, tag for tag.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Self

from k6d.core.model import Breakdown
from k6d.execution.excluded import EXCLUDED, SETUP, TEARDOWN, Exclude, kind_of
from k6d.execution.handshakes import Handshakes
from k6d.execution.iterations import IterationCounter
from k6d.execution.remote_write import Histogram, decode, name_label, read, tags
from k6d.execution.rows import OTHER, Requests, Table, counts, hidden, load_of, named
from k6d.execution.timeline import Recorder, Tally, ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from k6d.core.model import Metrics
    from k6d.execution.remote_write import Series

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_ERRORS = 10  # some name a port or a certificate
MAX_MIXED = 50  # what is told apart of the load of one second
MAX_UNTRACKED = 200  # beyond it what kept a request from an answer is not told apart
_LATENCY = name_label("k6_http_req_duration_seconds")
_VUS = name_label("k6_vus")
_DROPPED = name_label("k6_dropped_iterations_total")
_ITERATION = name_label("k6_iteration_duration_seconds")
_Latency = tuple[tuple[bytes, ...], Histogram, int]  # labels, the running total, when
_SESSIONS = name_label("k6_ws_sessions_total")
_READ = (_LATENCY, _VUS, _DROPPED, _ITERATION, _SESSIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """How a run is going: totals so far, and the rates and p95 of its last second."""

    elapsed_s: float
    vus: int | None
    requests: int
    failed: int | None
    requests_per_second: float
    errors_per_second: float | None
    p95_ms: float | None


class Capture:
    """Adds up the pushes of one run; every method may be called from any thread.

    `hide` takes secrets out of names: what is the same without them is added up.
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
        self._last_ms: dict[str | None, int] = {}  # of the load (None), of setup, of teardown
        # By the hash of all tags: unique URLs would otherwise be held here a second time.
        self._series: dict[int, Requests] = {}
        self._untracked: dict[tuple[object, ...], Requests] = {}
        self._iterations = IterationCounter()
        self._handshakes = Handshakes()
        self._mix_keys: set[str] = set()
        self._recorder = Recorder()
        self._total = Tally()
        self._vus: int | None = None
        self._lock = threading.Lock()

    def feed(self, body: bytes) -> None:
        """Take one push as k6 sent it; ValueError, and nothing counted, when it is malformed."""
        latencies: list[_Latency] = []
        vus, at_ms = None, 0
        for raw in decode(body):
            if not any(label in raw for label in _READ):
                continue  # nine tenths of a push
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
            elif _DROPPED in series.labels and series.samples:
                self._iterations.dropped(series.labels, series.samples[-1][0])
            elif _SESSIONS in series.labels and series.samples:
                self._handshakes.take(series.labels, series.samples[-1][0])

    def _untracked_series(
        self, found: dict[str, str], latency: Histogram
    ) -> tuple[Requests, Histogram]:
        """What stands for a series too many, and what to count of it.

        Its last total is not known, so each push that names it counts as one request, with its mean
        latency: exact where every URL is requested once, and never too much.
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
        self._total.merge(push)
        self._total.merge(apart)
        self._vus = self._vus if vus is None else vus
        self._recorder.add(push, at_ms)

    def live(self) -> Live:
        """Where the run stands, for a progress bar."""
        with self._lock:
            recorder, total = self._recorder, self._total
            now = recorder.current
            since_s = (recorder.last_ms - recorder.first_ms) / 1000
            return Live(
                elapsed_s=round(since_s + 1, 1) if recorder.second >= 0 else 0.0,
                vus=self._vus,
                requests=total.requests,
                failed=total.failed,
                requests_per_second=float(now.requests),
                errors_per_second=now.failed_each(1),
                p95_ms=ms(now.latency, 0.95),
            )

    def result(self, totals: Metrics) -> Breakdown:
        """The load in parts, and what stands apart; `totals` are k6's own, of all requests.

        No estimate of a quantile exceeds the longest response time of all.
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
                apart={
                    kind: table.rows(
                        f"{kind} endpoints",
                        [one for one in every if one.apart == kind],
                        lambda one: (one.name, one.method),
                    )
                    for kind in (SETUP, TEARDOWN, EXCLUDED)
                    if any(one.apart == kind for one in every)
                },
                timeline=timeline,
                notes=notes,
            )

    def mixes(self) -> list[dict[str, int]]:
        """The load of each entry of the time line, by scenario and name."""
        with self._lock:
            return self._recorder.mixes()

    def _mixed(self, series: Requests) -> str:
        key = f"{series.scenario or ''} {series.name}"
        if key not in self._mix_keys and len(self._mix_keys) >= MAX_MIXED:
            return OTHER
        self._mix_keys.add(key)
        return key

    def load(self, totals: Metrics) -> Metrics | None:
        """The totals of the load alone; None when no request stands apart from it."""
        with self._lock:
            every = [*self._series.values(), *self._untracked.values()]
            if all(one.apart is None for one in every):
                return None
            load = Tally()
            for one in every:
                if one.apart is None:
                    load.count(one.latency, expected=one.expected)
            return load_of(totals, load, self._load_s(totals))

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
        """How long the load lasted: k6's duration without setup and teardown.

        It begins with the last request of setup and ends with the last of its own.
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


class Receiver:
    """An HTTP server on 127.0.0.1 that feeds a `Capture` while the context is open.

    `also` is called with each push that was taken, as k6 sent it, and must not wait.
    `url` is for k6's K6_PROMETHEUS_RW_SERVER_URL; its path is secret, so that no other process on
    the machine can add to a run by guessing the port.
    """

    def __init__(
        self, capture: Capture, *, also: Callable[[bytes], None] = lambda _body: None
    ) -> None:
        self._path = f"/{secrets.token_urlsafe(24)}/write"
        self._server = _Server(capture, self._path, also)
        self._port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self._port}{self._path}"
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="remote-write", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        # A connection of our own ends the wait for the next one without a loop that polls.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        self._thread.join(timeout=1)
        self._server.server_close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, address = self._server.get_request()
            except OSError as error:
                log.warning("cannot take k6's metrics, there will be no breakdown: %s", error)
                return
            if self._closing.is_set():
                connection.close()
            else:
                self._server.process_request(connection, address)


class _Server(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, capture: Capture, path: str, also: Callable[[bytes], None]) -> None:
        self.capture = capture
        self.also = also
        self.path = path
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, *_: object) -> None:
        """A k6 that was killed breaks its connection; the run's outcome says so already."""
        log.debug("remote-write connection broke", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60  # k6 pushes every second on one connection
    server: _Server

    def do_POST(self) -> None:
        """Take one push: 204, or the reason why not."""
        self._reply(self._take())

    def _take(self) -> int:
        if not secrets.compare_digest(self.path.encode(), self.server.path.encode()):
            return 404
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            return 411
        if length > MAX_BODY_BYTES:
            return 413
        try:
            body = self.rfile.read(max(length, 0))
            self.server.capture.feed(body)
            self.server.also(body)
        except ValueError as error:
            log.debug("remote-write push refused: %s", error)
            return 400
        return 204

    def _reply(self, status: int) -> None:
        self.send_response(status)
        if status != 204:
            # The body may not have been read, so the connection is of no further use.
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on the console; what matters is logged above."""
