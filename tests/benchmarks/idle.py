"""What a daemon costs that has nothing to do."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

from stage import PATIENCE_S, Table, Target, one_request, verdict, wait

from support.daemon import until
from support.serving import Served

WATCHED_S = 30.0
RUNS = 5
LIBRARIES = 1_000
PATHS = ("/", "/api/v1/test/history", "/metrics", "/openapi.json")
IDLE = "10s"  # by then the process that answers requests ends; by default it stays longer
HELPER = """import http from 'k6/http';
import { check } from 'k6';

/** Logs in; the options are those of k6. */
export function login(base, name, options = {}) {
  const answer = http.post(`${base}/login`, JSON.stringify({ name }), options);
  check(answer, { 'logged in': (r) => r.status === 200 });
  switch (answer.status) {
    case 200:
      return answer.json('token');
    default:
      return null;
  }
}
export const half = (n) => (n + 1) / 2;
"""
GOAL_MIB = 50
GOAL_PERCENT = 0.5


def memory_mib(*pids: int) -> dict[str, float]:
    """VmRSS, its private part and its peak, of all these processes."""
    total = dict.fromkeys(("VmRSS", "RssAnon", "VmHWM"), 0.0)
    for pid in pids:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        found = dict(line.split(":", 1) for line in lines)
        for name in total:
            total[name] += int(found[name].split()[0]) / 1024
    return total


def cpu_s(pid: int) -> float:
    """User and system time so far, of the process and of the children it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def watched(served: Served, what: str) -> list[str]:
    """A row: half a minute of idling."""
    assert served.process is not None
    pid = served.process.pid
    wait(5.0)
    before, began = cpu_s(pid), time.monotonic()
    time.sleep(WATCHED_S)
    percent = (cpu_s(pid) - before) / (time.monotonic() - began) * 100
    memory = memory_mib(pid, *served.answering())
    kept = memory["VmRSS"] <= GOAL_MIB and percent < GOAL_PERCENT
    return [
        what,
        f"{memory['VmRSS']:.1f}",
        f"{percent:.2f} %",
        f"{memory['RssAnon']:.1f}",
        f"{memory['VmHWM']:.1f}",
        f"≤ {GOAL_MIB} MiB, < {GOAL_PERCENT} %: {verdict(kept)}",
    ]


def in_use(served: Served) -> list[str]:
    """A row: memory of the daemon and of the process that answers, just after requests."""
    assert served.process is not None
    memory = memory_mib(served.process.pid, *served.answering())
    figures = [f"{memory[name]:.1f}" for name in ("VmRSS", "RssAnon", "VmHWM")]
    return ["both processes, while somebody looks", figures[0], "", *figures[1:], "none"]


def looked_at(served: Served) -> float:
    """Put helper modules into the folder; seconds until all are known by their text, without k6."""
    began, known = time.monotonic(), served.store.state("scripts")
    for number in range(LIBRARIES):
        served.write(f"lib/helper-{number}.js", f"// {number}\n{HELPER}")
    while len(found := known.all()) < LIBRARIES:
        assert time.monotonic() < began + PATIENCE_S, "not looked at in time"
        time.sleep(0.2)
    took_s = time.monotonic() - began
    reasons = Counter(one["left_alone"] for one in found.values())
    assert reasons["it exports nothing that k6 could call"] == LIBRARIES, reasons
    return took_s


def measure(work: Path) -> Table:
    """With its API on: after its start, a few runs, requests, and over a thousand files."""
    with Target() as target:
        Served(work / "warm").start().end()  # so that no module has to be compiled
        served = Served(work / "k6d").start(K6D_API__IDLE=IDLE)
        try:
            rows = [watched(served, "started, nothing run")]
            for number in range(1, RUNS + 1):
                served.write("shop.js", one_request(target.url, number=number))
                served.run("shop.js", number)
            rows.append(watched(served, f"after {RUNS} runs"))
            for path in PATHS:
                assert served.ask("GET", path).status == 200, path
            rows.append(in_use(served))
            until(lambda: not served.answering(), "the process that answers to end")
            rows.append(watched(served, "after requests to its API and dashboard"))
            took_s = looked_at(served)
            rows.append(watched(served, f"with {LIBRARIES:,} helper modules in the folder"))
        finally:
            served.end()
    return Table(
        title="An idle daemon",
        columns=["", "RSS MiB", "CPU of one core", "private MiB", "peak MiB", "goal"],
        rows=rows,
        notes=[
            f"Over {WATCHED_S:.0f} s each. The private part is what a second process would add.",
            f"The process that answers requests ends when nobody asks, here after {IDLE}.",
            f"The {LIBRARIES:,} helper modules were known {took_s:.1f} s after the first was "
            "written; k6 was started for none.",
        ],
    )
