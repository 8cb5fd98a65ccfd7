"""Stored history judged again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from k6d.analysis.backtest import alarms, power
from support.pasts import QUIET, past, pasts

P95 = "response_time_p95"


def test_a_quiet_history_has_no_alarm() -> None:
    """Learning included."""
    assert alarms(pasts(response_time_p95=QUIET * 3), needed=5, least_percent=10) == []
    assert alarms([], needed=5, least_percent=10) == []


def test_a_step_is_one_new_alarm_and_then_a_lasting_one() -> None:
    """Each run is judged by what came before it; what stays is not new again."""
    slow = [value * 1.5 for value in QUIET[:4]]
    found = alarms(pasts(response_time_p95=[*QUIET, *slow]), needed=5, least_percent=10)
    assert [(a.test_id, a.lasting) for a in found] == [
        ("r10", False), ("r11", True), ("r12", True), ("r13", True)
    ]  # fmt: skip
    assert found[0].what == "p95 150 ms, was 100 ms (+50 %)"


def test_what_was_told_then_does_not_matter() -> None:
    """The settings that are tried decide, not the verdicts of those days."""
    told = [replace(run, worse=frozenset({P95})) for run in pasts(response_time_p95=QUIET)]
    history = [*told, past(10, {P95: 130.0})]
    assert [a.test_id for a in alarms(history, needed=5, least_percent=10)] == ["r10"]
    assert alarms(history, needed=5, least_percent=40) == []
    assert alarms(history, needed=11, least_percent=10) == []


@pytest.mark.parametrize("key", [P95, "requests_per_second"])
def test_steps_that_would_have_been_seen(key: str) -> None:
    """In quiet history 20 % at once, 5 % not; for the worse, whatever that is."""
    history = [past(i, {key: v}) for i, v in enumerate(QUIET * 2)]
    rows = {row.step_percent: row for row in power(history, key, needed=5, least_percent=10)}
    assert rows.keys() == {5, 10, 20, 50}
    assert {row.tried for row in rows.values()} == {11}
    assert (rows[50].seen, rows[50].delay_runs) == (11, 0)
    assert rows[20].seen >= 10
    assert rows[5].seen <= rows[10].seen <= rows[20].seen


def test_too_few_runs_to_put_steps_into() -> None:
    """Nothing tried, nothing seen, no delay."""
    rows = power(pasts(response_time_p95=QUIET[:6]), P95, needed=5, least_percent=10)
    assert {(row.tried, row.seen, row.delay_runs) for row in rows} == {(0, 0, None)}


def test_runs_without_the_series_are_left_out() -> None:
    """Power is about the runs that have it."""
    gaps = [v if i % 2 else None for i, v in enumerate(QUIET * 2)]
    rows = power(pasts(response_time_p95=gaps), P95, needed=5, least_percent=10)
    assert {row.tried for row in rows} == {1}


def test_a_change_in_the_history_is_not_taken_for_the_step() -> None:
    """Where the next five runs hold an alarm of their own, nothing is tried."""
    slow = [value * 1.5 for value in QUIET[:5]]
    rows = power(pasts(response_time_p95=[*QUIET, *slow]), P95, needed=5, least_percent=10)
    assert {row.tried for row in rows} == {1}  # a step at run 5; from run 6 on the change is near
    assert rows[0].seen == 0
