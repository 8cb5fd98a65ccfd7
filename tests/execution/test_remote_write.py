"""Reading remote write: what protobuf's own runtime wrote, and real pushes of k6."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k6d.execution.protobuf import fields
from k6d.execution.remote_write import Histogram, Series, decode, name_label, read, tags
from support import prompb

NUMBERS = st.floats(allow_nan=False)
TIMES = st.integers(-(2**63), 2**63 - 1)
BUCKETS = st.dictionaries(st.integers(-2000, 2000), st.integers(1, 2**40), max_size=12)
LABELS = st.dictionaries(st.text(max_size=300), st.text(max_size=300), max_size=6)


def written(buckets: dict[int, int], *, kinds: dict[str, Any], **others: object) -> Any:
    """A native histogram, one span for each unbroken row of buckets."""
    made = kinds["Histogram"](**others)
    last, before = 0, 0
    for index in sorted(buckets):
        if made.positive_spans and index == last:
            made.positive_spans[-1].length += 1
        else:
            made.positive_spans.add(offset=index - last, length=1)
        made.positive_deltas.append(buckets[index] - before)
        last, before = index + 1, buckets[index]
    return made


@given(
    labels=LABELS,
    samples=st.lists(st.tuples(NUMBERS, TIMES), max_size=3),
    buckets=BUCKETS,
    schema=st.integers(-4, 8),
    zero=st.integers(0, 2**64 - 1),
    total=NUMBERS,
    at_ms=TIMES,
    packed=st.booleans(),
)
def test_what_protobuf_writes_is_read(
    labels: dict[str, str],
    samples: list[tuple[float, int]],
    buckets: dict[int, int],
    schema: int,
    zero: int,
    total: float,
    at_ms: int,
    packed: bool,
) -> None:
    """Whatever a series holds, packed or not, is read as it was given to protobuf's runtime."""
    kinds = prompb.PACKED if packed else prompb.UNPACKED
    request = kinds["WriteRequest"]()
    one = request.timeseries.add()
    for name, text in labels.items():
        one.labels.add(name=name, value=text)
    for value, when in samples:
        one.samples.add(value=value, timestamp=when)
    one.histograms.append(
        written(
            buckets, kinds=kinds, schema=schema, zero_count_int=zero, sum=total, timestamp=at_ms
        )
    )
    (raw,) = decode(prompb.pack(request))
    series = read(raw)
    assert tags(series.labels) == labels
    assert series.samples == samples
    ((found, when),) = series.histograms
    assert (found.schema, found.buckets, found.zero, found.sum, when) == (
        *(schema, buckets, zero, total, at_ms),
    )


def test_float_counts_are_read() -> None:
    """Absolute float counts mean the same as deltas of whole ones."""
    made = prompb.Histogram(schema=0, positive_counts=[2.0, 1.0], zero_count_float=1.0)
    made.positive_spans.add(offset=1, length=2)
    ((found, _),) = read(prompb.TimeSeries(histograms=[made]).SerializeToString()).histograms
    assert (found.buckets, found.zero, found.count) == ({1: 2, 2: 1}, 1, 4)


def test_what_is_of_no_use_is_skipped() -> None:
    """Exemplars, negative buckets and thresholds of zero change nothing."""
    made = prompb.Histogram(
        schema=3, sum=1.5, zero_threshold=0.1, negative_deltas=[4], positive_deltas=[3, -1, 4]
    )
    made.negative_spans.add(offset=1, length=1)
    made.positive_spans.add(offset=-2, length=2)
    made.positive_spans.add(offset=3, length=1)
    series = prompb.TimeSeries(histograms=[made])
    series.exemplars.add(value=3, timestamp=4).labels.add(name="trace", value="x")
    expected = Histogram(schema=3, buckets={-2: 3, -1: 2, 3: 6}, total=1.5)
    assert read(series.SerializeToString()) == Series((), [], [(expected, 0)])


@pytest.mark.parametrize(("schema", "length"), [(-53, 1), (9, 1), (3, 4_000_000_000)])
def test_what_is_not_a_histogram_of_ours_is_refused(schema: int, length: int) -> None:
    """Custom bounds and spans without their buckets raise instead of counting nonsense."""
    made = prompb.Histogram(schema=schema, positive_deltas=[1])
    made.positive_spans.add(offset=0, length=length)
    with pytest.raises(ValueError, match="histogram"):
        read(prompb.TimeSeries(histograms=[made]).SerializeToString())


def test_the_name_of_a_series_is_found_without_reading_it() -> None:
    """The label of the name is in a series exactly as it is looked for."""
    series = prompb.TimeSeries()
    series.labels.add(name="__name__", value="k6_vus")
    assert name_label("k6_vus") in series.SerializeToString()
    assert read(series.SerializeToString()).labels == (name_label("k6_vus"),)


@given(st.binary(max_size=60))
def test_noise_is_refused_or_read(noise: bytes) -> None:
    """Any bytes are either a message or a ValueError, and never anything else."""
    try:
        found = list(fields(noise))
    except ValueError:
        return
    assert all(number > 0 for number, _ in found)


@pytest.mark.parametrize(
    "cut",
    [
        b"\x08",  # a number without its value
        b"\x08" + b"\xff" * 10 + b"\x01",  # longer than ten bytes
        b"\x0a\x05abc",  # shorter than it says
        b"\x09abc",  # a double of three bytes
        b"\x0b",  # a group
        b"\x00\x00",  # field 0
    ],
)
def test_a_broken_message_is_refused(cut: bytes) -> None:
    """What is cut off or no message raises ValueError."""
    with pytest.raises(ValueError, match=r"number|longer|wire"):
        list(fields(cut))
