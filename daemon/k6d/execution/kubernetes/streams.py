"""Keeps the newest push of every series that thresholds and totals need, runner by runner.

k6 pushes running totals, so the newest push of a series says all. It is parsed only when a number
is asked for.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from k6d.execution.protobuf import fields, message
from k6d.execution.remote_write import Histogram, Series, read, tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_SERIES = 20_000
_NAME = b"\n\x08__name__\x12"
_PREFIX = b"k6_"
# For each request k6 sends six more trends, which only a threshold may need.
_PARTS = ("blocked", "connecting", "receiving", "sending", "tls_handshaking", "waiting")
_UNITS = {"_seconds": 1000.0, "_bytes": 1.0, "": 1.0}  # to the units of k6's summary
_EXPECTED = "expected_response"


class Trend(NamedTuple):
    """The values of a trend; `scale` converts them to the unit of k6's summary."""

    histogram: Histogram
    scale: float


class _Parsed(NamedTuple):
    """A series that was asked for; it is asked for again for each threshold and quantile."""

    raw: bytes
    labels: dict[str, str]
    series: Series


class Streams:
    """The series of one runner; thread-safe. `wanted` are metrics that thresholds name."""

    def __init__(self, wanted: Iterable[str] = (), *, most: int = MAX_SERIES) -> None:
        parts = {f"http_req_{part}" for part in _PARTS} - set(wanted)
        self._unread = {f"k6_{part}_seconds".encode() for part in parts}
        self._most = most
        self._last: dict[bytes, dict[bytes, bytes]] = {}
        self._parsed: dict[tuple[bytes, bytes], _Parsed] = {}
        self._count = 0
        self._lock = threading.Lock()
        self.overflowed = False

    def feed(self, pushed: Iterable[bytes]) -> None:
        """Keep the encoded series of a push."""
        with self._lock:
            for raw in pushed:
                name = _name(raw)
                if not name.startswith(_PREFIX) or name in self._unread:
                    continue
                series = self._last.setdefault(name, {})
                key = _labels(raw)
                if key not in series:
                    if self._count >= self._most:
                        self.overflowed = True
                        continue
                    self._count += 1
                series[key] = raw

    def find(
        self, name: str, selected: Mapping[str, str]
    ) -> Iterator[tuple[dict[str, str], Series]]:
        """Yield the newest push of each series of a name that has all the tags."""
        encoded = name.encode()
        with self._lock:
            found = list(self._last.get(encoded, {}).items())
        for key, raw in found:
            one = self._parsed.get((encoded, key))
            if one is None or one.raw is not raw:
                series = read(raw)
                one = self._parsed[encoded, key] = _Parsed(raw, tags(series.labels), series)
            if all(one.labels.get(tag) == value for tag, value in selected.items()):
                yield one.labels, one.series


def trend(every: Iterable[Streams], metric: str, selected: Mapping[str, str]) -> Trend | None:
    """Return the values of a trend in all runners; None if none was pushed."""
    every = list(every)
    for unit, scale in _UNITS.items():
        total, found = Histogram(), False
        for streams in every:
            for _, series in streams.find(f"k6_{metric}{unit}", selected):
                if series.histograms:
                    total.add(series.histograms[-1][0])
                    found = True
        if found:
            return Trend(total, scale)
    return None


def counter(every: Iterable[Streams], metric: str, selected: Mapping[str, str]) -> float | None:
    """Return the total of a counter over all runners."""
    found = [
        series.samples[-1][0]
        for streams in every
        for _, series in streams.find(f"k6_{metric}_total", selected)
        if series.samples
    ]
    return sum(found) if found else None


def newest(every: Iterable[Streams], metric: str, selected: Mapping[str, str]) -> list[float]:
    """Return the last value of a gauge in each runner, the newest first."""
    found = []
    for streams in every:
        values = [
            (at_ms, value)
            for _, series in streams.find(f"k6_{metric}", selected)
            for value, at_ms in series.samples[-1:]
        ]
        if values:
            found.append(max(values))
    return [value for _, value in sorted(found, reverse=True)]


def shares(every: Iterable[Streams], metric: str, selected: Mapping[str, str]) -> list[float]:
    """Return the shares of a rate in all its series; k6 does not push of how many samples."""
    return [
        series.samples[-1][0]
        for streams in every
        for _, series in streams.find(f"k6_{metric}_rate", selected)
        if series.samples
    ]


def failed_requests(
    every: Iterable[Streams], selected: Mapping[str, str]
) -> tuple[int, int] | None:
    """Return how many requests failed and how many were judged; None without any."""
    failed = judged = 0
    for streams in every:
        for labels, series in streams.find("k6_http_req_duration_seconds", selected):
            if _EXPECTED in labels and series.histograms:
                count = series.histograms[-1][0].count
                judged += count
                failed += count if labels[_EXPECTED] == "false" else 0
    return (failed, judged) if judged else None


def _name(raw: bytes) -> bytes:
    start = raw.find(_NAME)
    if start < 0:
        return b""
    start += len(_NAME)
    length = raw[start] if start < len(raw) else 0
    return raw[start + 1 : start + 1 + length]


def _labels(raw: bytes) -> bytes:
    """Return the labels of an encoded series, in one order, as the key of what is kept."""
    return b"\0".join(sorted(message(value) for number, value in fields(raw) if number == 1))
