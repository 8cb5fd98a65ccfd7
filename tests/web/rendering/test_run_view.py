"""What stands beside the numbers of a run: its baseline, the worst endpoint first."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from k6d.core.measurements import Breakdown
from k6d.core.model import Comparison
from k6d.web.rendering import run_view
from support.records import make_endpoint, make_run


def compared(metric: str, endpoint: str | None = None, **values: Any) -> Comparison:
    """A comparison with a baseline of 100, 250 now."""
    given = {"unit": "ms", "state": "worse", "observed": 250.0, "expected": 100.0}
    given |= {"low": 90.0, "high": 110.0, "change_percent": 150.0}
    return Comparison(metric=metric, endpoint=endpoint, **given | values)


def record(*comparisons: Comparison, **changes: Any) -> dict[str, Any]:
    """The JSON of a run."""
    made = make_run(comparisons=list(comparisons), **changes)
    found: dict[str, Any] = orjson.loads(orjson.dumps(made))
    return found


def test_a_total_has_its_baseline_beside_it() -> None:
    """Was, change, state and band; what was not measured is left out, what was not compared says
    nothing of before.
    """
    rows = {row["name"]: row for row in run_view.totals(record(compared("response_time_p95")))}
    assert "response_time_p99" not in rows
    assert rows["response_time_p95"]["was"] == "100 ms"
    assert rows["response_time_p95"]["change"] == "+150 %"
    assert rows["response_time_p95"]["band"] == "90 ms to 110 ms"
    assert rows["total_requests"]["was"] is None
    assert rows["total_requests"]["value"] == "6,000"


@pytest.mark.parametrize(
    ("was", "now", "unit", "said"),
    [
        (100.0, 154.0, "ms", "+54 %"),
        (100.0, 97.5, "ms", "−2.5 %"),
        (100.0, 100.0, "ms", None),
        (0.0, 8.0, "%", "+8 points"),
        (0.698, 0.0, "%", "−0.7 points"),
        (0.0, 8.0, "ms", None),
        (None, 8.0, "ms", None),
    ],
)
def test_changes(was: float | None, now: float, unit: str, said: str | None) -> None:
    """Percentages change by points; a change from nothing has no percentage (trials B21)."""
    assert run_view.changed(was, now, unit) == said


def test_the_worst_endpoint_is_first() -> None:
    """Errors weigh more than times; without a baseline, the error rate and the number decide."""
    names = ("a", "b", "c", "d")
    rows = [make_endpoint(name=f"/{name}", count=n) for n, name in enumerate(names, 10)]
    rows[0] = make_endpoint(name="/a", error_rate=3.0)
    run = record(
        compared("response_time_p95", "GET /c"),
        compared("error_rate", "GET /d", unit="%", observed=8.0, expected=0.0),
        compared(
            "response_time_p95", "GET /b", state="better", observed=50.0, change_percent=-50.0
        ),
        breakdown=Breakdown(endpoints=rows),
    )
    found = run_view.endpoints(run)
    assert [row["name"] for row in found] == ["/d", "/c", "/a", "/b"]
    assert [row["worse"] for row in found] == [True, True, False, False]
    assert found[0]["errors"]["change"] == "+8 points"


def test_other_series() -> None:
    """Metrics with a threshold have name and statistic; zeros that were zeros are left out."""
    run = record(
        compared("custom:basket_size:avg:<", unit="", observed=3.2, expected=3.0),
        compared("failed_checks", unit="%", observed=0.0, expected=0.0),
    )
    assert [row["title"] for row in run_view.others(run)] == ["basket_size avg"]


def test_phases_that_took_time() -> None:
    """In the order of a request; plain HTTP has no handshake."""
    zero, some = {"avg": 0.0, "p(95)": 0.0, "max": 0.0}, {"avg": 1.0, "p(95)": 2.0, "max": 30.0}
    metrics = {"http_req_waiting": some, "http_req_tls_handshaking": zero, "http_req_blocked": some}
    rows = run_view.phases(metrics)
    assert [row["title"] for row in rows] == ["waiting for a connection", "waiting for the answer"]
    assert rows[1] == {
        "title": "waiting for the answer",
        "average": "1 ms",
        "p95": "2 ms",
        "longest": "30 ms",
    }


def test_learning() -> None:
    """How many comparable runs there are, of how many; nothing once one series has a baseline."""
    new = compared("response_time_p95", state="learning", expected=None, runs=2, needed=5)
    assert run_view.learned(record(new)) == "2 of 5 comparable runs"
    assert run_view.learned(record(new, compared("error_rate", unit="%"))) is None
