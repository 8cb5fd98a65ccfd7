"""What a terminal shows of other protocols and of requests that stand apart."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console, Group

from k6d.cli.render.baseline import comparison_table
from k6d.cli.render.protocols import beside
from k6d.core.measurements import Breakdown
from k6d.core.model import Comparison
from support.records import make_run
from support.results import endpoint


def shown(*parts: object) -> str:
    """The parts as plain text."""
    console = Console(width=160)
    with console.capture() as capture:
        console.print(Group(*parts))  # type: ignore[arg-type]
    return capture.get()


def test_other_protocols_and_preparation_are_shown() -> None:
    """With units, and what failed."""
    run = make_run(
        k6_metrics={
            "ws_connecting": {"avg": 1.5, "p(95)": 3.0, "count": 25},
            "grpc_req_duration": {"avg": 12.0, "max": 40.0},
            "browser_web_vital_cls": {"p(95)": 0.1},
            "browser_http_req_failed": {"passes": 1, "fails": 3, "value": 0.25},
            "ws_msgs_sent": {"count": 0},
        },
        breakdown=Breakdown(
            handshakes={"101": 20, "503": 5},
            grpc_methods=[endpoint("/shop.Cart/Add", count=30, failed=3)],
            apart={"setup": [endpoint("/login", count=2, failed=1)]},
        ),
    )
    text = shown(*beside(run))
    for words in (
        "ws_connecting: avg 1.5 ms  p(95) 3 ms  count 25",
        "grpc_req_duration: avg 12 ms  max 40 ms",
        "browser_web_vital_cls: p(95) 0.1",
        "browser_http_req_failed: 25 % of 4",
        "handshakes: HTTP 101 20, HTTP 503 5",
        "setup: GET /login: 2 requests, average 10 ms, p95 20 ms, 1 failed",
        "GET /shop.Cart/Add: 30 calls, average 10 ms, p95 20 ms, 3 failed",
    ):
        assert words in text
    assert "ws_msgs_sent" not in text
    assert beside(replace(run, k6_metrics={}, breakdown=Breakdown())) == []


def test_shares_change_by_points_and_a_wide_band_says_so() -> None:
    """0.698 % to 0 % is not -100 %; what no change could show is too noisy to judge."""
    rate = Comparison(
        metric="error_rate",
        endpoint=None,
        unit="%",
        state="steady",
        observed=0.0,
        expected=0.698,
        low=0.0,
        high=2.0,
        change_percent=-100.0,
        visible_percent=190.0,
        runs=9,
    )
    wild = replace(rate, high=90.0)
    setup = replace(
        rate, metric="setup_avg", unit="ms", state="changed", visible_percent=130.0, observed=5.0
    )
    text = shown(comparison_table(make_run(), None, [rate, wild, setup]))
    assert "−0.698 points" in text
    assert "−100" not in text.replace("−100 %", "", 1)
    assert "± 1.3 points" in text
    assert text.count("too noisy to judge") == 2
