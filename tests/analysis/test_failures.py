"""Shares of failures beside HTTP requests: gRPC calls, WebSocket handshakes, pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from k6d.analysis import browser_pages, grpc_calls, handshakes
from k6d.analysis.failures import too_many
from k6d.core.measurements import Breakdown, Check
from k6d.core.model import Severity
from k6d.settings import Limits
from support.records import make_endpoint
from support.results import result

if TYPE_CHECKING:
    from types import ModuleType

NO_LIMIT = Limits.model_validate({"error_rate": False})
ALMOST_ALL = [
    (grpc_calls, Breakdown(grpc_codes={"0": 1, "14": 2999})),
    (handshakes, Breakdown(handshakes={"101": 1, "503": 2999})),
    (browser_pages, Breakdown(pages=[make_endpoint(count=3000, failed=2999)])),
]


@pytest.mark.parametrize(
    ("failed", "limits", "severity", "seen", "expected"),
    [
        (0, Limits(), None, "", ""),
        (50, Limits(), None, "", ""),
        (51, Limits(), Severity.MEDIUM, "5.1 %", "≤ 5 %"),
        (101, Limits(), Severity.HIGH, "10.1 %", "≤ 10 %"),
        (1000, Limits(), Severity.CRITICAL, "100 %", "≤ 10 %"),
        (999, NO_LIMIT, None, "", ""),
        (1000, NO_LIMIT, Severity.CRITICAL, "100 %", "0 %"),
    ],
)
def test_a_share_is_judged_by_the_limit_and_all_are_critical(
    failed: int, limits: Limits, severity: Severity | None, seen: str, expected: str
) -> None:
    """Just below and above each limit, of 1,000; and without a limit."""
    found = too_many(failed, 1000, limits)
    said = (found.severity, found.seen, found.expected) if found else (None, "", "")
    assert said == (severity, seen, expected)


@pytest.mark.parametrize(("protocol", "breakdown"), ALMOST_ALL)
def test_almost_all_is_not_all(protocol: ModuleType, breakdown: Breakdown) -> None:
    """2,999 of 3,000 are 99.97 %, as for HTTP requests, and never "100 %"."""
    (finding,) = protocol.find(result(breakdown=breakdown), Limits())
    assert "99.97 %" in finding.message
    assert "100 %" not in finding.message
    assert finding.severity is Severity.HIGH


@pytest.mark.parametrize(
    ("code", "name", "expected"),
    [
        ("5", "is NotFound", True),
        ("5", "status is not found", True),
        ("5", "is not NotFound", False),
        ("13", "status is Internal", True),
        ("13", "grpc.StatusInternal", True),
        ("13", "status 13", True),
        ("13", "internal gateway answered within 500 ms", False),
        ("13", "no internal error", False),
        ("2", "the user is unknown", False),
        ("14", "status is not unavailable", False),
    ],
)
def test_a_check_that_names_a_grpc_status_expects_it(
    code: str, name: str, *, expected: bool
) -> None:
    """A word of everyday English in a check excuses no failed call."""
    made = result(
        breakdown=Breakdown(grpc_codes={code: 20}),
        checks=(Check(name=name, group="", passes=20, fails=0),),
    )
    assert (grpc_calls.find(made, Limits()) == []) is expected
