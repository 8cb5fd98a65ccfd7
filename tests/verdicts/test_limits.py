"""The original service's limits with the real k6: just below and just above each of them."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from k6d.analysis.own_trouble import reach_ms
from k6d.core.model import FindingKind, Severity
from k6d.settings import Compare
from support.binaries import NEW
from support.busy import busy_neighbour
from support.target import Target
from support.verdicts import table_limits
from support.verdicts.specimen import run_all

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.core.measurements import Metrics
    from k6d.core.model import Run
    from support.verdicts.specimen import Specimen

AT_ONCE = 8  # they only wait
DEFAULT_MAX_CPU = Compare().max_cpu  # other tests say 100, so that no machine counts as busy


def original_rules(measured: Metrics) -> dict[str, Severity]:
    """What the original service's rules find in these numbers, by metric."""
    failed, avg = measured.error_rate or 0.0, measured.response_time_avg or 0.0
    found: dict[str, Severity] = {}
    if failed > 5:
        found["error_rate"] = Severity.HIGH if failed > 10 else Severity.MEDIUM
    if avg > 2000:
        found["response_time_avg"] = Severity.HIGH if avg > 3000 else Severity.MEDIUM
    if (measured.response_time_p95 or 0.0) > 5000:
        found["response_time_p95"] = Severity.HIGH
    if (measured.requests_per_second or 0.0) < 0.1 * (measured.virtual_users or 0):
        found["requests_per_second_per_vu"] = Severity.MEDIUM
    return found


@pytest.mark.long
@pytest.mark.parametrize("neighbour", ["quiet", "busy"])
def test_runs_around_each_limit_have_the_severity_of_the_original(
    neighbour: str, tmp_path: Path
) -> None:
    """All that is broken is listed, the worst first. Full CPUs hide nothing.

    What k6 measured decides: a busy machine may hold a request for long enough to lift it over
    its limit. With full CPUs a time or the throughput is low where k6 waited for them long enough,
    as a machine with many more processes than CPUs has them. One verdict differs on purpose: a
    script that pauses has no low throughput.
    """
    table = table_limits.TABLE
    with Target() as target, busy_neighbour() if neighbour == "busy" else nullcontext():
        table_limits.prepare(target)
        runs = run_all(
            table,
            binary=NEW,
            url=target.url,
            home=tmp_path,
            at_once=AT_ONCE,
            compare__max_cpu=DEFAULT_MAX_CPU,
        )
    by_name = {one.name: (one, run) for one, run in zip(table, runs, strict=True)}
    full = neighbour == "busy"
    wrong = {
        name: said for name, pair in by_name.items() if (said := _mistakes(*pair, cpus_full=full))
    }
    assert not wrong
    for name, metrics in {
        "10.5 s on average, 5 requests": 3,
        table_limits.GIVING_UP.name: 4,
        table_limits.PAUSING.name: 0,
    }.items():
        assert len(_found(by_name[name][1])) == metrics, name
    if neighbour == "busy":
        said = [text for run in runs for text in _about_the_machine(run)]
        assert any("CPU" in text for text in said), "nobody noticed the neighbour"


def _found(run: Run) -> dict[str | None, Severity]:
    """The findings but for k6's own want of CPU, which may stand beside them."""
    findings = run.anomaly_analysis.findings
    return {f.metric: f.severity for f in findings if f.kind is not FindingKind.GENERATOR}


def _mistakes(specimen: Specimen, run: Run, *, cpus_full: bool) -> list[str]:
    """What the original's rules would say otherwise, with what was said."""
    verdict, expected = run.anomaly_analysis, original_rules(run.metrics)
    if specimen is table_limits.PAUSING:
        assert expected.pop("requests_per_second_per_vu") is Severity.MEDIUM
    expected |= {
        metric: Severity.LOW
        for metric in expected
        if cpus_full and metric != "error_rate" and _is_explained(run, metric)
    }
    ranks = [finding.severity.rank for finding in verdict.findings]
    if _found(run) == expected and ranks == sorted(ranks, reverse=True):
        return []
    return [f"expected {expected}", *verdict.issues, *verdict.doubts]


def _is_explained(run: Run, metric: str) -> bool:
    """Whether k6 was so short of CPU that it may explain the whole time, or the throughput."""
    if not run.generator.reasons:
        return False
    times = {f.metric: f.observed for f in run.anomaly_analysis.findings if f.unit == "ms"}
    return metric not in times or (times[metric] or math.inf) <= reach_ms(run.generator, metric)


def _about_the_machine(run: Run) -> list[str]:
    return [*run.anomaly_analysis.doubts, *run.anomaly_analysis.issues]
