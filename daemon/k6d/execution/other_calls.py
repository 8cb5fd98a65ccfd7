"""Adds up gRPC calls and the pages that a browser opens, from k6's pushes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.core.measurements import Metrics
from k6d.execution.excluded import kind_of
from k6d.execution.remote_write import name_label, tags
from k6d.execution.rows import Requests, hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from k6d.core.measurements import RequestStats
    from k6d.execution.excluded import Exclude
    from k6d.execution.remote_write import Histogram
    from k6d.execution.rows import Table

OK = "0"  # gRPC's status code
NO_ANSWER = "0"
# A script may give each call a unique tag. New series above this limit are not counted.
MAX_SERIES = 2_000


@frozen
class Protocol:
    """What is counted of one metric of k6, by its tags, and which of it failed."""

    label: bytes
    method: str
    is_counted: Callable[[Mapping[str, str]], bool] = lambda _found: True
    has_failed: Callable[[Mapping[str, str]], bool]


def _has_http_failed(found: Mapping[str, str]) -> bool:
    return found.get("status", NO_ANSWER)[:1] not in "123"


GRPC = Protocol(
    label=name_label("k6_grpc_req_duration_seconds"),
    method="gRPC",
    has_failed=lambda found: found.get("status", OK) != OK,
)
# A page brings many other requests, some to third parties. Only the page itself is counted.
PAGES = Protocol(
    label=name_label("k6_browser_http_req_duration_seconds"),
    method="browser",
    is_counted=lambda found: found.get("resource_type") == "Document",
    has_failed=_has_http_failed,
)


class Calls:
    """Keeps the newest running total of each series of a protocol's metric.

    Calls of setup() and teardown(), and those that the script excludes, are left out. `hide`
    removes secrets from names.
    """

    def __init__(self, protocol: Protocol, exclude: Exclude, hide: Callable[[str], str]) -> None:
        self._protocol, self._exclude, self._hide = protocol, exclude, hide
        self._calls: dict[tuple[bytes, ...], Requests | None] = {}

    def take(self, labels: tuple[bytes, ...], latency: Histogram) -> None:
        """Record the running total of calls with these tags."""
        if labels not in self._calls and len(self._calls) < MAX_SERIES:
            self._calls[labels] = self._row(tags(labels))
        row = self._calls.get(labels)
        if row is not None:
            row.latency = latency

    def absorb(self, other: Calls) -> None:
        """Add the calls of another runner."""
        for labels, row in other._calls.items():
            mine = self._calls.get(labels)
            self._calls[labels] = mine.plus(row) if mine and row else row

    def _row(self, found: dict[str, str]) -> Requests | None:
        if kind_of(found, self._exclude) or not self._protocol.is_counted(found):
            return None
        expected = str(not self._protocol.has_failed(found)).lower()
        judged = {"method": self._protocol.method, "expected_response": expected}
        return Requests.of(hidden(found, self._hide) | judged)

    def rows(self, table: Table) -> list[RequestStats]:
        """Return a row for each method or page, the busiest first; made like those of `table`."""
        what = f"{self._protocol.method} calls"
        own = replace(table, exact=Metrics())
        return own.rows(what, self._counted(), lambda one: (one.name, one.method))

    def codes(self) -> dict[str, int]:
        """Return the number of calls by status code."""
        found: Counter[str] = Counter()
        for one in self._counted():
            found[one.status or OK] += one.latency.count
        return dict(sorted(found.items()))

    def _counted(self) -> list[Requests]:
        return [row for row in self._calls.values() if row is not None]
