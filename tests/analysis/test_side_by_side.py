"""Two runs side by side: the same answer as `k6d compare`, and totals that are no series."""

from __future__ import annotations

from dataclasses import replace

from k6d.analysis.comparison import between, key_of
from k6d.analysis.side_by_side import compare
from k6d.core.model import Comparison
from support.records import make_run

P95 = "response_time_p95"


def test_one_answer_to_compare_a_with_b() -> None:
    """Every series that both runs have is a row with the numbers and the state of `between`."""
    row = make_run().breakdown.endpoints[0]
    of_endpoint = f"{P95} {row.title}"
    bands = [
        Comparison(
            metric=P95,
            endpoint=endpoint,
            unit="ms",
            state="steady",
            observed=120.0,
            expected=100.0,
            visible_percent=10.0,
        )
        for endpoint in (None, row.title)
    ]
    before = make_run(series={P95: 100.0, of_endpoint: 50.0, "failed_checks": 0.0})
    after = make_run(
        series={P95: 120.0, of_endpoint: 20.0, "failed_checks": 4.0, "setup_avg": 3.0},
        comparisons=bands,
    )
    found = compare(before, after)
    expected = {key_of(c): c for c in between(after, before)}
    assert expected.keys() == {P95, of_endpoint, "failed_checks"}
    rows = {one["metric"]: one for one in found["metrics"]}
    rows[of_endpoint] = found["endpoints"][0]["p95_ms"]
    for key, c in expected.items():
        shown = rows[key]
        assert (shown["before"], shown["after"], shown["state"], shown["noise_percent"]) == (
            c.expected,
            c.observed,
            c.state,
            c.visible_percent,
        )
    assert (rows[P95]["state"], rows[P95]["noise"]) == ("worse", 10.0)
    assert rows[of_endpoint]["state"] == "better"
    assert rows["failed_checks"]["state"] == "learning"


def test_totals_that_are_no_series() -> None:
    """They have before, after and change, and no noise."""
    before = make_run(series={})
    after = replace(before, metrics=replace(before.metrics, total_requests=None))
    rows = {one["metric"]: one for one in compare(before, after)["metrics"]}
    average = rows["response_time_avg"]
    assert (average["before"], average["change_percent"]) == (average["after"], 0.0)
    assert (average["noise_percent"], average["noise"], average["state"]) == (None, None, None)
    assert (rows["total_requests"]["after"], rows["total_requests"]["change_percent"]) == (
        None,
        None,
    )


def test_shares_change_by_points() -> None:
    """0.698 % to 0 % is no change of -100 %; times have no points."""
    before = make_run(series={})
    before = replace(before, metrics=replace(before.metrics, error_rate=0.698))
    after = replace(before, metrics=replace(before.metrics, error_rate=0.0))
    rows = {one["metric"]: one for one in compare(before, after)["metrics"]}
    assert rows["error_rate"]["change_points"] == -0.698
    assert rows["response_time_avg"]["change_points"] is None


def test_totals_are_those_of_the_load() -> None:
    """What stands apart, such as a slow setup(), is in neither of the runs."""
    before = make_run(series={})
    slow = replace(before.metrics, response_time_avg=900.0)
    after = replace(before, metrics=slow, load=before.metrics)
    rows = {one["metric"]: one for one in compare(before, after)["metrics"]}
    assert rows["response_time_avg"]["change_percent"] == 0.0
