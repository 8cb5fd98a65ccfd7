"""Pages over 10,000 runs: how long each takes, and the memory of the process that answers."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from api import Client
from idle import memory_mib
from stage import Table, median, verdict

from support.showcase import BUSY, SHOP, Show

if TYPE_CHECKING:
    from pathlib import Path

RUNS = 10_000
ASKED = 20
PAGE_MS, TREND_MS, GOAL_MIB = 200, 300, 70


def paths(show: Show) -> list[tuple[str, float, str]]:
    """What is asked for, its goal in ms, and the path."""
    shop = [row["test_id"] for row in show.store.history(SHOP, 2)]
    checkout = "response_time_p95 POST http://127.0.0.1:8090/checkout"

    def script(**about: str) -> str:
        return f"/script?{urlencode({'name': BUSY, 'range': 'all', **about})}"

    return [
        ("home", PAGE_MS, "/"),
        ("script, 30 runs", PAGE_MS, f"/script?name={SHOP}"),
        ("script, p95 of 1,000 runs", TREND_MS, script(metric="response_time_p95")),
        ("script, an endpoint of 1,000 runs", TREND_MS, script(metric=checkout)),
        ("run", PAGE_MS, f"/runs/{shop[0]}"),
        ("compare", PAGE_MS, f"/compare?to={shop[1]}&run={shop[0]}"),
        ("runs", PAGE_MS, "/runs"),
        ("runs, searched in vain", PAGE_MS, "/runs?text=nothing"),
        ("statistics of 30 days", PAGE_MS, "/statistics?days=30"),
        ("queue", PAGE_MS, "/queue"),
    ]


def measure(work: Path) -> Table:
    """Each page once to load the code, then again and again."""
    show = Show(work / "home").fill(many=RUNS).serve()
    rows = []
    try:
        for what, goal_ms, path in paths(show):
            client = Client(show.port)
            client.ask([path])
            first_ms = client.times_s.pop() * 1000
            client.ask([path] * ASKED)
            times = sorted(one * 1000 for one in client.times_s)
            goal = f"≤ {goal_ms:.0f} ms: {verdict(median(times) <= goal_ms)}"
            rows.append([what, f"{median(times):.1f} ms", f"{first_ms:.0f} ms first", goal])
        several = [
            threading.Thread(target=Client(show.port).ask, args=(["/"] * 5,)) for _ in "1234"
        ]
        for one in several:
            one.start()
        for one in several:
            one.join()
        time.sleep(2)
        (process,) = show.answering()
        used = memory_mib(process)["VmRSS"]
        goal = f"≤ {GOAL_MIB} MiB: {verdict(used <= GOAL_MIB)}"
        rows.append(["the process that answers", f"{used:.1f} MiB", "", goal])
    finally:
        show.close()
    return Table(
        title=f"Pages over {RUNS:,} runs",
        columns=["", "median", "", "goal"],
        rows=rows,
        notes=[f"{ASKED} requests each, after a first one that loads the code."],
    )
