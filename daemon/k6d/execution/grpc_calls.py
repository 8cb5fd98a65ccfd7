"""Adds up gRPC calls by method and status, from k6's pushes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from k6d.core.measurements import Metrics
from k6d.execution.excluded import kind_of
from k6d.execution.remote_write import name_label, tags
from k6d.execution.rows import Requests, Table, hidden

if TYPE_CHECKING:
    from collections.abc import Callable

    from k6d.core.measurements import RequestStats
    from k6d.execution.excluded import Exclude
    from k6d.execution.remote_write import Histogram

GRPC = name_label("k6_grpc_req_duration_seconds")
OK = "0"
# A script may give each call a unique tag. New series above this limit are not counted.
MAX_SERIES = 2_000


class GrpcCalls:
    """Keeps the newest running total of each series of `grpc_req_duration`.

    Calls of setup() and teardown(), and those that the script excludes, are left out. `hide`
    removes secrets from names.
    """

    def __init__(self, exclude: Exclude, hide: Callable[[str], str]) -> None:
        self._exclude, self._hide = exclude, hide
        self._calls: dict[tuple[bytes, ...], Requests | None] = {}

    def take(self, labels: tuple[bytes, ...], latency: Histogram) -> None:
        """Record the running total of calls with these tags."""
        if labels not in self._calls and len(self._calls) < MAX_SERIES:
            self._calls[labels] = self._row(tags(labels))
        row = self._calls.get(labels)
        if row is not None:
            row.latency = latency

    def _row(self, found: dict[str, str]) -> Requests | None:
        if kind_of(found, self._exclude):
            return None
        expected = {"expected_response": str(found.get("status", OK) == OK).lower()}
        return Requests.of(hidden(found, self._hide) | {"method": "gRPC"} | expected)

    def methods(self, *, most: int, lasted_s: float, notes: list[str]) -> list[RequestStats]:
        """Return a row for each method, the busiest first; a status but OK is a failure."""
        table = Table(most=most, lasted_s=lasted_s, exact=Metrics(), notes=notes)
        return table.rows("gRPC methods", self._rows(), lambda one: (one.name, one.method))

    def codes(self) -> dict[str, int]:
        """Return the number of calls by gRPC's status code."""
        found: Counter[str] = Counter()
        for one in self._rows():
            found[one.status or OK] += one.latency.count
        return dict(sorted(found.items()))

    def _rows(self) -> list[Requests]:
        return [row for row in self._calls.values() if row is not None]
