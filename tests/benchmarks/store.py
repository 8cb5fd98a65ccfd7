"""What a long past costs: saving, looking, starting, idling and rebuilding over it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from idle import memory_mib
from stage import Table, median, verdict, wait
from stored import fill

from k6d.storage.record import new_test_id
from k6d.storage.store import Store
from support.daemon import Daemon, hitting
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from k6d.core.model import Run

PASTS = (0, 10_000, 100_000)
SCRIPTS = [f"script-{number}.js" for number in range(50)]
SAVES, LOOKS, STARTS = 60, 7, 5
SAVE_MS, SAVE_TIMES = 30, 2
HISTORY_MS, STATISTICS_MS = 50, 200
START_S, START_RUNS = 1.0, 10_000
GROWTH_MIB = 5
REINDEX_PER_S = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Medians over one past; `reindex_per_s` is NaN over none."""

    save_ms: float
    history_ms: float
    statistics_ms: float
    start_s: float
    idle_mib: float
    reindex_per_s: float


def timed(act: Callable[[], object]) -> float:
    """How many seconds it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def saves(store: Store, run: Run) -> list[float]:
    """Seconds that each of some new runs took to be kept."""
    found = []
    for number in range(SAVES):
        at = datetime.now(UTC) + timedelta(seconds=number)
        script = SCRIPTS[number % len(SCRIPTS)]
        new = replace(run, test_id=new_test_id(at), timestamp=at, script=script)
        found.append(timed(lambda new=new: store.save(new)))
    return found


def looks(data: Path, look: Callable[[Store], object]) -> float:
    """The median seconds of a look by a process that has just let go of everything."""
    store = Store(data)
    found = []
    for _ in range(LOOKS):
        store.free_memory()
        found.append(timed(lambda: look(store)))
    return median(found)


def starts(served: Daemon) -> tuple[float, float]:
    """Median seconds from the start of a daemon until it watches, and MiB when it has idled."""
    took, memory = [], []
    for _ in range(STARTS):
        took.append(timed(served.start))
        assert served.process is not None
        wait(2.0)
        memory.append(memory_mib(served.process.pid)["VmRSS"])
        served.end()
    return median(took), median(memory)


def figures(served: Daemon, run: Run, past: int) -> Figures:
    """Fill the store as far as `past`, then measure."""
    rebuilt_s = float("nan")
    if past:
        fill(served.data, past, SCRIPTS)
        rebuilt_s = timed(Store(served.data).reindex)
    start_s, idle_mib = starts(served)
    return Figures(
        save_ms=median(saves(Store(served.data), run)) * 1000,
        history_ms=looks(served.data, lambda store: store.history(limit=20)) * 1000,
        statistics_ms=looks(served.data, lambda store: store.statistics(days=7)) * 1000,
        start_s=start_s,
        idle_mib=idle_mib,
        reindex_per_s=past / rebuilt_s,
    )


def row(past: int, one: Figures, empty: Figures) -> list[str]:
    """The table's row; figures that miss their goal are bold."""
    growth, times = one.idle_mib - empty.idle_mib, one.save_ms / empty.save_ms
    quick = one.start_s <= START_S or past > START_RUNS

    def cell(text: str, kept: bool) -> str:
        return text if kept or not past else f"**{text}**"

    return [
        f"{past:,} runs",
        cell(f"{one.save_ms:.1f}", one.save_ms <= SAVE_MS and times <= SAVE_TIMES),
        cell(f"{one.history_ms:.0f}", one.history_ms <= HISTORY_MS),
        cell(f"{one.statistics_ms:.0f}", one.statistics_ms <= STATISTICS_MS),
        cell(f"{one.start_s:.2f}", quick),
        cell(f"{growth:+.1f}", growth <= GROWTH_MIB),
        cell(f"{one.reindex_per_s:,.0f}", one.reindex_per_s >= REINDEX_PER_S) if past else "",
    ]


def measure(work: Path) -> Table:
    """Over no past, 10,000 runs and 100,000, each in a folder of its own."""
    found: dict[int, Figures] = {}
    with Target() as target:
        for past in PASTS:
            served = Daemon(work / str(past))
            served.write("shop.js", hitting(f"{target.url}/shop"))
            served.start()
            try:
                run = served.run("shop.js")
                served.until_logged("of shop.js completed")
                served.end()
                found[past] = figures(served, run, past)
            finally:
                served.close()
    goals = [
        "goal",
        f"≤ {SAVE_MS}, ≤ {SAVE_TIMES}×",
        *(f"≤ {HISTORY_MS}", f"≤ {STATISTICS_MS}", f"≤ {START_S:g} at {START_RUNS:,}"),
        *(f"≤ {GROWTH_MIB}", f"≥ {REINDEX_PER_S:,}"),
    ]
    kept = all("**" not in text for past in PASTS for text in row(past, found[past], found[0]))
    return Table(
        title="Many stored runs",
        columns=[
            *(
                "stored, of 50 scripts",
                "save, ms",
                "latest history, ms",
                "statistics of 7 days, ms",
            ),
            *("start → ready, s", "idle memory, MiB", "reindex, runs/s"),
        ],
        rows=[*(row(past, found[past], found[0]) for past in PASTS), goals],
        notes=[
            f"Medians: {SAVES} saves, {LOOKS} looks with nothing in memory, {STARTS} starts. "
            f"Memory: of a started daemon, beside {found[0].idle_mib:.1f} MiB over an empty store.",
            f"All goals reached: {verdict(kept)}.",
        ],
    )
