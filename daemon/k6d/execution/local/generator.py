"""Measures the health of the load generator: whether k6 was short of CPU or memory during a run.

Response times are distorted only if k6 itself lacks resources: it uses most of the CPUs, its
threads wait for a CPU, or it is short of memory. If other processes kept the machine busy, the run
gets a note but no doubt. The numbers come from Linux' /proc once a second while k6 runs; on other
systems nothing is measured.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from k6d.core.measurements import Generator
from k6d.core.numbers import ms, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k6d.settings import Compare

SAMPLE_S = 1.0
# A Go program that waits takes a tick (10 ms of CPU) at most; a loop takes one even if sixteen
# others want the same CPU.
IDLE_S, IDLE_TICKS = 0.5, 1
# In fewer seconds, k6's own start may keep a small machine busy. Then only CPU that others take
# counts, if it is at least this share of all.
MIN_SAMPLES = 5
OTHERS_CPU_PERCENT = 50.0
# A run is short of CPU if most of its seconds were; a burst of another process does not count.
BUSY_SECONDS_PERCENT = 50.0
# With this share of all CPUs, k6 itself is the reason why they are busy.
OWN_CPU_PERCENT = 50.0
# A request needs a few turns on a CPU. With this wait before each turn, k6 adds tens of
# milliseconds to a response time. Measured: with eight busy processes on two cores, a k6 that gets
# enough CPU waits 1 to 3 ms.
LAG_MS = 5.0
# If memory is short, k6 is affected if it holds this share of all memory, or must read its own
# pages back from the disk this often.
OWN_MEMORY_PERCENT = 25.0
FAULTS_PER_S = 50.0


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU ticks since boot of machine and k6, k6's waits for a CPU, and memory in percent."""

    busy: float
    total: float
    k6: float
    wait_ms: float
    turns: int
    faults: int
    memory: float
    memory_free: float


LEFT_OUT = "the run enters no baseline"


class Monitor:
    """Samples the machine and one process once a second."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []

    async def watch(self, pid: int) -> None:
        """Sample until cancelled, or until the process has ended or /proc cannot be read."""
        while (sample := _sample(pid)) is not None:
            self._samples.append(sample)
            await asyncio.sleep(SAMPLE_S)

    def health(self, limits: Compare) -> Generator:
        """Return the measured health, judged by the `limits` for busy CPU and free memory."""
        measured = _shares(self._samples)
        cpu = [machine for _, machine in measured]
        busy = 100 * sum(share > limits.max_cpu for share in cpu) / len(cpu) if cpu else None
        health = Generator(
            k6_cpu_percent=_mean([k6 for k6, _ in measured]),
            k6_lag_ms=_lag_ms(self._samples),
            k6_memory_percent=max((round(s.memory, 1) for s in self._samples), default=None),
            machine_cpu_percent=_mean(cpu),
            busy_seconds_percent=None if busy is None else round(busy, 1),
            memory_free_percent=min((round(s.memory_free, 1) for s in self._samples), default=None),
        )
        is_full = _is_full(measured, limits.max_cpu)
        few = len(measured) < MIN_SAMPLES
        own_cpu, others_cpu = _cpu(health, few=few) if is_full else (None, None)
        short = (health.memory_free_percent or 100) < limits.min_memory
        own_memory, others_memory = _memory(health, self._samples) if short else (None, None)
        return replace(
            health,
            reasons=[reason for reason in (own_cpu, own_memory) if reason],
            doubts=[f"{doubt}; {LEFT_OUT}" for doubt in (others_cpu, others_memory) if doubt],
        )


def _is_full(shares: Sequence[tuple[float, float]], max_cpu: float) -> bool:
    """Return whether the CPUs were full for most of the time, by the shares of k6 and of all."""
    few = len(shares) < MIN_SAMPLES
    full = [
        machine > max_cpu and (not few or machine - k6 >= OTHERS_CPU_PERCENT)
        for k6, machine in shares
    ]
    return bool(full) and 100 * sum(full) / len(full) > BUSY_SECONDS_PERCENT


def _cpu(health: Generator, *, few: bool) -> tuple[str | None, str | None]:
    """Explain busy CPUs: (a problem of k6 itself, a note about other processes).

    `few`: a few seconds, which prove no problem of k6 itself.
    """
    mine, lag = health.k6_cpu_percent or 0.0, health.k6_lag_ms or 0.0
    if mine >= OWN_CPU_PERCENT and not few:
        return f"k6 itself took {percent(mine)} of this machine's CPUs, which were full", None
    if lag >= LAG_MS and not few:
        return f"k6 waited {ms(lag)} for a CPU each time it needed one", None
    return None, (
        f"other programs kept this machine's CPUs full for {percent(health.busy_seconds_percent)} "
        f"of the time; k6 itself took {percent(mine)} and waited {ms(lag)} for each turn"
    )


def _memory(health: Generator, samples: Sequence[Sample]) -> tuple[str | None, str | None]:
    """Explain a lack of memory, with the same pair as `_cpu`."""
    said = f"only {percent(health.memory_free_percent)} of this machine's memory was free"
    mine, rest = (
        health.k6_memory_percent or 0.0,
        samples[1:],
    )  # the first faults only load the program
    faults = rest[-1].faults - rest[0].faults if rest else 0
    if mine >= OWN_MEMORY_PERCENT:
        return f"{said}, and k6 held {percent(mine)}", None
    if len(rest) > 1 and faults > FAULTS_PER_S * SAMPLE_S * (len(rest) - 1):
        return f"{said}, and k6 had to read its memory back from the disk {faults:,} times", None
    return None, f"{said}; k6 held {percent(mine)}"


def _sample(pid: int) -> Sample | None:
    """Take one sample (proc(5)); None if the process has ended or this is not Linux."""
    try:
        cpu = [int(n) for n in _line(_text("/proc/stat"), "cpu ").split()[1:9]]
        fields = _text(f"/proc/{pid}/stat").rpartition(") ")[2].split()
        meminfo = _text("/proc/meminfo")
        free = int(_line(meminfo, "MemAvailable:").split()[1])
        memory = int(_line(meminfo, "MemTotal:").split()[1])
        resident = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1024
        wait_ms, turns = _waits(pid)
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    idle = cpu[3] + cpu[4]
    return Sample(
        busy=sum(cpu) - idle,
        total=sum(cpu),
        k6=int(fields[11]) + int(fields[12]),
        wait_ms=wait_ms,
        turns=turns,
        faults=int(fields[9]),
        memory=100 * resident / memory,
        memory_free=100 * free / memory,
    )


async def is_idle(pid: int) -> bool:
    """Return whether a process waits, by the CPU that it takes in half a second."""
    before = _sample(pid)
    await asyncio.sleep(IDLE_S)
    after = _sample(pid)
    return bool(before and after and after.k6 - before.k6 <= IDLE_TICKS)


def _waits(pid: int) -> tuple[float, int]:
    """Return how long (ns) all threads have waited for a CPU so far, and how often they got one.

    Both are zero if the kernel does not count this.
    """
    wait_ns = turns = 0
    for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  (as in _text)
        try:
            fields = _text(f"/proc/{pid}/task/{thread}/schedstat").split()
        except OSError:
            continue  # the thread has ended, or the kernel has no such file
        wait_ns, turns = wait_ns + int(fields[1]), turns + int(fields[2])
    return wait_ns / 1e6, turns


def _line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def _text(path: str) -> str:
    with open(path) as file:  # noqa: PTH123  (Path would keep a copy of each process's number)
        return file.read()


def _shares(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """Return the shares of all CPUs that k6 and the machine used in each interval."""
    shares = []
    for before, after in pairwise(samples):
        if (total := after.total - before.total) > 0:
            shares.append(
                (100 * (after.k6 - before.k6) / total, 100 * (after.busy - before.busy) / total)
            )
    return shares


def _lag_ms(samples: Sequence[Sample]) -> float | None:
    if not samples or not (turns := samples[-1].turns - samples[0].turns):
        return None
    return round((samples[-1].wait_ms - samples[0].wait_ms) / turns, 3)


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None
