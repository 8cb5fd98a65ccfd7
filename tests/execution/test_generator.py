"""The health of the load generator: its CPU, its memory, its virtual users."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from daemon import hitting
from k6d.execution.generator import SAMPLE_S, Monitor
from k6d.job import Job
from k6d.model import FindingKind, Metrics, Trigger
from k6d.pipeline import Pipeline
from k6d.settings import Compare
from k6d.store import Store
from k6d.units import percent
from shop import settings_for

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.model import Run
    from target import Target

PATIENCE_S = 120.0


def _python(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code])


async def watched(code: str, *, samples: int) -> Monitor:
    """A monitor that has seen a Python process at work."""
    monitor = Monitor()
    process = _python(code)
    watching = asyncio.create_task(monitor.watch(process.pid))
    try:
        deadline = time.monotonic() + PATIENCE_S
        while len(monitor._samples) < samples:
            assert time.monotonic() < deadline, "no samples"
            await asyncio.sleep(0.05)
    finally:
        watching.cancel()
        process.kill()
        process.wait()
    return monitor


async def test_a_process_that_computes_is_seen() -> None:
    """Its share of all CPUs, that of the machine, and memory; a limit below is passed always."""
    monitor = await watched("while True: pass", samples=8)
    health = monitor.health(Metrics(), vus_exhausted=False, limits=Compare(max_cpu=1.0))
    one_cpu = 100 / (os.cpu_count() or 1)
    assert health.k6_cpu_percent is not None
    assert health.machine_cpu_percent is not None
    assert 0.1 * one_cpu < health.k6_cpu_percent <= 1.1 * one_cpu
    assert health.k6_cpu_percent <= health.machine_cpu_percent + 5
    assert health.busy_seconds_percent == 100
    assert 0 < (health.memory_free_percent or 0) < 100
    (reason,) = health.reasons
    assert reason.startswith("this machine's CPUs were full for 100 % of the time (k6 itself ")
    believed = monitor.health(Metrics(), vus_exhausted=False, limits=Compare(max_cpu=100.0))
    assert believed.reasons == []


async def test_an_idle_process_takes_nothing() -> None:
    """And few seconds say nothing of the machine, however busy it was."""
    monitor = await watched("import time; time.sleep(60)", samples=3)
    health = monitor.health(Metrics(), vus_exhausted=False, limits=Compare(max_cpu=0.001))
    assert (health.k6_cpu_percent or 0) < 10
    assert health.reasons == []


async def test_it_ends_with_the_process() -> None:
    """Without a sample of what is gone."""
    process = _python("")
    process.wait()
    monitor = Monitor()
    await asyncio.wait_for(monitor.watch(process.pid), PATIENCE_S + SAMPLE_S)
    health = monitor.health(Metrics(), vus_exhausted=False, limits=Compare(max_cpu=95.0))
    assert (health.k6_cpu_percent, health.memory_free_percent, health.reasons) == (None, None, [])


@pytest.mark.parametrize(
    ("iterations", "dropped", "exhausted", "reasons"),
    [
        (1000, None, False, []),
        (1000, 0, False, []),
        (1000, 10, False, []),
        (1000, 10, True, []),  # a hiccup that k6 warned of
        (1000, 11, False, ["11 iterations of 1,011 were dropped for want of virtual users"]),
        (0, 1, True, ["1 iteration of 1 were dropped for want of virtual users"]),
        (None, None, True, ["all virtual users were in use and no more were allowed"]),
    ],
)
def test_dropped_iterations(
    iterations: int | None, dropped: int | None, *, exhausted: bool, reasons: list[str]
) -> None:
    """More than one per cent of what was to be started."""
    metrics = Metrics(iterations=iterations, dropped_iterations=dropped)
    health = Monitor().health(metrics, vus_exhausted=exhausted, limits=Compare(max_cpu=95.0))
    assert health.reasons == reasons


def test_too_few_virtual_users_are_said_first_and_spoil_no_baseline(
    target: Target, tmp_path: Path
) -> None:
    """The real k6 with two VUs where a slow target needs six: no word of its response times."""
    target.latency["/"] = 0.3
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "arrival.js"
    script.write_text(
        f"""import http from 'k6/http';
export const options = {{
  ext: {{ k6d: {{ limits: {{ response_time_avg: {{ high: 100 }}, min_requests: 1 }} }} }},
  thresholds: {{ http_req_duration: ['p(95)<100'] }},
  scenarios: {{ steady: {{
    executor: 'constant-arrival-rate', rate: 20, timeUnit: '1s', duration: '2s',
    preAllocatedVUs: 2, maxVUs: 2, gracefulStop: '1s',
  }} }},
}};
export default function () {{ http.get('{target.url}/'); }}
"""
    )
    run = _run(script, tmp_path)
    (finding,) = run.anomaly_analysis.findings
    assert finding.kind is FindingKind.GENERATOR
    assert "were dropped for want of virtual users" in finding.message
    assert (run.metrics.dropped_iterations or 0) > 10
    assert run.generator.reasons
    (doubt,) = [d for d in run.anomaly_analysis.doubts if "http_req_duration: p(95)<100" in d]
    assert doubt.endswith(": not the target's, so not judged")
    assert (run.comparable, run.comparisons) == (False, [])
    script.write_text(script.read_text().replace("VUs: 2", "VUs: 20"))
    relieved = _run(script, tmp_path)
    assert {f.metric for f in relieved.anomaly_analysis.findings} >= {
        "response_time_avg", "http_req_duration"
    }  # fmt: skip


def test_a_script_that_speaks_of_virtual_users_lacks_none(target: Target, tmp_path: Path) -> None:
    """What it logs or throws is no warning of k6's."""
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "words.js"
    words = "'Insufficient VUs, reached 2 active VUs and cannot initialize more'"
    script.write_text(
        f"{hitting(f'{target.url}/')}export function teardown() {{ console.warn({words}); }}"
    )
    run = _run(script, tmp_path)
    assert "warning console Insufficient VUs" in run.log.head
    assert (run.generator.reasons, run.comparable) == ([], True)


def test_a_machine_short_of_memory_is_not_believed(target: Target, tmp_path: Path) -> None:
    """As much is asked for as no machine has free: said with what was, and no baseline."""
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "shop.js"
    script.write_text(hitting(f"{target.url}/", iterations=100))
    run = _run(script, tmp_path, compare__min_memory=100)
    (finding,) = run.anomaly_analysis.findings
    assert finding.kind is FindingKind.GENERATOR
    free = run.generator.memory_free_percent
    assert free is not None
    assert f"only {percent(free)} of this machine's memory was free" in finding.message
    assert not run.comparable
    assert _run(script, tmp_path).generator.reasons == []


def _run(script: Path, home: Path, **settings: object) -> Run:
    loaded = settings_for(home, **settings)
    pipeline = Pipeline(loaded, Store(loaded.data), stop=asyncio.Event())
    run = asyncio.run(pipeline.run(Job(name=script.name, path=script, trigger=Trigger.MANUAL)))
    assert run is not None
    return run
