"""What a long past costs: each thing that a data folder is asked for, over few and many runs.

A question about one script, or about all months, is asked beside few runs of few scripts over as
much time, so that the script has as many runs in both folders, and both have as many months. Every
other question is asked beside few runs of as many scripts.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from idle import memory_mib
from save import sizes
from stage import Table, median, verdict, wait

from k6d.settings import load
from k6d.storage.prune import prune
from k6d.storage.query import Query
from k6d.storage.record import new_test_id
from k6d.storage.store import Store
from support.daemon import Daemon, hitting
from support.many_runs import made, write
from support.records import make_run
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FEW, MANY = 10_000, int(os.environ.get("K6D_BENCH_RUNS", "1_000_000"))
SCRIPTS = 500
FEW_SCRIPTS = max(1, SCRIPTS * FEW // MANY)
APART = timedelta(seconds=30)  # each script every four hours; a million runs are a year
SCRIPT = "script-000.js"
OF_A_YEAR = ("of a script", "in vain")  # in the names of questions about one or all months
STATES = "latest state of a script, of all asked for, ms"
SAVES, LOOKS, STARTS = 60, 9, 5
OLDER, OLDEST = timedelta(days=40), timedelta(days=80)  # before the rest: the runs to prune
PRUNED = 100
READY_S, PRUNE_MS, GROWTH = 2.0, 50.0, 1.5


def is_of_a_year(name: str) -> bool:
    """Whether the question is asked beside few runs of few scripts."""
    return any(words in name for words in OF_A_YEAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A row: its figure over few runs, of `scripts` scripts, and over many.

    `most` is a limit of its own; `grows`: it may grow as fast as the runs.
    """

    name: str
    scripts: int
    few: float
    many: float
    digits: int = 1
    most: float | None = None
    grows: bool = False

    def row(self) -> list[str]:
        """The cells; the goal says whether it was reached."""
        times = self.many / self.few
        allowed = MANY / FEW if self.grows else GROWTH
        kept = times <= allowed and (self.most is None or self.many <= self.most)
        limit = "" if self.most is None else f", ≤ {self.most:g}"
        few, many = (f"{one:,.{self.digits}f}" for one in (self.few, self.many))
        goal = f"≤ {allowed:g}×{limit}: {verdict(kept)}"
        return [self.name, str(self.scripts), few, many, f"{times:.2f}", goal]


def timed(act: Callable[[], object]) -> float:
    """How many seconds it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def in_turn(stores: Sequence[Path], act: Callable[[Path], float], times: int) -> list[float]:
    """The median of `act` for each store; they take turns, so that both have the same load."""
    found = [[act(data) for data in stores] for _ in range(times)]
    return [median(one) for one in zip(*found, strict=True)]


def save_ms(data: Path) -> float:
    """Save a new run of one of many scripts."""
    at = datetime.now(UTC)
    script = f"script-{at.microsecond % SCRIPTS:03}.js"
    new = make_run(test_id=new_test_id(at), timestamp=at, script=script, comparable=True)
    return timed(lambda: Store(data).save(new)) * 1000


def start_s(served: Daemon) -> tuple[float, float]:
    """Seconds from the start of a daemon until it watches, and MiB when it has idled."""
    seconds = timed(served.start)
    assert served.process is not None
    wait(2.0)
    memory = memory_mib(served.process.pid)["VmRSS"]
    served.end()
    return seconds, memory


def prune_s(data: Path, days: timedelta) -> tuple[int, float]:
    """Remove the runs older than that; their number and the seconds."""
    settings = load(
        data=data, retention__days=days.days, retention__full_days=0, retention__detail_days=0
    )
    began = time.perf_counter()
    done = prune(settings, Store(data), now=datetime.now(UTC))
    return len(done.removed), time.perf_counter() - began


def looks() -> dict[str, Callable[[Store], object]]:
    """What is looked at, by its name in the table."""
    workload = make_run().snapshot
    assert workload is not None
    baseline = {"workload": workload.workload, "comparable": True}
    return {
        "latest history, 20 runs, ms": lambda store: store.history(limit=20),
        "baseline of a script, 120 runs, ms": lambda store: store.history(SCRIPT, 120, **baseline),
        "history of a script that never ran, ms": lambda store: store.history("no.js", 1),
        "search, first 50, ms": lambda store: store.search(Query(severity="high")),
        "search of the anomalies of a script, ms": lambda store: store.search(
            Query(script=SCRIPT, anomalies_only=True)
        ),
        "search in vain, ms": lambda store: store.search(Query(text="nothing of this")),
        "statistics of 3 days, ms": lambda store: store.statistics(days=3),
        "statistics of 3,650 days, ms": lambda store: store.statistics(days=3650),
        "trend of a script, 1,000 runs, ms": lambda store: store.search(
            Query(script=SCRIPT, reruns=False), limit=1000
        ),
        STATES: lambda store: store.latest_states(),
    }


def filled_with_few_scripts(data: Path) -> None:
    """Store few runs, over as much time as the many, so that a script has as many runs."""
    store = _written(data, FEW, apart=APART * MANY / FEW, scripts=FEW_SCRIPTS)
    store.reindex()
    store.check_index()


def filled(data: Path, runs: int) -> float:
    """Store so many runs and those to prune; returns the seconds of a reindex."""
    store = _written(data, runs, apart=APART, scripts=SCRIPTS)
    old = datetime.now(UTC) - APART * runs
    for number in range(PRUNED + 1):
        at = old - (OLDER if number else OLDEST) - number * APART
        write(store, [_old(at, number)])
    return timed(store.reindex)


def _written(data: Path, runs: int, *, apart: timedelta, scripts: int) -> Store:
    """The run files up to now, without an index."""
    store, until = Store(data), datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
    write(store, made(runs, until=until, apart=apart, scripts=scripts))
    return store


def _old(at: datetime, number: int) -> dict[str, object]:
    """A run that is no baseline."""
    record = next(made(1, until=at, apart=APART, scripts=1))
    return record | {"comparable": False, "script": f"script-{number % SCRIPTS:03}.js"}


def pruned(stores: Sequence[Path]) -> dict[str, list[float]]:
    """Milliseconds of removing one run, a hundred, and none."""
    found: dict[str, list[float]] = {}
    for data in stores:  # the first call in a process compiles patterns and models
        assert prune_s(data, APART * MANY + 2 * OLDEST)[0] == 0
    for name, wanted, older in (
        ("pruning one run, ms", 1, (OLDER + OLDEST) / 2),
        (f"pruning {PRUNED} runs, ms each", PRUNED, OLDER / 2),
        ("pruning nothing, ms", 0, OLDER / 2),
    ):
        found[name] = []
        for data, runs in zip(stores, (FEW, MANY), strict=True):
            count, seconds = prune_s(data, APART * runs + older)
            assert count == wanted, count
            found[name].append(seconds / max(count, 1) * 1000)
    return found


def figures(daemons: Sequence[Daemon], few_scripts: Path) -> dict[str, list[float]]:
    """Every figure over few and many runs, by its name in the table."""
    stores = [served.data for served in daemons]
    filled_with_few_scripts(few_scripts)
    found = {"reindex, s": [filled(data, n) for data, n in zip(stores, (FEW, MANY), strict=True)]}
    wait(3.0)
    for data in stores:
        Store(data).check_index()  # as the daemon does each hour
    started = [[start_s(served) for served in daemons] for _ in range(STARTS + 1)]
    took = list(zip(*started[1:], strict=True))  # the first compiles modules
    found["start → ready, s"] = [median([s for s, _ in one]) for one in took]
    found["idle memory, MiB"] = [median([mib for _, mib in one]) for one in took]
    for name, look in looks().items():
        beside = [few_scripts, stores[1]] if is_of_a_year(name) else stores
        found[name] = in_turn(
            beside, lambda data, look=look: timed(lambda: look(Store(data))) * 1000, LOOKS
        )
    found[STATES] = [ms / n for ms, n in zip(found[STATES], (FEW_SCRIPTS, SCRIPTS), strict=True)]
    found |= pruned(stores)
    found["index on the disk, MB"] = [sizes(data / "index") / 1e6 for data in stores]
    found["save, ms"] = in_turn(stores, save_ms, SAVES)
    return found


def measure(work: Path) -> Table:
    """Over few runs and over many, each in a folder of its own."""
    with Target() as target, ExitStack() as ended:
        daemons = [Daemon(work / str(runs)) for runs in (FEW, MANY)]
        for served in daemons:
            ended.callback(served.close)
            served.write("shop.js", hitting(f"{target.url}/shop"))
        found = figures(daemons, work / "few-scripts")
    limits = {"start → ready, s": READY_S, "pruning one run, ms": PRUNE_MS}
    grow = {"reindex, s", "index on the disk, MB"}
    measures = [
        Measure(
            name=name,
            scripts=FEW_SCRIPTS if is_of_a_year(name) else SCRIPTS,
            few=few,
            many=many,
            digits=2 if name.startswith("start") else 1,
            most=limits.get(name),
            grows=name in grow,
        )
        for name, (few, many) in found.items()
    ]
    return Table(
        title="A million stored runs",
        columns=["", "scripts", f"{FEW:,} runs", f"{MANY:,} runs of {SCRIPTS}", "times", "goal"],
        rows=[one.row() for one in measures],
        notes=[
            f"Medians of {SAVES} saves, {LOOKS} looks with nothing in memory and {STARTS} starts, "
            "in turn over few runs and over many. A run file has 4 KB, and each script runs every "
            f"four hours. The few runs are of {SCRIPTS} scripts, too. For a question about one "
            f"script or all months they are of {FEW_SCRIPTS} scripts over as much time.",
        ],
    )
