"""The target's own numbers against the history: beside a regression, alone, and after an edit."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from k6d.analysis import series
from k6d.core.measurements import TargetMetric
from k6d.jobs.regression_check import Done, compared
from k6d.settings import ScriptSettings
from k6d.storage.store import Store
from support.daemon import Daemon
from support.prometheus import FakePrometheus, matrix
from support.records import NOON, make_run
from support.results import result
from support.shop import Shop, run_shop, settings_for

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.core.model import Run

CPU = TargetMetric(title="checkout CPU", unit="%", query="cpu")
KEY = CPU.key


def run(number: int, p95: float, cpu: float | None, metric: TargetMetric = CPU) -> Run:
    """The run of that number, an hour after the one before."""
    at = NOON + timedelta(hours=number)
    target = [replace(metric, value=cpu)]
    return make_run(
        test_id=f"{at:%Y%m%d-%H%M%S}-00000{number % 10}",
        timestamp=at,
        script="checkout.js",
        series={"response_time_p95": p95, **series.of_target(target)},
        target=target,
        comparable=True,
    )


def judged(
    home: Path,
    p95: float,
    cpu: float | None,
    *,
    before: TargetMetric = CPU,
    now: TargetMetric = CPU,
) -> tuple[Run, int]:
    """The tenth run, compared and saved, and how many re-runs it had; each repeats its numbers."""
    home.mkdir(exist_ok=True)
    loaded = settings_for(home)
    store = Store(loaded.data)
    for number in range(9):
        store.save(run(number, 88.0 + number % 3, 40.0 + number % 2, before))
    newest = run(10, p95, cpu, now)
    again: list[Run] = []

    async def confirm() -> Done:
        again.append(run(11 + len(again), p95, cpu, now))
        return replace(done, run=again[-1])

    store.save(newest)
    done = Done(run=newest, result=result(), own=ScriptSettings(), script=None)

    async def compare() -> Done:
        return await compared(
            done, settings=loaded, store=store, confirm=confirm, stop=asyncio.Event()
        )

    return asyncio.run(compare()).run, len(again)


def test_it_stands_beside_the_regression_of_the_run(tmp_path: Path) -> None:
    """And is stored as changed, with what it was."""
    found, again = judged(tmp_path, p95=200.0, cpu=85.0)
    assert again == 2
    (finding,) = found.anomaly_analysis.findings
    assert finding.metric == "response_time_p95"
    assert "; the target's checkout CPU 85 %, was 40.4 %; confirmed 3 of 3" in finding.message
    cpu = next(c for c in found.comparisons if c.metric == KEY)
    assert (cpu.state, cpu.observed) == ("changed", 85.0)


def test_alone_it_alerts_only_if_asked_to(tmp_path: Path) -> None:
    """Without `alert`, it costs no re-run and is a remark."""
    found, again = judged(tmp_path / "quiet", p95=89.0, cpu=85.0)
    assert (again, found.anomaly_analysis.anomalies_detected) == (0, False)
    assert "the target's checkout CPU 85 %, was 40.4 %: alone no alert" in str(
        found.anomaly_analysis.remarks
    )
    wanted = replace(CPU, alert=True)
    found, again = judged(tmp_path / "loud", p95=89.0, cpu=85.0, now=wanted)
    assert again == 2
    (finding,) = found.anomaly_analysis.findings
    assert (finding.metric, finding.confirmed) == (KEY, "3 of 3")


@pytest.mark.parametrize("changes", [{"query": "other"}, {"stat": "max"}])
def test_after_an_edit_of_the_entry_its_history_begins_anew(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    """Numbers of another query are not compared, so an edit alerts nobody."""
    wanted = replace(CPU, alert=True, **changes)
    found, again = judged(tmp_path, p95=89.0, cpu=85.0, now=wanted)
    assert (again, found.anomaly_analysis.findings) == (0, [])
    cpu = next(c for c in found.comparisons if c.metric == KEY)
    assert (cpu.state, cpu.runs) == ("learning", 0)


def test_without_the_prometheus_the_run_is_judged_as_before(tmp_path: Path) -> None:
    """Its own numbers alone."""
    found, _ = judged(tmp_path, p95=200.0, cpu=None)
    (finding,) = found.anomaly_analysis.findings
    assert "target" not in finding.message
    assert [c.metric for c in found.comparisons] == ["response_time_p95"]


def test_a_title_names_the_series(tmp_path: Path) -> None:
    """`k6d trend` takes it in place of the key, and shows the same."""
    judged(tmp_path, p95=89.0, cpu=85.0)
    daemon = Daemon(tmp_path)
    by_title, by_key = (
        daemon.call("trend", "checkout.js", "--metric", name, "--json").stdout
        for name in (CPU.title, KEY)
    )
    assert by_title == by_key
    assert [one["value"] for one in json.loads(by_title)["runs"]][-1] == 85.0


def test_the_run_is_safe_while_its_numbers_are_awaited(tmp_path: Path) -> None:
    """It is saved before they are asked for, and once more with them."""
    saved: list[list[TargetMetric]] = []

    def answer(form: dict[str, str]) -> tuple[int, bytes]:
        store = Store(tmp_path / "data")
        saved.append(store.load(store.history(limit=1)[0]["test_id"]).target)
        return 200, matrix([(float(form["end"]), "40")])

    cpu = {"title": CPU.title, "query": CPU.query, "unit": CPU.unit}
    with Shop() as shop, FakePrometheus(answer) as fake:
        given = {"metrics": [cpu], "prometheus__url": fake.url, "prometheus__delay": 0}
        shop.write(tmp_path / "scripts", iterations=2)
        found = run_shop(settings_for(tmp_path, **given))
    assert saved == [[]]
    assert (found.target[0].value, found.series[KEY]) == (40, 40)
    assert Store(tmp_path / "data").load(found.test_id) == found
