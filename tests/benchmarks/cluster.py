"""Runs on a cluster: exact sums, the cost of a hundred runners' pushes, and of saving their run."""

from __future__ import annotations

import asyncio
import csv
import math
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from idle import cpu_s, memory_mib
from stage import FIVE_ENDPOINTS, Table, median, verdict
from stage import K6 as K6_PATH

from k6d.analysis.verdict import judge_by_limits
from k6d.core.model import Trigger
from k6d.execution.capture import Capture
from k6d.execution.executor import Order
from k6d.execution.kubernetes import result, thresholds
from k6d.execution.kubernetes.captures import Captures
from k6d.execution.kubernetes.lifecycle import Ended
from k6d.execution.kubernetes.pod_log import PodLog
from k6d.execution.kubernetes.pods import RunnerPod
from k6d.execution.kubernetes.testrun import Placement
from k6d.execution.local.k6 import K6
from k6d.execution.measure import measured
from k6d.execution.record import recorded as recorded_run
from k6d.execution.workdir import UnderWay
from k6d.settings import load
from k6d.storage.record import new_test_id
from k6d.storage.store import Store
from support import kubernetes_replay as replay
from support.daemon import Daemon
from support.kubernetes import Cluster
from support.serving import free_port
from support.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.core.model import Run
    from k6d.settings import Settings

PARALLEL = (1, 2, 4, 8)
ITERATIONS, VUS = 400, 16  # five requests each
BUCKET = 2 ** (1 / 8)  # of k6's histograms
MANY = 100
RECORDED_S = 30
SAVES = 20
GOAL_PERCENT, GOAL_MIB, GOAL_MS = 0.1, 80, 200
GOAL_CORE = 0.5
STATS = {
    "median": (0.5, "response_time_med"),
    "p95": (0.95, "response_time_p95"),
    "p99": (0.99, "response_time_p99"),
}


def settings(cluster: Cluster, runners: int, **more: str) -> dict[str, str]:
    """k6d's variables for a run in the cluster."""
    port = str(free_port())
    return {
        "K6D_K6__EXECUTOR": "kubernetes",
        "K6D_KUBERNETES__KUBECONFIG": str(cluster.kubeconfig),
        "K6D_KUBERNETES__PARALLELISM": str(runners),
        "K6D_KUBERNETES__RECEIVER_URL": f"http://127.0.0.1:{port}",
        "K6D_KUBERNETES__RECEIVER_PORT": port,
        "K6D_COMPARE__CONFIRM": "0",
    } | more


def latency() -> float:
    """A response time with a long tail, in seconds."""
    return random.lognormvariate(math.log(0.008), 0.6)


def samples(folder: Path) -> list[float]:
    """The response times that the runners wrote down themselves, in ms, in their order of size."""
    found = []
    for path in (folder / "pods").glob("*/tmp/samples.csv"):
        with path.open(encoding="utf-8") as file:
            rows = csv.DictReader(file)
            found += [
                float(row["metric_value"])
                for row in rows
                if row["metric_name"] == "http_req_duration"
            ]
    return sorted(found)


def quantile(ordered: list[float], q: float) -> float:
    """As k6 computes it."""
    at = q * (len(ordered) - 1)
    low = ordered[math.floor(at)]
    return low + (ordered[math.ceil(at)] - low) * (at - math.floor(at))


def exactness(work: Path, runners: int) -> list[str]:
    """A row: one run, compared with what the target counted and the runners wrote down."""
    folder = work / f"exact-{runners}"
    with Target() as target, Cluster(folder / "cluster") as cluster:
        cluster.also.extend(("--out", "csv=samples.csv"))
        for page in ("home", "search", "cart", "login", "checkout"):
            target.latency[f"/{page}"] = latency
        target.status["/login"] = lambda: 500 if random.random() < 0.1 else 200
        daemon = Daemon(folder / "k6d")
        plan = f"vus: {VUS}, iterations: {ITERATIONS}"
        daemon.write("shop.js", FIVE_ENDPOINTS.format(load=plan, url=target.url, more=""))
        done = daemon.call("run", "shop.js", **settings(cluster, runners))
        (run,) = daemon.runs("shop.js") or [None]
        assert run is not None, done.stdout + done.stderr
        assert run.runners, done.stdout + done.stderr
        came = target.requests
        failed = sum(1 for one in target.served if one.status >= 400)
    ordered = samples(folder / "cluster")
    return exact_row(run, runners, came=dict(came), failed=failed, ordered=ordered)


def exact_row(
    run: Run, runners: int, *, came: dict[str, int], failed: int, ordered: list[float]
) -> list[str]:
    """Compare one run."""
    endpoints = {f"{one.method} {one.name}": one.count for one in run.breakdown.endpoints}
    same = (
        run.metrics.total_requests == sum(came.values()) == len(ordered)
        and run.metrics.failed_requests == failed
        and endpoints == came
        and run.metrics.iterations == ITERATIONS
    )
    mean = sum(ordered) / len(ordered)
    off = abs((run.metrics.response_time_avg or 0.0) / mean - 1) * 100
    ratios = {
        name: (getattr(run.metrics, field) or 0.0) / quantile(ordered, q)
        for name, (q, field) in STATS.items()
    }
    within = all(1 / BUCKET <= one <= BUCKET for one in ratios.values())
    return [
        f"{runners} runner{'s' * (runners > 1)}: {sum(came.values()):,} requests, {failed} failed",
        "equal" if same else "**differ**",
        f"{off:.4f} %",
        ", ".join(f"{name} {(ratio - 1) * 100:+.1f} %" for name, ratio in ratios.items()),
        f"equal, ≤ {GOAL_PERCENT} %, one bucket: "
        f"{verdict(same and off <= GOAL_PERCENT and within)}",
    ]


def recorded(work: Path) -> Path:
    """A real k6 over five endpoints for half a minute, for a hundred runners."""
    folder = work / "recorded"
    folder.mkdir()
    script = folder / "shop.js"
    with Target() as target:
        plan = f"vus: 5, duration: '{RECORDED_S}s'"
        text = FIVE_ENDPOINTS.format(load=plan, url=target.url, more="sleep(0.1);")
        script.write_text(text, encoding="utf-8")
        replay.record(folder, [K6_PATH, "run", "--quiet", script], runners=MANY)
    return folder


def receiving(work: Path, folder: Path) -> list[list[str]]:
    """Rows: a daemon whose hundred runners replay what was recorded."""
    with Cluster(work / "many") as cluster:
        cluster.images["replay"] = replay.program(work / "k6-replay", folder)
        daemon = Daemon(work / "k6d-many")
        plan = f"vus: {MANY}, duration: '{RECORDED_S}s'"
        text = FIVE_ENDPOINTS.format(load=plan, url="http://127.0.0.1:1", more="sleep(0.1);")
        image = {"K6D_KUBERNETES__IMAGE": "grafana/k6:replay"}
        daemon.start(**settings(cluster, MANY, **image))
        assert daemon.process is not None
        pid = daemon.process.pid
        idle = memory_mib(pid)["VmRSS"]
        daemon.write("shop.js", text)
        daemon.until_logged(f"all {MANY} runners started")
        before, began = cpu_s(pid), time.monotonic()
        time.sleep(RECORDED_S - 5)
        core = (cpu_s(pid) - before) / (time.monotonic() - began)
        under_load = memory_mib(pid)["VmRSS"]
        run = daemon.run("shop.js")
        peak = memory_mib(pid)["VmHWM"]
        file_kb = daemon.store.run_path(run.test_id).stat().st_size / 1000
        daemon.end()
    outcome, requests = run.execution.outcome, run.metrics.total_requests
    return [
        [
            f"{MANY} runners push once a second",
            f"{core:.2f} of a core",
            *("", ""),
            f"< {GOAL_CORE}: {verdict(core < GOAL_CORE)}",
        ],
        [
            f"memory meanwhile, {idle:.0f} MiB before",
            f"{under_load:.0f} MiB",
            f"{peak:.0f} MiB at most",
            f"{outcome}, {requests:,} requests, {file_kb:.0f} KB",
            f"≤ {GOAL_MIB} MiB: {verdict(under_load <= GOAL_MIB)}",
        ],
    ]


def saving(work: Path, folder: Path) -> list[str]:
    """A row: from the last line of the last log to the saved run, in this process."""
    times, cpu = asyncio.run(saves(work / "saves", folder))
    middle = median(times) * 1000
    return [
        f"add up, judge and save a run of {MANY} runners",
        f"{middle:.0f} ms",
        f"{max(times) * 1000:.0f} ms at most",
        f"{median(cpu) * 1000:.0f} ms of CPU, {len(times)} saves",
        f"≤ {GOAL_MS} ms: {verdict(middle <= GOAL_MS)}",
    ]


async def saves(home: Path, folder: Path) -> tuple[list[float], list[float]]:
    """The seconds of each save, and those of CPU."""
    chosen = load(None, data=home / "data", scripts=home)
    store = Store(chosen.data)
    times: list[float] = []
    cpu: list[float] = []
    for number in range(SAVES):
        ran, order = await asyncio.to_thread(left, home / str(number), folder, chosen)
        now = datetime.now(UTC)
        under_way = UnderWay(
            test_id=new_test_id(now), script="shop.js", trigger=Trigger.MANUAL, started=now
        )
        began, used = time.monotonic(), time.process_time()
        made = await measured(order, result.observed(ran), settings=chosen)
        _, judged = judge_by_limits(made.result, limits=chosen.limits)
        store.save(recorded_run(under_way, made, verdict=judged))
        times.append(time.monotonic() - began)
        cpu.append(time.process_time() - used)
    return times, cpu


def left(home: Path, folder: Path, chosen: Settings) -> tuple[result.Left, Order]:
    """What a hundred runners left, as the executor has it when all logs are read."""
    (home / "files").mkdir(parents=True)
    options = {"thresholds": {"http_req_duration": ["p(95)<60000"], "checks": ["rate>0.5"]}}
    wanted = thresholds.wanted(options)
    captures = Captures(
        MANY, make=lambda most: Capture(max_series=most), wanted=thresholds.metrics_of(wanted)
    )
    summary = (folder / "summary.json").read_text(encoding="utf-8").splitlines()
    logs, pods = {}, {}
    for number in range(1, MANY + 1):
        for body in replay.pushes(folder, number):
            captures.push(body)
        logs[number] = PodLog(2048)
        for line in summary:
            logs[number].feed(line)
        logs[number].close()
        pods[number] = ended_pod(number)
    order = Order(
        archive=home / "archive.tar",
        folder=home,
        env={},
        options=options,
        tags={},
        timeout_s=None,
    )
    placement = Placement.of(chosen.kubernetes, parallelism=MANY, k6_version="1.1.0")
    ran = result.Left(
        ended=Ended(pods=pods, elapsed_s=float(RECORDED_S)),
        logs=logs,
        captures=captures,
        wanted=wanted,
        placement=placement,
        where="Kubernetes",
        command=["k6", "run"],
        planned_s=float(RECORDED_S),
        deadline_s=60.0,
        binary=K6(path=K6_PATH, version="1.1.0"),
        files=home / "files",
        log_bytes=16384,
    )
    return ran, order


def ended_pod(number: int) -> RunnerPod:
    """A runner that ended well."""
    return RunnerPod(
        number=number,
        name=f"run-{number}",
        node=f"node-{number % 10}",
        running=False,
        ended=True,
        exit_code=0,
        reason="Completed",
        message=None,
        unschedulable=False,
        init_failed=False,
        deleting=False,
    )


def measure(work: Path) -> Table:
    """All three."""
    rows = [exactness(work, runners) for runners in PARALLEL]
    folder = recorded(work)
    rows += receiving(work, folder)
    rows.append(saving(work, folder))
    return Table(
        title="Runs on a cluster",
        columns=["", "counts", "average off by", "quantiles off by", "goal"],
        rows=rows,
        notes=[
            "Real k6 processes run in the cluster of the tests, on this machine. Counts are "
            "compared with the target's own, averages and quantiles with all response times that "
            "the runners wrote down.",
            f"The {MANY} runners replay the pushes of one real k6 over five endpoints.",
        ],
    )
