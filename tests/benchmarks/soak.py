"""A daemon at work for an hour: does it grow? Also draws soak.svg, the plot in README.md.

`make bench ONLY=soak`; SOAK_MINUTES says how long. The load: every script once a minute by its
schedule, edits, a target that fails now and then (so incidents open, are told and resolve),
texts posted to the API, and somebody who looks at everything there is to look at.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from idle import memory_mib
from stage import PATIENCE_S, ROOT, Table, verdict, wait
from stored import fill

from k6d.core.numbers import seconds
from k6d.web.rendering.svg import Plot, legend, tag
from support.daemon import hitting, lasting
from support.receivers import HttpReceiver
from support.serving import Served
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MINUTES = float(os.environ.get("SOAK_MINUTES", "60"))
SCRIPTS = 8
# A past as dense as the load, made of the scripts' runs under it, so that what is looked at and
# compared with has its usual size from the start.
PAST_RUNS, PAST_APART = 12_500, timedelta(seconds=4)
PAST_MINUTES = 6.0
SAMPLE_S, EDIT_S, TEXT_S, LISTEN_S = 5.0, 17.0, 29.0, 41.0
CYCLE_S, FAILING_S = 300.0, 80.0  # the target fails for a while in each cycle
WARM_UP = 1 / 6  # of the time: everything has been used once, caches are full
BLOCK_S = 150.0  # the slope is fitted to medians of blocks, which are nearly independent
GOAL_MIB = 1.0  # an hour, plus what the fit cannot tell from nothing
PLOT = Path(__file__).with_name("soak.svg")
STYLE = """
svg { font: 11px sans-serif; background: #fff; } path { fill: none; } .y { text-anchor: end; }
.x { text-anchor: middle; } .guide { stroke: #d5d8e2; } .line { stroke-width: 1.5; }
.line.a { stroke: #4338ca; } .line.b { stroke: #c2410c; } .line.c { stroke: #15693a; }
.line.d { stroke: #565b6e; } .swatch.a { fill: #4338ca; } .swatch.b { fill: #c2410c; }
.swatch.c { fill: #15693a; } .swatch.d { fill: #565b6e; }
"""
LOOKS = (
    *("/", "/runs", "/queue", "/statistics", "/script?name=shop-1.js", "/docs", "/metrics"),
    *("/api/v1/test/history?limit=20", "/api/v1/test/statistics?days=7", "/api/v1/incidents"),
    *("/api/v1/scripts", "/api/v1/test/search?anomalies_only=true", "/api/v1/test/health"),
)

Sample = dict[str, float]


@dataclass(slots=True)
class Load:
    """What happens to the daemon; `looks` counts requests that were answered."""

    served: Served
    target: Target
    edits: int = 0
    looks: int = 0
    texts: int = 0
    _paths: Iterator[str] = field(default_factory=lambda: cycle(LOOKS))
    _next: dict[str, float] = field(default_factory=dict)

    def second(self, at: float) -> None:
        """What is due `at` seconds after the start."""
        self.target.status["/checkout"] = 500 if at % CYCLE_S > CYCLE_S - FAILING_S else 200
        self.target.served.clear()
        self._look(next(self._paths))
        for every_s, act in ((EDIT_S, self._edit), (TEXT_S, self._post), (LISTEN_S, self._listen)):
            if at >= self._next.get(act.__name__, every_s):
                self._next[act.__name__] = at + every_s
                act()

    def write(self, number: int) -> str:
        """One of the scripts, with contents it never had; the last of them asks for /checkout."""
        self.edits += 1
        page = "checkout" if number == SCRIPTS else f"page-{number}"
        own = "ext: { k6d: { schedule: '* * * * *' } }"
        text = lasting(f"{self.target.url}/{page}", seconds=2, options=own)
        name = f"shop-{number}.js"
        self.served.write(name, f"{text}// {self.edits}\n")
        return name

    def _look(self, path: str) -> None:
        assert self.served.get(path).status == 200, path
        self.looks += 1

    def _edit(self) -> None:
        self.write(1 + self.edits % SCRIPTS)

    def _post(self) -> None:
        self.texts += 1
        body = {"script": hitting(f"{self.target.url}/text", iterations=5), "name": "posted"}
        assert self.served.post("/api/v1/test/run?wait=false", body).status == 202

    def _listen(self) -> None:
        """Somebody opens the live page, hears the first event and goes away."""
        connection = HTTPConnection("127.0.0.1", self.served.port, timeout=PATIENCE_S)
        connection.request("GET", "/api/v1/live")
        assert connection.getresponse().readline() == b"event: queue\n"
        connection.close()


def sample(served: Served, at: float) -> Sample:
    """What the daemon and the process that answers requests hold `at` seconds after the start."""
    assert served.process is not None
    queue = served.get("/api/v1/queue").json
    daemon, both = [served.process.pid], [served.process.pid, *served.answering()]
    processes = [Path(f"/proc/{pid}") for pid in both]
    return {
        "at": at,
        "RSS, MiB": memory_mib(*both)["VmRSS"],
        "of the daemon, MiB": memory_mib(*daemon)["VmRSS"],
        "private memory, MiB": memory_mib(*both)["RssAnon"],
        "open files": sum(len(list((process / "fd").iterdir())) for process in processes),
        "threads": sum(len(list((process / "task").iterdir())) for process in processes),
        "jobs waiting": len(queue["pending"]),
    }


def slope(samples: Sequence[Sample], name: str) -> tuple[float, float]:
    """The trend of `name` an hour, and two standard errors of it, from the medians of blocks."""
    blocks: dict[int, list[Sample]] = {}
    for one in samples:
        blocks.setdefault(int((one["at"] - samples[0]["at"]) / BLOCK_S), []).append(one)
    hours = [statistics.fmean(one["at"] for one in block) / 3600 for block in blocks.values()]
    values = [statistics.median(one[name] for one in block) for block in blocks.values()]
    if len(hours) < 4:
        return float("nan"), float("nan")
    fitted, start = statistics.linear_regression(hours, values)
    middle = statistics.fmean(hours)
    error = sum((y - start - fitted * x) ** 2 for x, y in zip(hours, values, strict=True))
    spread = sum((x - middle) ** 2 for x in hours)
    return fitted, 2 * (error / (len(hours) - 2) / spread) ** 0.5


def commit() -> str:
    """The commit of the code that was measured."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def plot(samples: Sequence[Sample], title: str) -> None:
    """Memory over time, from 0, as an SVG that needs nothing else."""
    names = {"RSS, MiB": "a", "of the daemon, MiB": "b", "open files": "c", "threads": "d"}
    values = [one[name] for name in names for one in samples]
    end = samples[-1]["at"]
    chart = Plot(start=0, end=end, interval_s=SAMPLE_S, values=values, unit="", height=360)
    lines = (
        chart.line([(one["at"], one[name]) for one in samples], kind)
        for name, kind in names.items()
    )
    style = tag("style", STYLE)
    drawn = chart.svg(style, *lines, legend(names), label=title, kind="line", name_of=seconds)
    PLOT.write_text(str(drawn).replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1) + "\n")


def soak(load: Load, minutes: float, *, watched: Callable[[float], None]) -> None:
    """Put the load on for so long; `watched` is called at each second."""
    began = time.monotonic()
    while (at := time.monotonic() - began) < minutes * 60:
        load.second(at)
        watched(at)
        wait(max(0.0, 1.0 - (time.monotonic() - began - at)))


def past(served: Served, target: Target, **settings: str) -> Load:
    """Runs of some minutes under the load, and many copies of them before; the daemon is off."""
    load = Load(served, target)
    names = [load.write(number) for number in range(1, SCRIPTS + 1)]
    served.start(**settings)
    soak(load, PAST_MINUTES, watched=lambda _: None)
    served.end()
    fill(served.data, PAST_RUNS, names, apart=PAST_APART)
    return load


def measure(work: Path) -> Table:
    """An hour of load after a past of some thousand runs."""
    samples: list[Sample] = []
    served = Served(work / "k6d")
    with Target() as target, HttpReceiver() as receiver:
        settings = {"K6D_NOTIFY__URLS": f'["json://127.0.0.1:{receiver.port}/"]'}

        def watched(at: float) -> None:
            if not samples or at >= samples[-1]["at"] + SAMPLE_S:
                samples.append(sample(served, at))

        try:
            edits = past(served, target, **settings).edits
            stored, told = len(served.store.history(limit=None)), len(receiver.taken)
            served.start(**settings)
            load = Load(served, target, edits)
            soak(load, MINUTES, watched=watched)
            runs = len(served.store.history(limit=None)) - stored
            errors = sum(" ERROR " in line for line in served.log.splitlines())
        finally:
            served.close()
    warm = [one for one in samples if one["at"] >= MINUTES * 60 * WARM_UP]
    rows = [row(warm, name) for name in warm[0] if name != "at"]
    date, code = f"{time.gmtime().tm_year}-{time.strftime('%m-%d', time.gmtime())}", commit()
    plot(samples, f"k6d serve under load, {date}, {code}")
    return Table(
        title=f"{MINUTES:.0f} minutes under load",
        columns=["", "median", "an hour", "least–most", "goal"],
        rows=rows,
        notes=[
            f"{runs:,} runs, {load.edits - edits} edits, {load.texts} texts posted, "
            f"{load.looks:,} pages and answers, {len(receiver.taken) - told} messages delivered, "
            f"{errors} errors in the log; {stored:,} runs stored before.",
            "The daemon and the process that answers requests, which never gets to rest here, in "
            f"the last {MINUTES * (1 - WARM_UP):.0f} minutes; "
            f"a line fitted to medians of {BLOCK_S:.0f} s, ± two standard errors.",
            f"Measured on {date}, commit {code}.",
        ],
    )


def row(warm: Sequence[Sample], name: str) -> list[str]:
    """The table's row for one of the things that could grow."""
    values = [one[name] for one in warm]
    an_hour, error = slope(warm, name)
    goal = ""
    if name == "RSS, MiB":
        goal = f"flat (≤ {GOAL_MIB:g} MiB an hour): {verdict(an_hour <= GOAL_MIB)}"
    digits = 1 if "MiB" in name else 0
    return [
        name,
        f"{statistics.median(values):.{digits}f}",
        f"{an_hour:+.2f} ± {error:.2f}",
        f"{min(values):.{digits}f}–{max(values):.{digits}f}",
        goal,
    ]
