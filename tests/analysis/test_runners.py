"""Runners of one run that differ from the others."""

from __future__ import annotations

import pytest

from k6d.analysis.runners import differences, short_of_cpu
from k6d.core.measurements import Runner


def runners(*p95_ms: float, errors: tuple[float, ...] = (), requests: int = 1000) -> list[Runner]:
    """Runners with these p95 and error rates."""
    rates = [*errors, *[0.0] * len(p95_ms)]
    return [
        Runner(number=n, node=f"n{n}", requests=requests, p95_ms=p95, error_rate=rates[n - 1])
        for n, p95 in enumerate(p95_ms, 1)
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (runners(200, 210, 205), []),
        (runners(200, 210, 405), []),
        (
            runners(200, 210, 500),
            ["runner 3 (node n3) measured a p95 of 500 ms, the others 205 ms"],
        ),
        (runners(2, 2, 9), []),
        (runners(200, 500), []),
        (runners(200, 210, 500, requests=50), []),
        (
            runners(10, 10, 10, errors=(30.0, 0.5, 0.5)),
            ["for runner 1 (node n1) 30 % of the requests failed, for the others 0.5 %"],
        ),
    ],
    ids=["equal", "twice", "slow", "fast", "two", "few", "errors"],
)
def test_one_differs(given: list[Runner], expected: list[str]) -> None:
    """Only with two others to compare with, and by much."""
    assert differences(given) == expected


def test_one_is_short_of_cpu() -> None:
    """A runner that pushed late for a fifth of the run had too little CPU."""
    late = [Runner(number=1, late_seconds=2), Runner(number=2, node="n2", late_seconds=9)]
    assert short_of_cpu(late, 30) == [
        "runner 2 (node n2) was short of CPU: it pushed late for 9 of 30 s"
    ]
