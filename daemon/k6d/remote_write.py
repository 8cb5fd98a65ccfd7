"""The wire format of Prometheus remote write 1.0 and the arithmetic of its native histograms.

A push is a snappy block holding a protobuf `WriteRequest`. The message classes are built here from
the public field numbers of Prometheus' `prompb/remote.proto` and `types.proto`; fields that nobody
here reads (exemplars, metadata, negative buckets) are skipped by the parser as unknown.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_MESSAGE_BYTES = 256 * 1024 * 1024  # a snappy block of 32 MiB can claim far more
_SCHEMAS = range(-4, 9)  # the exponential schemas of Prometheus; -53 means custom bounds

_FIELD = descriptor_pb2.FieldDescriptorProto
_MESSAGES: dict[str, list[tuple[str, int, int | str, bool]]] = {
    "Label": [("name", 1, _FIELD.TYPE_STRING, False), ("value", 2, _FIELD.TYPE_STRING, False)],
    "Sample": [
        ("value", 1, _FIELD.TYPE_DOUBLE, False),
        ("timestamp", 2, _FIELD.TYPE_INT64, False),
    ],
    "BucketSpan": [
        ("offset", 1, _FIELD.TYPE_SINT32, False),
        ("length", 2, _FIELD.TYPE_UINT32, False),
    ],
    "Histogram": [
        ("count_int", 1, _FIELD.TYPE_UINT64, False),
        ("count_float", 2, _FIELD.TYPE_DOUBLE, False),
        ("sum", 3, _FIELD.TYPE_DOUBLE, False),
        ("schema", 4, _FIELD.TYPE_SINT32, False),
        ("zero_threshold", 5, _FIELD.TYPE_DOUBLE, False),
        ("zero_count_int", 6, _FIELD.TYPE_UINT64, False),
        ("zero_count_float", 7, _FIELD.TYPE_DOUBLE, False),
        ("positive_spans", 11, "BucketSpan", True),
        ("positive_deltas", 12, _FIELD.TYPE_SINT64, True),
        ("positive_counts", 13, _FIELD.TYPE_DOUBLE, True),
        ("timestamp", 15, _FIELD.TYPE_INT64, False),
    ],
    "TimeSeries": [
        ("labels", 1, "Label", True),
        ("samples", 2, "Sample", True),
        ("histograms", 4, "Histogram", True),
    ],
    "WriteRequest": [("timeseries", 1, "TimeSeries", True)],
}


def _message_class() -> Any:
    """The class of WriteRequest, in a descriptor pool of its own (names may exist elsewhere)."""
    file = descriptor_pb2.FileDescriptorProto(
        name="k6d/remote_write.proto", package="k6d.prometheus", syntax="proto3"
    )
    for message, fields in _MESSAGES.items():
        entry = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            field = entry.field.add(name=name, number=number)
            field.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".k6d.prometheus.{kind}"
            else:
                field.type = kind  # type: ignore[assignment]  # the stub's enum is an int
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())  # type: ignore[no-untyped-call]  # untyped stub
    descriptor = pool.FindMessageTypeByName(  # type: ignore[no-untyped-call]  # same
        "k6d.prometheus.WriteRequest"
    )
    return message_factory.GetMessageClass(descriptor)


WriteRequest: Any = _message_class()


def decode(body: bytes) -> Any:
    """The `WriteRequest` in the body of a push; ValueError for anything else."""
    try:
        if cramjam.snappy.decompress_raw_len(body) > MAX_MESSAGE_BYTES:
            raise ValueError(f"push unpacks to more than {MAX_MESSAGE_BYTES} bytes")
        return WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    except (cramjam.DecompressionError, DecodeError) as error:
        raise ValueError(f"not a remote-write push: {error}") from error


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
        """From a remote-write `Histogram`; ValueError for a schema that is not exponential."""
        if message.schema not in _SCHEMAS:
            raise ValueError(f"histogram schema {message.schema} is not supported")
        counts = message.positive_counts
        deltas = iter(counts or message.positive_deltas)
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
