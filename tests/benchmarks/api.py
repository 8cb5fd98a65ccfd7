"""Looking at 10,000 runs: how long answers and pages take, what that costs a run and in memory."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from idle import memory_mib
from save import STORED, fill
from stage import FIVE_ENDPOINTS, PATIENCE_S, Table, Target, many_requests, median, verdict, wait

from support.daemon import until
from support.serving import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

ASKED = 200
PAIRS = 3
PER_SECOND = 50
LASTS_S = 30
FULL = 150_000  # requests of the run at full CPU
GOAL_RATIO = 0.98
GOAL_MIB = 50
IDLE = "20s"  # by then the process that answers ends; by default it stays longer
PAGE_MS = 300


@dataclass(slots=True)
class Client:
    """One connection, kept open, as a browser does."""

    port: int
    times_s: list[float] = field(default_factory=list)

    def ask(self, paths: Sequence[str], *, per_second: float | None = None) -> None:
        """GET each path; as fast as answers come, or at that rate, late ones at once."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        start = time.monotonic()
        for number, path in enumerate(paths):
            if per_second:
                time.sleep(max(0.0, start + number / per_second - time.monotonic()))
            began = time.monotonic()
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            self.times_s.append(time.monotonic() - began)
            assert answer.status == 200, (path, answer.status)
        connection.close()


def answers(test_id: str, older: str) -> list[tuple[str, float, Callable[[int], str]]]:
    """What is asked for, its goal in ms, and the path of each request.

    Parameters change from request to request, so that no kept answer is given again.
    """
    api = "/api/v1/test"
    return [
        ("history, 20 runs", 50, lambda i: f"{api}/history?limit=20&script=script-{i % 49 + 1}.js"),
        ("search, found", 50, lambda i: f"{api}/search?max_response_time={9000 + i}&limit=20"),
        ("search, all read in vain", 50, lambda i: f"{api}/search?text=nothing{i}"),
        ("statistics, 1-35 days", 100, lambda i: f"{api}/statistics?days={i % 35 + 1}"),
        ("page of scripts", PAGE_MS, lambda _: "/"),
        ("page of a script", PAGE_MS, lambda i: f"/script?name=script-{i % 49 + 1}.js"),
        ("page of a run", PAGE_MS, lambda _: f"/runs/{test_id}"),
        ("page of a comparison", PAGE_MS, lambda _: f"/compare?run={test_id}&to={older}"),
        ("page of runs, searched", PAGE_MS, lambda i: f"/runs?text=nothing{i}"),
        ("page of statistics", PAGE_MS, lambda i: f"/statistics?days={i % 35 + 1}"),
        ("/metrics", PAGE_MS, lambda _: "/metrics"),
    ]


def asked(served: Served) -> list[list[str]]:
    """A row for each answer, while k6 runs; each is asked for once before, to load the code."""
    newest, older = (d["test_id"] for d in served.store.history(limit=2))
    rows = []
    for what, goal_ms, path in answers(newest, older):
        Client(served.port).ask([path(0)])
        client = Client(served.port)
        client.ask([path(number) for number in range(1, ASKED + 1)])
        times = sorted(one * 1000 for one in client.times_s)
        middle, late = median(times), times[int(ASKED * 0.95)]
        goal = f"≤ {goal_ms:.0f} ms: {verdict(middle <= goal_ms)}"
        rows.append([what, f"{middle:.1f} ms", f"{late:.1f}", goal])
    return rows


def while_running(served: Served, url: str) -> list[list[str]]:
    """The same with a run of five endpoints under way."""
    load = "vus: 5, duration: '10m'"
    served.write("load.js", FIVE_ENDPOINTS.format(load=load, url=url, more="sleep(0.1);"))

    def job() -> str | None:
        running = served.get("/api/v1/queue").json["running"]
        return next((j["job"] for j in running if j["live"] and j["live"]["requests"]), None)

    under_way = served.until(job, "k6's first numbers")
    rows = asked(served)
    assert job() == under_way, "the run ended too early"
    served.ask("DELETE", f"/api/v1/queue/{under_way}", token=True)
    served.until(lambda: not served.get("/api/v1/queue").json["running"], "its end")
    return rows


def slowed(served: Served, script: str) -> tuple[float, float, float]:
    """Requests/s of a run with nobody looking and with 50 requests/s, and their ratio: medians."""
    paths = [f"/api/v1/test/history?limit=20&script=script-{i % 49 + 1}.js" for i in range(10_000)]

    def run(*, looked_at: bool) -> float:
        ended = threading.Event()

        def look() -> None:
            number = 0
            while not ended.is_set():
                client.ask(paths[number : number + PER_SECOND], per_second=PER_SECOND)
                number = (number + PER_SECOND) % len(paths)

        client = Client(served.port)
        looking = threading.Thread(target=look)
        if looked_at:
            looking.start()
        done = served.post("/api/v1/scripts/run?wait=true", {"script": script})
        ended.set()
        if looked_at:
            looking.join()
        assert done.status == 200, done.text
        return float(done.json["metrics"]["requests_per_second"])

    alone, watched = [], []
    for pair in range(PAIRS):
        order = (False, True) if pair % 2 else (True, False)
        for looked_at in order:
            (watched if looked_at else alone).append(run(looked_at=looked_at))
    ratios = [two / one for one, two in zip(alone, watched, strict=True)]
    return median(alone), median(watched), median(ratios)


def first_run(served: Served, script: str) -> None:
    """Wait for the run that a new script gets."""
    deadline = time.monotonic() + 5 * PATIENCE_S
    while not served.store.history(script, 1):
        assert time.monotonic() < deadline, f"{script} did not run"
        wait(0.2)


def cost(served: Served, url: str) -> list[list[str]]:
    """Rows: a run that leaves the machine some air, and one that takes all of it."""
    load = f"vus: 20, duration: '{LASTS_S}s'"
    served.write("paced.js", FIVE_ENDPOINTS.format(load=load, url=url, more="sleep(0.1);"))
    first_run(served, "paced.js")
    alone, watched, ratio = slowed(served, "paced.js")
    rows = [
        [
            f"a run of {alone:.0f} requests/s, asked {PER_SECOND} times a second",
            f"{ratio:.3f}",
            f"{watched:.0f}/s",
            f"≥ {GOAL_RATIO}: {verdict(ratio >= GOAL_RATIO)}",
        ]
    ]
    served.write("full.js", many_requests(url, requests=FULL))
    first_run(served, "full.js")
    alone, watched, ratio = slowed(served, "full.js")
    text = f"a run at full CPU, {alone:.0f} requests/s, asked as often"
    return [*rows, [text, f"{ratio:.3f}", f"{watched:.0f}/s", "none: both want the CPU"]]


def measure(work: Path) -> Table:
    """Answers, then what they cost a run, then memory."""
    with Target() as target:
        served = Served(work / "k6d")
        load = "vus: 5, duration: '10s'"
        script = FIVE_ENDPOINTS.format(load=load, url=target.url, more="sleep(0.1);")
        served.write("shop.js", script)
        settings = {"K6D_COMPARE__CONFIRM": "0", "K6D_API__IDLE": IDLE}
        try:
            served.start(**settings)
            served.run("shop.js")
            served.end()
            fill(served.data)
            served.start(**settings)
            assert served.process is not None
            wait(5.0)
            started = memory_mib(served.process.pid)["VmRSS"]
            rows = while_running(served, target.url) + cost(served, target.url)
            used = memory_mib(served.process.pid, *served.answering())["VmRSS"]
            until(lambda: not served.answering(), "the process that answers to end")
            wait(5.0)
            rested = memory_mib(served.process.pid)["VmRSS"]
        finally:
            served.close()
    for what, mib in (("started, nobody looked", started), ("after all of this", rested)):
        goal = f"≤ {GOAL_MIB} MiB: {verdict(mib <= GOAL_MIB)}"
        rows.append([f"idle, {what}", f"{mib:.1f} MiB", "", goal])
    rows.append(["both processes, while somebody looks", f"{used:.1f} MiB", "", "none"])
    return Table(
        title=f"Looking at {STORED:,} runs",
        columns=["", "median", "95 % below", "goal"],
        rows=rows,
        notes=[
            f"{ASKED} requests each, one after the other, while k6 runs five endpoints; what is "
            "asked for changes, so that no answer was kept from before.",
            f"The runs: medians of {PAIRS} pairs, alone and looked at in turn; the ratio is that "
            "of k6's requests/s.",
        ],
    )
