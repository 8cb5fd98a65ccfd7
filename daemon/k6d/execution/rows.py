"""Requests with the same tags, and the rows of the breakdown that they add up to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from k6d.core.model import Metrics, RequestStats
from k6d.execution.remote_write import Histogram
from k6d.execution.timeline import Tally, ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OTHER = "other"

Key = tuple[str, str | None]  # name and method of a row
NAMED_BY_SCRIPTS = ("name", "url", "scenario", "group", "error")


def hidden(found: dict[str, str], hide: Callable[[str], str]) -> dict[str, str]:
    """The tags, those that a script names without secrets."""
    return {tag: hide(said) if tag in NAMED_BY_SCRIPTS else said for tag, said in found.items()}


@dataclass(slots=True)
class Requests:
    """Requests with the same tags; `expected` is None where k6 was told not to judge them.

    `apart` says why they are no part of the load: setup, teardown or excluded.
    """

    name: str
    method: str | None
    scenario: str | None
    group: str | None
    status: str | None
    error_code: str | None
    error: str | None
    expected: bool | None
    apart: str | None = None
    latency: Histogram = field(default_factory=Histogram)

    @classmethod
    def of(cls, found: dict[str, str], apart: str | None = None) -> Requests:
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
            apart=apart,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """How rows are made: the busiest `most`; rates over `lasted_s`; `exact` totals by k6.

    `notes` gets a line for each table that was cut.
    """

    most: int
    lasted_s: float
    exact: Metrics
    notes: list[str]

    def rows(
        self, what: str, series: list[Requests], key: Callable[[Requests], Key | None]
    ) -> list[RequestStats]:
        """The series added up by `key`, the busiest first; those beyond `most` become one row."""
        requests: Counter[Key] = Counter()
        for one in series:
            where = key(one)
            if where:
                requests[where] += one.latency.count
        other = (OTHER, None)
        kept = {where for where, _ in requests.most_common(self.most)} - {other}
        if cut := len(requests.keys() - kept - {other}):
            self.notes.append(
                f"{cut} {what} beyond the busiest {len(kept)} are summed as '{OTHER}';"
                " give requests a name tag to group URLs"
            )
        sums: dict[Key, Tally] = {}
        for one in series:
            where = key(one)
            if where:
                row = sums.setdefault(where if where in kept else other, Tally())
                row.count(one.latency, expected=one.expected)
        stats = [self._stats(name, method, row) for (name, method), row in sums.items()]
        return sorted(stats, key=lambda row: (-row.count, row.name, row.method or ""))

    def _stats(self, name: str, method: str | None, row: Tally) -> RequestStats:
        count, failed, latency, exact = row.requests, row.failed, row.latency, self.exact
        top, most_ms = latency.max_bound, exact.response_time_max
        # The row that holds all requests has k6's own numbers: the same samples, the same number.
        whole = exact if count == exact.total_requests else Metrics()

        def quantile(q: float, by_k6: float | None) -> float | None:
            return ms(latency, q, most_ms) if by_k6 is None else round(by_k6, 3)

        return RequestStats(
            name=name,
            method=method,
            count=count,
            failed=failed,
            unjudged=count - row.judged,
            rate=round(count / self.lasted_s, 2) if self.lasted_s else 0.0,
            error_rate=None if failed is None else round(100 * failed / row.judged, 4),
            avg_ms=round(latency.sum / count * 1000, 3) if latency.buckets else None,
            p50_ms=quantile(0.5, whole.response_time_med),
            p90_ms=quantile(0.9, whole.response_time_p90),
            p95_ms=quantile(0.95, whole.response_time_p95),
            p99_ms=quantile(0.99, whole.response_time_p99),
            max_bucket_ms=round(top * 1000, 3) if top else None,
        )


def load_of(totals: Metrics, load: Tally, lasted_s: float | None) -> Metrics:
    """The totals with those of the load in place of what k6 says of all requests."""
    latency, most_ms = load.latency, totals.response_time_max
    failed, answered = load.failed, bool(latency.buckets)
    mean = latency.mean
    return replace(
        totals,
        response_time_avg=round(mean * 1000, 6) if mean and answered else None,
        response_time_min=None,
        response_time_med=ms(latency, 0.5, most_ms),
        response_time_p90=ms(latency, 0.9, most_ms),
        response_time_p95=ms(latency, 0.95, most_ms),
        response_time_p99=ms(latency, 0.99, most_ms),
        response_time_max=None,
        total_requests=load.requests,
        failed_requests=failed,
        error_rate=None if failed is None else 100 * failed / load.judged,
        requests_per_second=load.requests / lasted_s if lasted_s else None,
        duration_ms=lasted_s * 1000 if lasted_s else totals.duration_ms,
    )
