"""The health of the load generator: its CPU, its memory, its virtual users."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from k6d.core.job import Job
from k6d.core.model import Trigger
from k6d.core.numbers import percent
from k6d.execution.local.generator import SAMPLE_S, Monitor, Sample
from k6d.jobs.pipeline import Pipeline
from k6d.settings import Compare
from k6d.storage.store import Store
from support.daemon import hitting
from support.shop import settings_for

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.core.model import Run
    from support.target import Target

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
    """Its share of all CPUs, that of the machine, its waits, and memory."""
    monitor = await watched("while True: pass", samples=8)
    health = monitor.health(Compare(max_cpu=1.0))
    one_cpu = 100 / (os.cpu_count() or 1)
    assert health.k6_cpu_percent is not None
    assert health.machine_cpu_percent is not None
    assert 0 < health.k6_cpu_percent <= 1.1 * one_cpu
    assert health.k6_cpu_percent <= health.machine_cpu_percent + 5
    assert health.busy_seconds_percent == 100
    assert 0 < (health.memory_free_percent or 0) < 100
    assert 0 <= (health.k6_memory_percent or 0) < 100
    assert (health.k6_lag_ms or 0) >= 0
    assert len([*health.reasons, *health.doubts]) == 1  # a limit of 1 % is passed always
    believed = monitor.health(Compare(max_cpu=100.0))
    assert (believed.reasons, believed.doubts) == ([], [])


async def test_an_idle_process_takes_nothing() -> None:
    """And few seconds give no reason to doubt k6, however busy the machine was."""
    monitor = await watched("import time; time.sleep(60)", samples=3)
    health = monitor.health(Compare(max_cpu=0.001))
    assert (health.k6_cpu_percent or 0) < 10
    assert health.reasons == []


async def test_it_ends_with_the_process() -> None:
    """Without a sample of what is gone."""
    process = _python("")
    process.wait()
    monitor = Monitor()
    await asyncio.wait_for(monitor.watch(process.pid), PATIENCE_S + SAMPLE_S)
    health = monitor.health(Compare(max_cpu=95.0))
    assert (health.k6_cpu_percent, health.memory_free_percent, health.reasons) == (None, None, [])


def seen(*, k6: float = 1, wait_ms: float = 0.1, faults: int = 0, **fields: float) -> Monitor:
    """A monitor after ten seconds of a machine whose CPUs were full."""
    monitor = Monitor()
    known = {"memory": 2.0, "memory_free": 60.0} | fields
    monitor._samples = [
        Sample(
            busy=200 * t,
            total=200 * t,
            k6=2 * k6 * t,
            wait_ms=1000 * wait_ms * t,
            turns=1000 * t,
            faults=500 + faults * t,
            **known,
        )
        for t in range(11)
    ]
    return monitor


@pytest.mark.parametrize(
    ("monitor", "reason"),
    [
        (seen(k6=2), None),
        (seen(k6=49, wait_ms=3), None),
        (seen(k6=50), "k6 itself took 50 % of this machine's CPUs, which were full"),
        (seen(k6=2, wait_ms=7), "k6 waited 7 ms for a CPU each time it needed one"),
    ],
)
def test_only_k6s_own_trouble_is_a_reason(monitor: Monitor, reason: str | None) -> None:
    """A neighbour that fills the machine, while k6 gets what it wants, is a doubt."""
    health = monitor.health(Compare())
    assert health.reasons == ([reason] if reason else [])
    doubt = "other programs kept this machine's CPUs full for 100 % of the time; k6 itself took "
    assert [d.startswith(doubt) for d in health.doubts] == ([] if reason else [True])


@pytest.mark.parametrize(
    ("k6", "seconds", "doubts"),
    [(5, 3, 1), (49, 3, 1), (60, 3, 0), (60, 4, 0), (5, 1, 1), (5, 0, 0)],
)
def test_a_few_seconds_prove_only_what_others_take(k6: float, seconds: int, doubts: int) -> None:
    """k6's own start may fill a small machine for a second; a neighbour that fills it is seen."""
    monitor = seen(k6=k6)
    monitor._samples = monitor._samples[: seconds + 1]
    health = monitor.health(Compare())
    assert health.reasons == []
    assert len(health.doubts) == doubts


@pytest.mark.parametrize(
    ("monitor", "reasons", "doubts"),
    [
        (seen(memory_free=6), 0, 0),
        (seen(memory_free=4), 0, 1),
        (seen(memory_free=4, memory=30), 1, 0),
        (seen(memory_free=4, faults=51), 1, 0),
    ],
)
def test_so_is_memory(monitor: Monitor, reasons: int, doubts: int) -> None:
    """k6 holds much of it, or must read its own back from the disk."""
    health = monitor.health(Compare(max_cpu=100))
    assert (len(health.reasons), len(health.doubts)) == (reasons, doubts)
    assert all("only 4 % of this machine's" in said for said in (*health.reasons, *health.doubts))


def test_a_machine_short_of_memory_enters_no_baseline(target: Target, tmp_path: Path) -> None:
    """As much is asked for as no machine has free: said as a doubt; k6 itself needs little."""
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "shop.js"
    script.write_text(hitting(f"{target.url}/", iterations=100))
    run = _run(script, tmp_path, compare__min_memory=100)
    assert (run.anomaly_analysis.findings, run.comparable) == ([], False)
    free = run.generator.memory_free_percent
    (doubt,) = [d for d in run.anomaly_analysis.doubts if "memory" in d]
    assert doubt.startswith(f"only {percent(free)} of this machine's memory was free; k6 held ")
    again = _run(script, tmp_path)
    assert (again.generator.doubts, again.comparable) == ([], True)


def _run(script: Path, home: Path, **settings: object) -> Run:
    loaded = settings_for(home, **settings)
    pipeline = Pipeline(loaded, Store(loaded.data), stop=asyncio.Event())
    run = asyncio.run(pipeline.run(Job(name=script.name, path=script, trigger=Trigger.MANUAL)))
    assert run is not None
    return run
