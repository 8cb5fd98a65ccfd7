"""Failed requests that a check of the script expects."""

from __future__ import annotations

import pytest

from k6d.analysis.expected import without
from k6d.core.measurements import Breakdown, Check
from support.results import endpoint, result


@pytest.mark.parametrize(
    ("name", "passes", "fails", "expected"),
    [
        ("is 400", 60, 0, True),
        ("status is 400 for bad input", 90, 0, True),
        ("is 400", 59, 0, False),
        ("is 400", 60, 1, False),
        ("is not 400", 60, 0, False),
        ("status != 400", 60, 0, False),
        ("is 4000", 60, 0, False),
        ("is refused", 60, 0, False),
        ("400", 60, 0, True),
        ("returns 400", 60, 0, True),
        ("status is 400 or 404", 60, 0, True),
        ("status is 400 within 500 ms", 60, 0, True),
        ("status is 400 and duration < 500", 60, 0, True),
        ("response time < 400 ms", 60, 0, False),
        ("duration<400", 60, 0, False),
        ("response time is 400", 60, 0, False),
        ("server took under 400 ms", 60, 0, False),
        ("answered within 400 ms", 60, 0, False),
        ("p95 is 400ms", 60, 0, False),
        ("body is 400 bytes", 60, 0, False),
        ("order 400 is shown", 60, 0, False),
        ("server error (400) rate is low", 60, 0, False),
        ("status is 200 or 400", 60, 0, False),  # 6000 such answers: most were not looked at
        ("status is 200 or 400", 6000, 0, True),
    ],
)
def test_a_check_that_names_the_status_expects_it(
    name: str, passes: int, fails: int, *, expected: bool
) -> None:
    """If it never failed, and was asked as often as that status came."""
    breakdown = Breakdown(
        endpoints=[endpoint("/a", count=6000, failed=60)],
        status_codes={"200": 5940, "400": 60},
    )
    made = result(
        error_rate=1.0,
        failed_requests=60,
        breakdown=breakdown,
        checks=(Check(name=name, group="", passes=passes, fails=fails),),
    )
    found, hints = without(made)
    assert (found.judged.failed_requests == 0) is expected
    assert found.summary.metrics.failed_requests == 60  # what k6 says stays
    assert bool(hints) is expected
    if expected:
        assert "http.expectedStatuses(400)" in hints[0]
