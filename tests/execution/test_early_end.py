"""Runs that only burn a broken target are ended: the rule second by second, and real runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from k6d.core.model import K6dError, Outcome
from k6d.execution.early_end import EarlyEnd
from k6d.execution.executor import Live
from k6d.settings import parse_script_settings
from support.daemon import Daemon, lasting

if TYPE_CHECKING:
    from pathlib import Path

    from support.target import Target


def _rules(**abort: str) -> EarlyEnd:
    return EarlyEnd(parse_script_settings({"abort": abort}, script="a.js").abort)


def _live(second: int, requests: float, errors: float | None, p95_ms: float | None) -> Live:
    return Live(
        elapsed_s=second,
        vus=1,
        requests=0,
        failed=0,
        requests_per_second=requests,
        errors_per_second=errors,
        p95_ms=p95_ms,
    )


def _ended_at(early: EarlyEnd, errors: str) -> int | None:
    """The second at which it ends, by a digit a second: failed of 9 requests; "-": none came."""
    for second, sign in enumerate(errors, 1):
        requests, failed = (0, 0) if sign == "-" else (9, int(sign))
        live = _live(second, requests, failed, None)
        if early.look(live, float(second)):
            return second
    return None


@pytest.mark.parametrize(
    ("errors", "second"),
    [
        ("000000000000", None),
        ("999", 3),
        ("0099900", 5),
        ("9909900", None),
        ("550550550", None),
        ("444444444", None),
        ("9--", 3),
        ("--------", None),
        ("9-0999", 6),
    ],
)
def test_errors_must_last(errors: str, second: int | None) -> None:
    """Above the share, for the whole time; seconds without an answer neither begin nor end it."""
    assert _ended_at(_rules(error_rate="50% for 3s"), errors) == second


def test_a_second_that_is_seen_twice_counts_once() -> None:
    """Looks come twice a second, and the numbers of a run that hangs stay as they were."""
    early = _rules(response_time_p95="800ms for 4s")
    for now in (0.0, 0.5, 1.0, 1.5):
        assert early.look(_live(1, 5, 0, 900.0), now) is None
    assert early.look(_live(2, 5, 0, 700.0), 2.0) is None
    assert early.look(_live(3, 5, 0, 900.0), 6.0) is None
    reason = early.look(_live(6, 5, 0, 950.0), 9.0)
    assert reason == (
        "k6d ended the run early: p95 response time above 800 ms for 4 s, 950 ms at last "
        "(ext.k6d.abort.response_time_p95: 800ms for 4s)"
    )


@pytest.mark.parametrize(
    ("abort", "why"),
    [
        ({"error_rate": "50 for 10s"}, "ext.k6d.abort.error_rate: '50 for 10s' should be such as"),
        ({"error_rate": "0% for 10s"}, "with 1 to 99 %"),
        ({"error_rate": "50% for 0s"}, "1s to 1h"),
        ({"error_rate": 50}, "should be such as '50% for 10s'"),
        ({"response_time_p95": "5 for 30s"}, "should be such as '5s for 30s'"),
        ({"response_time_p95": "soon for 30s"}, "should be such as '5s for 30s'"),
        ({"respone_time_p95": "5s for 30s"}, "did you mean ext.k6d.abort.response_time_p95?"),
        ("50%", "ext.k6d.abort: should be a table"),
    ],
)
def test_a_wrong_rule_is_one_line(abort: Any, why: str) -> None:
    """With the key and an example."""
    with pytest.raises(K6dError) as caught:
        parse_script_settings({"abort": abort}, script="a.js")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def home(tmp_path: Path) -> Daemon:
    """A folder for scripts; no daemon runs."""
    return Daemon(tmp_path / "home")


def _own(abort: str) -> str:
    return f"ext: {{ k6d: {{ abort: {{ {abort} }} }} }}"


def test_a_broken_target_ends_the_run(home: Daemon, target: Target) -> None:
    """With what was measured until then, as a finding with the numbers; teardown runs."""
    target.status["/cart"] = 500
    text = lasting(f"{target.url}/cart", seconds=60, options=_own("error_rate: '50% for 2s'"))
    home.write("cart.js", f"{text}\nexport function teardown() {{ http.get('{target.url}/end'); }}")
    done = home.call("run", "cart.js")
    assert done.returncode == 1, done.stdout + done.stderr
    (run,) = home.runs("cart.js")
    assert (run.execution.outcome, run.execution.cut_by_k6d) == (Outcome.ABORTED, True)
    assert run.execution_time < 30
    assert run.metrics.total_requests
    assert target.requests["GET /end"] == 1
    messages = [finding.message for finding in run.anomaly_analysis.findings]
    (early,) = [one for one in messages if one.startswith("k6d ended the run early: error rate")]
    assert early.endswith("(ext.k6d.abort.error_rate: 50% for 2s)")
    assert run.comparable is False


def test_a_good_target_is_tested_to_the_end(home: Daemon, target: Target) -> None:
    """The rules end nothing."""
    own = _own("error_rate: '1% for 1s', response_time_p95: '50s for 1s'")
    home.write("cart.js", lasting(f"{target.url}/cart", seconds=3, options=own))
    assert home.call("run", "cart.js").returncode == 0
    (run,) = home.runs("cart.js")
    assert run.execution.outcome is Outcome.COMPLETED
