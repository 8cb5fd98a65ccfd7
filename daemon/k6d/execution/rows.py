"""Requests with the same tags, and the rows of the breakdown that they add up to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k6d.execution.remote_write import Histogram
from k6d.execution.timeline import Tally, ms
from k6d.model import RequestStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OTHER = "other"

Key = tuple[str, str | None]  # name and method of a row


@dataclass(slots=True)
class Requests:
    """Requests with the same tags; `expected` is None where k6 was told not to judge them."""

    name: str
    method: str | None
    scenario: str | None
    group: str | None
    status: str | None
    error_code: str | None
    error: str | None
    expected: bool | None
    latency: Histogram = field(default_factory=Histogram)

    @classmethod
    def of(cls, found: dict[str, str]) -> Requests:
        expected = found.get("expected_response")
        return cls(
            name=found.get("name") or found.get("url") or "(all requests)",
            method=found.get("method"),
            scenario=found.get("scenario"),
            group=found.get("group"),
            status=found.get("status"),
            error_code=found.get("error_code"),
            error=found.get("error"),
            expected=None if expected is None else expected == "true",
        )


def named(tag: str | None) -> Key | None:
    """The key of a row without a method; the group at the top is called ""."""
    return (tag, None) if tag else None


def counts(series: Iterable[Requests], key: Callable[[Requests], str | None]) -> Counter[str]:
    """Requests by a tag, those without it left out."""
    counts: Counter[str] = Counter()
    for one in series:
        value = key(one)
        if value:
            counts[value] += one.latency.count
    return counts


def rows_of(
    series: list[Requests],
    key: Callable[[Requests], Key | None],
    *,
    what: str,
    most: int,
    lasted_s: float,
    most_ms: float | None,
    notes: list[str],
) -> list[RequestStats]:
    """The series added up by `key`, the busiest first; those beyond `most` become one row."""
    requests: Counter[Key] = Counter()
    for one in series:
        where = key(one)
        if where:
            requests[where] += one.latency.count
    other = (OTHER, None)
    kept = {where for where, _ in requests.most_common(most)} - {other}
    cut = len(requests.keys() - kept - {other})
    if cut:
        notes.append(
            f"{cut} {what} beyond the busiest {len(kept)} are summed as '{OTHER}';"
            " give requests a name tag to group URLs"
        )
    sums: dict[Key, Tally] = {}
    for one in series:
        where = key(one)
        if where:
            row = sums.setdefault(where if where in kept else other, Tally())
            row.count(one.latency, expected=one.expected)
    stats = [_stats(name, method, row, lasted_s, most_ms) for (name, method), row in sums.items()]
    return sorted(stats, key=lambda row: (-row.count, row.name, row.method or ""))


def _stats(
    name: str, method: str | None, row: Tally, lasted_s: float, most_ms: float | None
) -> RequestStats:
    count, failed, latency = row.requests, row.failed, row.latency
    top = latency.max_bound
    return RequestStats(
        name=name,
        method=method,
        count=count,
        failed=failed,
        unjudged=count - row.judged,
        rate=round(count / lasted_s, 2) if lasted_s else 0.0,
        error_rate=None if failed is None else round(100 * failed / row.judged, 4),
        avg_ms=round(latency.sum / count * 1000, 3) if latency.buckets else None,
        p50_ms=ms(latency, 0.5, most_ms),
        p90_ms=ms(latency, 0.9, most_ms),
        p95_ms=ms(latency, 0.95, most_ms),
        p99_ms=ms(latency, 0.99, most_ms),
        max_bucket_ms=round(top * 1000, 3) if top else None,
    )
