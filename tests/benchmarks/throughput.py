"""What k6 delivers under k6d, beside what it delivers alone, at full CPU."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import orjson
from stage import K6, Table, Target, environment, many_requests, median, quartiles, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

REQUESTS = 60_000
FEW = 20
ROUNDS = 5
GOAL = 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run: requests/s as k6 says, CPU seconds of all processes."""

    rate: float
    cpu_s: float


def _timed(command: Sequence[str | Path], work: Path) -> tuple[bytes, float]:
    before = os.times()
    done = subprocess.run(
        command,
        cwd=work,
        env=environment(work),
        capture_output=True,
        check=False,
    )
    after = os.times()
    used = after.children_user + after.children_system
    return done.stdout, used - before.children_user - before.children_system


def bare(script: Path, work: Path) -> Sample:
    """`k6 run`, with its summary in a file for the rate."""
    summary = work / "summary.json"
    _, cpu_s = _timed([K6, "run", "--quiet", "--summary-export", summary, script], work)
    return Sample(rate=_rate(orjson.loads(summary.read_bytes())), cpu_s=cpu_s)


def under_k6d(script: Path, work: Path) -> Sample:
    """`k6d run`, all of it: snapshot, capture, verdict, record."""
    k6d: list[str | Path] = [sys.executable, "-m", "k6d"]
    printed, cpu_s = _timed([*k6d, "run", script, "--data", work / "data", "--json"], work)
    run = orjson.loads(printed)
    assert run["execution"]["outcome"] == "completed", run["execution"]
    return Sample(rate=run["metrics"]["requests_per_second"], cpu_s=cpu_s)


def _rate(summary: dict[str, dict[str, dict[str, float]]]) -> float:
    return summary["metrics"]["http_reqs"]["rate"]


def under_way(script: Path, work: Path, *, requests: int, url: str) -> tuple[Sample, ...]:
    """`k6 run`, `k6d run`, `k6 run`: what the two outer ones differ by is the machine's noise."""
    script.write_text(many_requests(url, requests=requests))
    return bare(script, work), under_k6d(script, work), bare(script, work)


def judged(ratios: Sequence[float], control: Sequence[float]) -> str:
    """Whether the goal is reached; undecided where k6 differs from itself by more than asked."""
    low, _, high = statistics.quantiles(control, n=4, method="inclusive")
    if high - low > 2 * (1 - GOAL):
        return f"≥ {GOAL}: undecided, the machine is too noisy"
    return f"≥ {GOAL}: {verdict(median(ratios) >= GOAL)}"


def measure(work: Path) -> Table:
    """Triples; ratios within each, to the mean of the outer two."""
    script = work / "full.js"
    with Target() as target:
        warm = partial(under_way, script, work, requests=FEW, url=target.url)
        few = [warm() for _ in range(ROUNDS)]
        full = partial(under_way, script, work, requests=REQUESTS, url=target.url)
        triples = [full() for _ in range(ROUNDS)]
    ratios = [2 * ours.rate / (one.rate + two.rate) for one, ours, two in triples]
    control = [two.rate / one.rate for one, _, two in triples]
    fixed = [median([of.cpu_s for of in column]) for column in zip(*few, strict=True)]
    # What a few requests cost is the start: Python, snapshot, report. The rest is the load.
    load = [[of.cpu_s - f for of, f in zip(t, fixed, strict=True)] for t in triples]
    cpu = [2 * ours / (one + two) for one, ours, two in load]
    cpu_control = [two / one for one, _, two in load]
    one, ours, two = zip(*triples, strict=True)
    return Table(
        title=f"{REQUESTS:,} requests at full CPU",
        columns=[
            "",
            "requests/s",
            "ratio",
            "middle half",
            "CPU",
            "middle half",
            "goal",
        ],
        rows=[
            ["k6 run", _rates([*one, *two]), "1", "", "1", "", ""],
            ["k6 run again (noise)", _rates(two), *_ratio(control), *_ratio(cpu_control), ""],
            ["k6d run", _rates(ours), *_ratio(ratios), *_ratio(cpu), judged(ratios, control)],
        ],
        notes=[
            f"{ROUNDS} triples of k6, k6d, k6; medians of the ratios within each.",
            "requests/s are k6's own, over the test. CPU: the ratio of user and system time of all "
            f"processes but the target, less that of a run of {FEW} requests; that (start, "
            f"snapshot, report) takes {fixed[0]:.2f} s for k6 and {fixed[1]:.2f} s for k6d.",
        ],
    )


def _rates(samples: Sequence[Sample]) -> str:
    return f"{median([one.rate for one in samples]):.0f}"


def _ratio(values: Sequence[float]) -> tuple[str, str]:
    return f"{median(values):.3f}", quartiles(values, digits=3)
