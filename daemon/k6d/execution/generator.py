"""The load generator's own health: was k6, or its machine, short of CPU, memory or virtual users?

Then its numbers are about this machine, not about the target. Read from Linux' /proc twice a second
while k6 runs; elsewhere nothing is measured, and nothing is said.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from k6d.model import Generator
from k6d.units import percent, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k6d.model import Metrics
    from k6d.settings import Compare

SAMPLE_S = 1.0
# Fewer seconds say little: starting k6 alone keeps a small machine busy for one.
MIN_SAMPLES = 5
# A run counts as short of CPU when most of its seconds were, not for a burst of something else.
BUSY_SECONDS_PERCENT = 50.0
# An arrival-rate scenario drops one or two iterations while its VUs start.
DROPPED_PERCENT = 1.0


@dataclass(frozen=True, slots=True)
class _Sample:
    busy: float
    total: float
    k6: float
    memory_free: float


class Monitor:
    """Samples the machine and one process; cheap enough to disturb neither."""

    def __init__(self) -> None:
        self._samples: list[_Sample] = []

    async def watch(self, pid: int) -> None:
        """Sample until cancelled, or until the process is gone or /proc doesn't tell."""
        while (sample := self._sample(pid)) is not None:
            self._samples.append(sample)
            await asyncio.sleep(SAMPLE_S)

    def health(self, metrics: Metrics, *, vus_exhausted: bool, limits: Compare) -> Generator:
        """What was seen; `limits`: how much CPU may be busy, and how much memory must be free."""
        measured = _shares(self._samples)
        cpu = [machine for _, machine in measured]
        mine = [k6 for k6, _ in measured]
        free = min((sample.memory_free for sample in self._samples), default=None)
        busy = 100 * sum(share > limits.max_cpu for share in cpu) / len(cpu) if cpu else None
        health = Generator(
            k6_cpu_percent=_mean(mine),
            machine_cpu_percent=_mean(cpu),
            busy_seconds_percent=None if busy is None else round(busy, 1),
            memory_free_percent=None if free is None else round(free, 1),
        )
        reasons = [*_short_of_cpu(health, len(cpu)), *_short_of_vus(metrics, vus_exhausted)]
        if free is not None and free < limits.min_memory:
            reasons.append(f"only {percent(free)} of this machine's memory was free")
        return replace(health, reasons=reasons)

    def _sample(self, pid: int) -> _Sample | None:
        """Ticks since boot of the machine's CPUs and of the process (proc(5)), and free memory."""
        try:
            cpu = [int(n) for n in _line(_text("/proc/stat"), "cpu ").split()[1:9]]
            fields = _text(f"/proc/{pid}/stat").rpartition(") ")[2].split()
            meminfo = _text("/proc/meminfo")
            free = int(_line(meminfo, "MemAvailable:").split()[1])
            memory = int(_line(meminfo, "MemTotal:").split()[1])
        except (OSError, ValueError, IndexError, StopIteration):
            return None
        idle = cpu[3] + cpu[4]
        return _Sample(
            busy=sum(cpu) - idle,
            total=sum(cpu),
            k6=int(fields[11]) + int(fields[12]),
            memory_free=100 * free / memory,
        )


def _line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def _text(path: str) -> str:
    with open(path) as file:  # noqa: PTH123  (of a Path Python keeps each process's number)
        return file.read()


def _shares(samples: Sequence[_Sample]) -> list[tuple[float, float]]:
    """k6's and the machine's share of all CPUs in each interval, in percent."""
    shares = []
    for before, after in pairwise(samples):
        if (total := after.total - before.total) > 0:
            shares.append(
                (100 * (after.k6 - before.k6) / total, 100 * (after.busy - before.busy) / total)
            )
    return shares


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None


def _short_of_cpu(health: Generator, samples: int) -> list[str]:
    if samples < MIN_SAMPLES or (health.busy_seconds_percent or 0) <= BUSY_SECONDS_PERCENT:
        return []
    return [
        f"this machine's CPUs were full for {percent(health.busy_seconds_percent)} of the time "
        f"(k6 itself took {percent(health.k6_cpu_percent)} of their time)"
    ]


def _short_of_vus(metrics: Metrics, vus_exhausted: bool) -> list[str]:
    dropped, done = metrics.dropped_iterations or 0, metrics.iterations or 0
    reasons = []
    if dropped and 100 * dropped / (dropped + done) > DROPPED_PERCENT:
        reasons.append(
            f"{plural(dropped, 'iteration')} of {dropped + done:,} were dropped for want of "
            f"virtual users"
        )
    elif vus_exhausted and not dropped:  # a hiccup that cost one of thousands spoils nothing
        reasons.append("all virtual users were in use and no more were allowed")
    return reasons
