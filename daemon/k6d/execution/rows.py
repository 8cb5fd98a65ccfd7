"""Adds up requests with the same tags to the rows of the breakdown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.core.measurements import Metrics, RequestStats
from k6d.execution.remote_write import Histogram
from k6d.execution.timeline import Tally, ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OTHER = "other"

Key = tuple[str, str | None]  # name and method of a row
NAMED_BY_SCRIPTS = ("name", "url", "scenario", "group", "error")


def hidden(found: dict[str, str], hide: Callable[[str], str]) -> dict[str, str]:
    """Return the tags, with secrets removed from those that a script sets."""
    return {tag: hide(said) if tag in NAMED_BY_SCRIPTS else said for tag, said in found.items()}


@dataclass(slots=True)
class Requests:
    """Requests with the same tags; `expected` is None if the script told k6 not to judge them.

    `apart` is the kind of requests that are not part of the load; see `Breakdown.apart`.
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

    def plus(self, other: Requests) -> Requests:
        """Return these requests and others with the same tags."""
        return replace(self, latency=self.latency + other.latency)


def named(tag: str | None) -> Key | None:
    """Return the key of a row without a method; None without a tag, as in the top-level group."""
    return (tag, None) if tag else None


def counts(series: Iterable[Requests], key: Callable[[Requests], str | None]) -> Counter[str]:
    """Count requests by a tag; requests without the tag are left out."""
    counts: Counter[str] = Counter()
    for one in series:
        value = key(one)
        if value:
            counts[value] += one.latency.count
    return counts


@frozen
class Table:
    """Makes rows: at most `most`, with rates over `lasted_s` seconds; `exact` are k6's totals.

    `notes` gets a line for each table that was cut.
    """

    most: int
    lasted_s: float
    exact: Metrics
    notes: list[str]

    def rows(
        self, what: str, series: list[Requests], key: Callable[[Requests], Key | None]
    ) -> list[RequestStats]:
        """Add up the series by `key`, busiest first; the rows beyond `most` become one row."""
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
        # A row with all requests uses k6's exact totals, so that equal data shows equal numbers.
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
    """Return the totals, with the request metrics of the load in place of those of all requests."""
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
