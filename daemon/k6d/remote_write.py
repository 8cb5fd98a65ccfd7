"""The wire format of Prometheus remote write 1.0 and the arithmetic of its native histograms.

A push is a snappy block holding a protobuf `WriteRequest`. The message classes are built here from
the public field numbers of Prometheus' `prompb/remote.proto` and `types.proto`; fields that nobody
here reads (exemplars, metadata, negative buckets) are skipped by the parser as unknown.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import cramjam

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_MESSAGE_BYTES = 256 * 1024 * 1024  # a snappy block of 32 MiB can claim far more
_SCHEMAS = range(-4, 9)  # the exponential schemas of Prometheus; -53 means custom bounds
_NAME = b"\n\x08__name__\x12"  # how a Label message begins whose name is __name__

# Field name, number and type. Labels and histograms are messages; on the wire that is the same as
# bytes, and as bytes they are unpacked only where needed: a tenth of what k6 pushes.
_MESSAGES: dict[str, tuple[str, ...]] = {
    "Label": ("name 1 string", "value 2 string"),
    "Sample": ("value 1 double", "timestamp 2 int64"),
    "BucketSpan": ("offset 1 sint32", "length 2 uint32"),
    "Histogram": (
        "count_int 1 uint64",
        "count_float 2 double",
        "sum 3 double",
        "schema 4 sint32",
        "zero_threshold 5 double",
        "zero_count_int 6 uint64",
        "zero_count_float 7 double",
        "positive_spans 11 BucketSpan repeated",
        "positive_deltas 12 sint64 repeated",
        "positive_counts 13 double repeated",
        "timestamp 15 int64",
    ),
    "TimeSeries": (
        "labels 1 bytes repeated",
        "samples 2 Sample repeated",
        "histograms 4 bytes repeated",
    ),
    "WriteRequest": ("timeseries 1 TimeSeries repeated",),
}


class Messages(NamedTuple):
    """The message classes that are needed by name."""

    write_request: Any
    label: Any
    histogram: Any


@functools.cache
def messages() -> Messages:
    """The classes, made at the first push: a daemon that runs nothing does without protobuf."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="k6d/remote_write.proto", package="k6d", syntax="proto3"
    )
    for message, fields in _MESSAGES.items():
        entry = file.message_type.add(name=message)
        for line in fields:
            name, number, kind, *repeated = line.split()
            field = entry.field.add(name=name, number=int(number))
            field.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in _MESSAGES:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".k6d.{kind}"
            else:
                field.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    # A pool of its own: the default one may know Prometheus' messages from elsewhere.
    pool: Any = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find = pool.FindMessageTypeByName
    return Messages(
        *(
            message_factory.GetMessageClass(find(f"k6d.{name}"))
            for name in ("WriteRequest", "Label", "Histogram")
        )
    )


def decode(body: bytes) -> Any:
    """The `WriteRequest` in the body of a push; ValueError for anything else."""
    try:
        if cramjam.snappy.decompress_raw_len(body) > MAX_MESSAGE_BYTES:
            raise ValueError(f"push unpacks to more than {MAX_MESSAGE_BYTES} bytes")
        raw = bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise ValueError(f"push is not a snappy block: {error}") from error
    return _parse(messages().write_request, raw)


def metric(labels: Any) -> str:
    """The name of a series; k6 sends it as the first label, which saves reading the others."""
    first = labels[0] if labels else b""
    if not first.startswith(_NAME):
        first = next((label for label in labels if label.startswith(_NAME)), b"")
    # The value comes after its length, which is one byte for all names that anyone here looks for.
    return str(first[len(_NAME) + 1 :], "utf-8", "replace")


def tags(labels: Iterable[bytes]) -> dict[str, str]:
    """All labels of a series by name; ValueError when one is malformed."""
    parsed = [_parse(messages().label, label) for label in labels]
    return {label.name: label.value for label in parsed}


def _parse(kind: Any, raw: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise ValueError(f"push is not what remote write 1.0 sends: {error}") from error


def histogram_message(raw: bytes) -> Any:
    """A series' histogram, unpacked; ValueError when it is malformed."""
    return _parse(messages().histogram, raw)


class Histogram:
    """Counts of values in buckets that grow by b = 2^(2^-schema), and their exact count and sum.

    Bucket i holds values in (b^(i-1), b^i]; `zero` counts those too small for any bucket. Values
    are in the unit of the pushes (seconds for k6's times). Histograms of different schemas meet at
    the coarser one, where bucket i becomes bucket ceil(i / 2).
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
        """The histogram of plain values; what is not above zero counts as zero."""
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

    @classmethod
    def from_message(cls, message: Any) -> Histogram:
        """From a remote-write message; ValueError for a schema that is not exponential."""
        if message.schema not in _SCHEMAS:
            raise ValueError(f"histogram schema {message.schema} is not supported")
        counts = message.positive_counts
        deltas = iter(list(counts or message.positive_deltas))
        buckets: dict[int, int] = {}
        index, count = 0, 0
        for span in message.positive_spans:
            index += span.offset
            for _ in range(span.length):
                step = next(deltas, None)
                if step is None:
                    raise ValueError("histogram has fewer buckets than its spans announce")
                count = round(step) if counts else count + step
                index += 1
                if count:
                    buckets[index - 1] = count
        zero = message.zero_count_int or round(message.zero_count_float)
        return cls(schema=message.schema, buckets=buckets, zero=zero, total=message.sum)

    def at(self, schema: int) -> Histogram:
        """A copy at `schema`, which must not be finer than this one's."""
        shift = self.schema - schema
        buckets: dict[int, int] = {}
        for index, count in self.buckets.items():
            coarse = -(-index >> shift)
            buckets[coarse] = buckets.get(coarse, 0) + count
        return Histogram(schema=schema, buckets=buckets, zero=self.zero, total=self.sum)

    def add(self, other: Histogram) -> None:
        """Count the other's values here as well."""
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
        """Both together, as a new histogram."""
        made = self.at(self.schema)
        made.add(other)
        return made

    def __sub__(self, earlier: Histogram) -> Histogram:
        """What came since `earlier`, a former state of this one; nothing goes below zero."""
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
        """Same schema and same counts; sums are floats and may differ in the last digits."""
        if not isinstance(other, Histogram):
            return NotImplemented
        mine, its = (
            (self.schema, self.zero, self.buckets),
            (other.schema, other.zero, other.buckets),
        )
        return mine == its and math.isclose(self.sum, other.sum, rel_tol=1e-9, abs_tol=1e-9)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def bound(self, index: float) -> float:
        """Upper bound of a bucket: 2^(index * 2^-schema), and no more than a float can hold."""
        return float(2.0 ** min(index * 2.0**-self.schema, 1023.0))

    @property
    def mean(self) -> float | None:
        """The exact mean; None when empty."""
        return self.sum / self.count if self.count else None

    @property
    def max_bound(self) -> float | None:
        """Upper bound of the highest bucket in use; 0 when all values are zero, None when empty."""
        if not self.count:
            return None
        return self.bound(max(self.buckets)) if self.buckets else 0.0

    def quantile(self, q: float) -> float | None:
        """The q-quantile (0 ≤ q ≤ 1), interpolated geometrically in its bucket; None when empty.

        The rank is q·(n - 1), as in k6's own percentiles, and a bucket's values are taken to lie
        evenly on the logarithmic scale, the first half a step above its lower bound.
        """
        if not self.count:
            return None
        if self.count == 1:
            return self.sum
        rank = q * (self.count - 1) + 0.5
        seen = self.zero
        if rank <= seen:
            return 0.0
        for index in sorted(self.buckets):
            count = self.buckets[index]
            if rank <= seen + count:
                return self.bound(index - 1 + max(rank - seen, 0) / count)
            seen += count
        return self.max_bound
