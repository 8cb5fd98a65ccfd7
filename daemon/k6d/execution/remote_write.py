"""Parses Prometheus remote write 1.0 and calculates with its native histograms.

A push is a snappy block with a protobuf `WriteRequest`. The field numbers come from Prometheus'
`prompb/remote.proto` and `types.proto`. Fields that k6d does not need (exemplars, metadata,
negative buckets) are skipped. The caller parses only the series that it needs, a tenth of a push.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

from k6d.execution import snappy
from k6d.execution.protobuf import (
    Value,
    double,
    doubles,
    fields,
    message,
    signed,
    varints,
    whole,
    zigzag,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

SMALL_BYTES = 32 * 1024  # a hundred endpoints; larger pushes are unpacked by a library
MAX_MESSAGE_BYTES = 256 * 1024 * 1024  # a snappy block of 32 MiB can announce far more
_SCHEMAS = range(-4, 9)  # the exponential schemas of Prometheus; -53 means custom bounds
_ZERO = bytes(8)  # the value of a double field that is absent


class Series(NamedTuple):
    """One series of a push: its encoded labels, (value, ms) samples and (histogram, ms) samples."""

    labels: tuple[bytes, ...]
    samples: list[tuple[float, int]]
    histograms: list[tuple[Histogram, int]]


def decode(body: bytes) -> list[bytes]:
    """Return the encoded series in the body of a push, for `read`; ValueError if malformed."""
    return [message(value) for number, value in fields(_unpacked(body)) if number == 1]


def _unpacked(body: bytes) -> bytes:
    try:
        if len(body) <= SMALL_BYTES:
            return snappy.unpacked(body, most=MAX_MESSAGE_BYTES)
    except ValueError as error:
        raise ValueError(f"push is not a snappy block: {error}") from error
    import cramjam  # takes 1.6 MiB, which an idle daemon keeps

    try:
        if cramjam.snappy.decompress_raw_len(body) > MAX_MESSAGE_BYTES:
            raise ValueError(f"push unpacks to more than {MAX_MESSAGE_BYTES} bytes")
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise ValueError(f"push is not a snappy block: {error}") from error


def name_label(name: str) -> bytes:
    """Return the encoded label that names a series; a series without it need not be parsed."""
    text = name.encode()
    return b"\n\x08__name__\x12" + bytes([len(text)]) + text


def read(series: bytes) -> Series:
    """Parse a series; ValueError if it is malformed."""
    labels, samples, histograms = [], [], []
    for number, value in fields(series):
        if number == 1:
            labels.append(message(value))
        elif number == 2:
            samples.append(_sample(message(value)))
        elif number == 4:
            histograms.append(_histogram(message(value)))
    return Series(tuple(sorted(labels)), samples, histograms)


def tags(labels: Iterable[bytes]) -> dict[str, str]:
    """Return the labels of a series by name; ValueError if one is malformed."""
    found = {}
    for label in labels:
        texts = {number: str(message(value), "utf-8", "replace") for number, value in fields(label)}
        found[texts.get(1, "")] = texts.get(2, "")
    return found


def _sample(raw: bytes) -> tuple[float, int]:
    number = dict(fields(raw))
    return double(number.get(1, _ZERO)), signed(number.get(2, 0))


def _histogram(raw: bytes) -> tuple[Histogram, int]:
    """Parse a histogram and its time in ms. Integer bucket counts are deltas, floats are absolute.

    The count of the histogram is the sum of its buckets.
    """
    last: dict[int, Value] = {}
    deltas: list[int] = []
    counts: list[float] = []
    spans: list[tuple[int, int]] = []
    for number, value in fields(raw):
        if number == 11:
            span = dict(fields(message(value)))
            spans.append((zigzag(span.get(1, 0)), whole(span.get(2, 0))))
        elif number == 12:
            deltas += map(zigzag, varints(value))
        elif number == 13:
            counts += doubles(value)
        else:
            last[number] = value
    made = Histogram(
        schema=zigzag(last.get(4, 0)),
        buckets=_buckets(spans, map(round, counts) if counts else itertools.accumulate(deltas)),
        zero=whole(last.get(6, 0)) or round(double(last.get(7, _ZERO))),
        total=double(last.get(3, _ZERO)),
    )
    if made.schema not in _SCHEMAS:
        raise ValueError(f"histogram schema {made.schema} is not supported")
    return made, signed(last.get(15, 0))


def _buckets(spans: list[tuple[int, int]], counts: Iterable[int]) -> dict[int, int]:
    """Return the buckets by number. A span is (gap to the previous span, length).

    The gap of the first span is the number of the first bucket.
    """
    buckets: dict[int, int] = {}
    index, left = 0, iter(counts)
    for offset, length in spans:
        index += offset
        for _ in range(length):
            count = next(left, None)
            if count is None:
                raise ValueError("histogram has fewer buckets than its spans announce")
            if count:
                buckets[index] = count
            index += 1
    return buckets


class Histogram:
    """A Prometheus native histogram: counts in buckets that grow by b = 2^(2^-schema), exact sum.

    Bucket i counts values in (b^(i-1), b^i]; `zero` counts values too small for any bucket. Values
    have the unit of the pushes (seconds for k6's times). Histograms of different schemas are added
    at the coarser schema; for each step of it, bucket i becomes bucket ceil(i / 2).
    """

    __slots__ = ("buckets", "count", "schema", "sum", "zero")

    def __init__(
        self,
        *,
        schema: int = _SCHEMAS[-1],
        buckets: dict[int, int] | None = None,
        zero: int = 0,
        total: float = 0.0,
    ) -> None:
        self.schema = schema
        self.buckets = {} if buckets is None else buckets
        self.zero = zero
        self.sum = total
        self.count = zero + sum(self.buckets.values())

    @classmethod
    def of(cls, values: Iterable[float], *, schema: int = 3) -> Histogram:
        """Return the histogram of plain values; values of zero or less count as zero."""
        made = cls(schema=schema)
        for value in values:
            made.count += 1
            made.sum += value
            if value > 0:
                index = math.ceil(math.log2(value) * 2.0**schema)
                made.buckets[index] = made.buckets.get(index, 0) + 1
            else:
                made.zero += 1
        return made

    def at(self, schema: int) -> Histogram:
        """Return a copy at `schema`, which must not be finer than this histogram's."""
        shift = self.schema - schema
        buckets: dict[int, int] = {}
        for index, count in self.buckets.items():
            coarse = -(-index >> shift)
            buckets[coarse] = buckets.get(coarse, 0) + count
        return Histogram(schema=schema, buckets=buckets, zero=self.zero, total=self.sum)

    def add(self, other: Histogram) -> None:
        """Add the values of the other histogram to this one."""
        if self.schema > other.schema:
            self.schema, self.buckets = other.schema, self.at(other.schema).buckets
        elif self.schema < other.schema:
            other = other.at(self.schema)
        buckets = self.buckets
        for index, count in other.buckets.items():
            buckets[index] = buckets.get(index, 0) + count
        self.zero += other.zero
        self.count += other.count
        self.sum += other.sum

    def __add__(self, other: Histogram) -> Histogram:
        """Return the sum of both as a new histogram."""
        made = self.at(self.schema)
        made.add(other)
        return made

    def __sub__(self, earlier: Histogram) -> Histogram:
        """Return the values added since `earlier`, an older state of this one; never negative."""
        schema = min(self.schema, earlier.schema)
        now = self if self.schema == schema else self.at(schema)
        old = earlier if earlier.schema == schema else earlier.at(schema)
        before = old.buckets
        buckets = {
            index: left
            for index, count in now.buckets.items()
            if (left := count - before.get(index, 0)) > 0
        }
        zero = max(now.zero - old.zero, 0)
        return Histogram(schema=schema, buckets=buckets, zero=zero, total=max(now.sum - old.sum, 0))

    def __eq__(self, other: object) -> bool:
        """Compare schema and counts; sums are floats and may differ in the last digits."""
        if not isinstance(other, Histogram):
            return NotImplemented
        mine, its = (
            (self.schema, self.zero, self.buckets),
            (other.schema, other.zero, other.buckets),
        )
        return mine == its and math.isclose(self.sum, other.sum, rel_tol=1e-9, abs_tol=1e-9)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def bound(self, index: float) -> float:
        """Return the upper bound of a bucket, 2^(index * 2^-schema); capped at 2^1023."""
        return float(2.0 ** min(index * 2.0**-self.schema, 1023.0))

    @property
    def mean(self) -> float | None:
        """Return the exact mean; None if the histogram is empty."""
        return self.sum / self.count if self.count else None

    @property
    def max_bound(self) -> float | None:
        """Return the upper bound of the highest used bucket; None if the histogram is empty.

        The result is 0 if all values are zero.
        """
        if not self.count:
            return None
        return self.bound(max(self.buckets)) if self.buckets else 0.0

    def quantile(self, q: float) -> float | None:
        """Return the q-quantile (0 ≤ q ≤ 1); None if the histogram is empty.

        Like k6's percentiles, it interpolates linearly between the two values around the rank
        q·(n - 1). The values of a bucket are assumed to be evenly spaced on a logarithmic scale.
        """
        if not self.count:
            return None
        if self.count == 1:
            return self.sum
        rank = q * (self.count - 1)
        lower = math.floor(rank)
        value = self._value(lower)
        share = rank - lower
        return value + share * (self._value(lower + 1) - value) if share else value

    def around(self, q: float) -> tuple[float, float] | None:
        """Return the bounds between which the q-quantile lies; None if the histogram is empty.

        They are those of the buckets of the two values that `quantile` interpolates.
        """
        if not self.count:
            return None
        rank = q * (self.count - 1)
        lower = math.floor(rank)
        low, high = self._bucket(lower)
        if share := rank - lower:
            next_low, next_high = self._bucket(lower + 1)
            low, high = low + share * (next_low - low), high + share * (next_high - high)
        return low, high

    def _bucket(self, number: int) -> tuple[float, float]:
        """Return the bounds of the bucket of the value with that index, in ascending order."""
        seen = self.zero
        if number < seen:
            return 0.0, 0.0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if number < seen:
                return self.bound(index - 1), self.bound(index)
        top = self.max_bound or 0.0
        return top, top

    def _value(self, number: int) -> float:
        """Return the value with that index, from 0, in ascending order."""
        seen = self.zero
        if number < seen:
            return 0.0
        for index in sorted(self.buckets):
            count = self.buckets[index]
            if number < seen + count:
                return self.bound(index - 1 + (number - seen + 0.5) / count)
            seen += count
        return self.max_bound or 0.0
