"""What k6's own waits for a CPU may explain of a change, and what they may not."""

from __future__ import annotations

import pytest

from k6d.analysis.own_trouble import credible
from k6d.core.measurements import Generator
from k6d.core.model import STEADY, WORSE, Comparison

BUSY = Generator(k6_lag_ms=0.5, doubts=["other programs kept this machine's CPUs full"])


def _worse(metric: str, by_ms: float, *, unit: str = "ms") -> Comparison:
    return Comparison(
        metric=metric,
        endpoint=None,
        unit=unit,
        state=WORSE,
        observed=100.0 + by_ms,
        expected=100.0,
        change_percent=by_ms,
    )


@pytest.mark.parametrize(
    ("metric", "reach_ms"),
    [
        ("response_time_avg", 5),
        ("response_time_p95", 20),
        ("response_time_p99", 60),
        ("custom:grpc_req_duration:avg:<", 5),
        ("custom:grpc_req_duration:p(95):<", 20),
        ("custom:ws_connecting:max:<", 60),
    ],
)
def test_the_slowest_requests_wait_the_longest(metric: str, reach_ms: float) -> None:
    """Below the reach of k6's waits a change is a doubt, above it a regression of the target."""
    below, above = _worse(metric, reach_ms - 1), _worse(metric, reach_ms + 1)
    trusted, doubts = credible([below, above], [BUSY])
    assert [one.state for one in trusted] == [STEADY, WORSE]
    (doubt,) = doubts
    assert f"k6's own waits, up to {reach_ms} ms" in doubt


def test_a_quiet_machine_excuses_nothing() -> None:
    """However long k6 waited; nor is a share of failures ever excused."""
    changes = [_worse("response_time_p95", 1), _worse("error_rate", 1, unit="%")]
    assert credible(changes, [Generator(k6_lag_ms=0.5)]) == (changes, [])
    trusted, _ = credible(changes, [BUSY])
    assert [one.state for one in trusted] == [STEADY, WORSE]


def test_of_a_run_and_its_re_runs_the_longest_waits_count() -> None:
    """The median of the three may come of any of them."""
    change = _worse("response_time_p95", 30)
    trusted, _ = credible([change], [BUSY, Generator(k6_lag_ms=1.0, doubts=["busy"])])
    assert trusted[0].state == STEADY


def test_numbers_of_the_target_do_not_come_of_k6s_waits() -> None:
    """They were measured elsewhere."""
    change = _worse("target:database:ms:<", 1)
    assert credible([change], [BUSY]) == ([change], [])
