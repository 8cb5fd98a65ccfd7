"""Prometheus' remote-write messages by protobuf's own runtime, from the public field numbers."""

from __future__ import annotations

from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# Field name, number and type, as in prompb/remote.proto and types.proto.
_MESSAGES: dict[str, tuple[str, ...]] = {
    "Label": ("name 1 string", "value 2 string"),
    "Sample": ("value 1 double", "timestamp 2 int64"),
    "Exemplar": ("labels 1 Label repeated", "value 2 double", "timestamp 3 int64"),
    "BucketSpan": ("offset 1 sint32", "length 2 uint32"),
    "Histogram": (
        "count_int 1 uint64",
        "count_float 2 double",
        "sum 3 double",
        "schema 4 sint32",
        "zero_threshold 5 double",
        "zero_count_int 6 uint64",
        "zero_count_float 7 double",
        "negative_spans 8 BucketSpan repeated",
        "negative_deltas 9 sint64 repeated",
        "positive_spans 11 BucketSpan repeated",
        "positive_deltas 12 sint64 repeated",
        "positive_counts 13 double repeated",
        "timestamp 15 int64",
    ),
    "TimeSeries": (
        "labels 1 Label repeated",
        "samples 2 Sample repeated",
        "exemplars 3 Exemplar repeated",
        "histograms 4 Histogram repeated",
    ),
    "WriteRequest": ("timeseries 1 TimeSeries repeated",),
}


def _classes(*, packed: bool) -> dict[str, Any]:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="tests/prompb.proto", package="tests", syntax="proto3"
    )
    for message, fields in _MESSAGES.items():
        entry = file.message_type.add(name=message)
        for line in fields:
            name, number, kind, *repeated = line.split()
            field = entry.field.add(name=name, number=int(number))
            field.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in _MESSAGES:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".tests.{kind}"
            else:
                field.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
                if repeated:
                    field.options.packed = packed
    # A pool of its own: the default one may know Prometheus' messages from elsewhere.
    pool: Any = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find = pool.FindMessageTypeByName
    return {name: message_factory.GetMessageClass(find(f"tests.{name}")) for name in _MESSAGES}


PACKED, UNPACKED = _classes(packed=True), _classes(packed=False)
Histogram, TimeSeries, WriteRequest = (
    PACKED[name] for name in ("Histogram", "TimeSeries", "WriteRequest")
)


def pack(request: Any) -> bytes:
    """The body of a push."""
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))
