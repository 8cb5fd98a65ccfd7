"""Runs on a cluster: the API and the operator are played, k6 and its numbers are real."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from k6d.core.job import Job
from k6d.core.model import Outcome, Run, Trigger
from k6d.jobs.pipeline import Pipeline
from k6d.jobs.stages import Watching
from k6d.settings import load
from k6d.storage.store import Store
from support.kubernetes import Cluster, Trouble
from support.kubernetes_store import wait_for
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from k6d.execution.executor import Live

SCRIPT = """
import http from "k6/http";
import { check, sleep } from "k6";
export const options = {
  scenarios: { s: { executor: "shared-iterations", vus: 4, iterations: 41 } },
  thresholds: {
    http_reqs: ["count==82", "count<60"],
    "http_reqs{name:slow}": ["count===41"],
    checks: ["rate==1"],
  },
  ext: { k6d: { parallelism: RUNNERS } },
};
export default function () {
  http.get(`${__ENV.TARGET}/slow`, { tags: { name: "slow" } });
  const answer = http.get(`${__ENV.TARGET}/broken`, { tags: { name: "broken" } });
  check(answer, { "is 500": (r) => r.status === 500 });
  sleep(0.1);
}
"""
LONG = """
import http from "k6/http";
import { sleep } from "k6";
export const options = { vus: 4, duration: "60s", ext: { k6d: { parallelism: 2 } }, EXTRA };
export default function () { http.get(`${__ENV.TARGET}/`); sleep(0.1); }
"""


class Place:
    """A folder with scripts and data, a cluster and a target."""

    def __init__(self, folder: Path, cluster: Cluster, target: Target) -> None:
        self.folder, self.cluster, self.target = folder, cluster, target
        self.scripts, self.data = folder / "scripts", folder / "data"
        self.scripts.mkdir(parents=True)
        self.stop = asyncio.Event()
        self.live: Callable[[], Live] | None = None

    def settings(self, *, executor: str = "kubernetes", **more: Any) -> Any:
        given: dict[str, Any] = {
            "kubeconfig": str(self.cluster.kubeconfig),
            "receiver_url": "http://127.0.0.1",
            "receiver_port": 0,
            "schedule_limit": 20,
            "start_limit": 20,
        } | more
        values = {f"kubernetes__{name}": value for name, value in given.items()}
        return load(
            scripts=self.scripts,
            data=self.data,
            k6__executor=executor,
            k6__stop_grace=2,
            k6__env={"TARGET": self.target.url},
            api__enabled=False,
            **values,
        )

    async def run(self, text: str, *, name: str = "s.js", **more: Any) -> Run:
        """Run a script by hand."""
        (self.scripts / name).write_text(text)
        settings = self.settings(**more)
        store = Store(self.data)
        pipeline = Pipeline(settings, store, stop=self.stop)
        job = Job(name=name, path=self.scripts / name, trigger=Trigger.MANUAL)

        def started(_under_way: object, live: Callable[[], Live]) -> None:
            self.live = live

        run = await pipeline.run(job, watching=Watching(started=started, stop=self.stop))
        assert run is not None
        return run

    async def replay(self, run: Run) -> Run:
        """Run the stored snapshot of a run again."""
        pipeline = Pipeline(self.settings(), Store(self.data), stop=self.stop)
        return await pipeline.replay(run, env={})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty place."""
    with Cluster(tmp_path / "cluster", grace_s=1.0) as cluster, Target() as target:
        target.status["/broken"] = 500
        target.latency["/slow"] = 0.02
        yield Place(tmp_path / "k6d", cluster, target)


def _left(cluster: Cluster) -> list[str]:
    kinds = ("testruns", "configmaps", "jobs", "pods")
    return [one["metadata"]["name"] for kind in kinds for one in cluster.objects(kind)]


@pytest.mark.parametrize("runners", [1, 2, 4])
async def test_counts_are_the_targets(place: Place, runners: int) -> None:
    """The sum of all runners is what the target counted, and thresholds are judged over it."""
    run = await place.run(SCRIPT.replace("RUNNERS", str(runners)))

    assert run.execution.outcome is Outcome.COMPLETED, run.execution.error
    assert dict(place.target.requests) == {"GET /slow": 41, "GET /broken": 41}
    assert (run.metrics.total_requests, run.metrics.failed_requests) == (82, 41)
    assert {row.name: (row.count, row.failed) for row in run.breakdown.endpoints} == {
        "slow": (41, 0),
        "broken": (41, 41),
    }
    assert {t.expression: t.crossed for t in run.thresholds} == {
        "count==82": False,
        "count<60": True,
        "count===41": False,
        "rate==1": False,
    }
    assert run.execution.exit_code == 99
    assert [one.number for one in run.runners] == list(range(1, runners + 1))
    assert sum(one.requests for one in run.runners) == 82
    assert {one.exit_code for one in run.runners} == {0}
    assert all(one.node and one.error is None for one in run.runners)
    assert run.metrics.virtual_users == 4
    assert run.comparable
    assert _left(place.cluster) == []
    assert place.cluster.pids() == []


# For each trouble of runner 2: the outcome of the run, and words of its error.
TROUBLES: list[tuple[Trouble, Outcome, str]] = [
    (Trouble("oom", after_s=0.3), Outcome.INCOMPLETE, "runner 2 of 2 was killed: out of memory"),
    (Trouble("evicted", after_s=0.3), Outcome.INCOMPLETE, "ended by the cluster on node"),
    (Trouble("deleted", after_s=2.0), Outcome.INCOMPLETE, "runner 2 of 2 is gone"),
    (Trouble("hang", after_s=2.0), Outcome.INCOMPLETE, "runner 2 of 2 is silent"),
    (Trouble("no_push"), Outcome.INCOMPLETE, "runner 2 of 2 has pushed nothing yet"),
    (Trouble("unschedulable"), Outcome.NO_CAPACITY, "1 runner of 2 had no node after"),
    (Trouble("quota"), Outcome.NO_CAPACITY, "no pod was made for runner 2"),
    (Trouble("image"), Outcome.CLUSTER, "the image of runner 2 is refused: ImagePullBackOff"),
    (Trouble("exits"), Outcome.CLUSTER, "before the test began: unknown flag: --stray"),
]


@pytest.mark.long
async def test_runners_that_fail(tmp_path: Path) -> None:
    """The run says which runner failed and why, enters no baseline, and leaves nothing behind.

    All these runs go on at once, each on a cluster of its own: they wait most of the time.
    """

    async def run_with(
        trouble: Trouble, outcome: Outcome, words: str, target: Target
    ) -> str | None:
        with Cluster(tmp_path / trouble.kind / "cluster", grace_s=1.0) as cluster:
            cluster.trouble[2] = trouble
            place = Place(tmp_path / trouble.kind / "k6d", cluster, target)
            # Short limits only where they are waited for: the machine may be busy.
            short = dict.fromkeys(("unschedulable", "quota", "image"), "schedule_limit")
            short |= {"hang": "silent_limit", "no_push": "silent_limit"}
            limits = {"schedule_limit": 60, "silent_limit": 60}
            if trouble.kind in short:
                limits[short[trouble.kind]] = 6
            run = await place.run(LONG.replace("EXTRA", ""), **limits)
            verdict = "high" if outcome is Outcome.INCOMPLETE else outcome
            found = (run.execution.outcome, run.comparable, run.verdict, _left(cluster))
            right = found == (outcome, False, verdict, []) and words in (run.execution.error or "")
            return None if right else f"{trouble.kind}: {found}: {run.execution.error}"

    with Target() as target:
        found = await asyncio.gather(*(run_with(*one, target) for one in TROUBLES))
    assert [line for line in found if line] == []


# For each refusal of the API server: the outcome of the run, and words of its error.
REFUSALS = [
    ("create", "configmaps", 403, "exceeded quota: objects", Outcome.NO_CAPACITY, "the quota of"),
    ("create", "testruns.k6.io", 403, "no", Outcome.CLUSTER, "a permission is missing"),
    ("create", "testruns.k6.io", 404, "", Outcome.CLUSTER, "is k6-operator installed"),
    ("create", "testruns.k6.io", 503, "", Outcome.CLUSTER, "the API server does not answer"),
    ("watch", "pods", 403, "no", Outcome.CLUSTER, "k6d doctor names the missing"),
]


async def test_a_cluster_that_refuses(place: Place) -> None:
    """Quota, permissions, a missing operator and an API server that is away have their words."""
    for verb, what, code, message, outcome, words in REFUSALS:
        place.cluster.refuse(verb, what, code, message)
        run = await place.run(LONG.replace("EXTRA", ""))
        place.cluster.refuse(verb, what, code, message, times=0)
        assert run.execution.outcome is outcome, run.execution.error
        assert words in (run.execution.error or "")
        assert _left(place.cluster) == []


async def test_without_what_it_needs(place: Place) -> None:
    """No receiver, no login and too few virtual users are said in one line each."""
    text = LONG.replace("EXTRA", "")
    run = await place.run(text, receiver_url="")
    assert "kubernetes.receiver_url is not set" in (run.execution.error or "")
    run = await place.run(text, kubeconfig=str(place.folder / "none"))
    assert "no login to a cluster" in (run.execution.error or "")
    run = await place.run(text.replace("parallelism: 2", "parallelism: 5"))
    assert run.execution.outcome is Outcome.SCRIPT_ERROR
    assert "4 VUs cannot be shared by 5 runners" in (run.execution.error or "")
    assert not [one for one in place.cluster.requests if one.startswith("create")]


@pytest.mark.long
async def test_a_stop_and_a_deadline(place: Place) -> None:
    """Both delete the TestRun; the totals until then are kept, but for requests under way."""
    text = LONG.replace("EXTRA", "")

    async def stop_soon() -> None:
        await asyncio.to_thread(
            wait_for, lambda: bool(place.live and place.live().requests > 10), timeout_s=60
        )
        place.stop.set()

    stopping = asyncio.create_task(stop_soon())
    run = await place.run(text)
    await stopping
    assert run.execution.outcome is Outcome.ABORTED
    assert 0 <= sum(place.target.requests.values()) - (run.metrics.total_requests or 0) <= 4
    assert _left(place.cluster) == []

    place.stop.clear()
    place.target.requests.clear()
    run = await place.run(text.replace("ext: { k6d: {", "ext: { k6d: { timeout: 3,"))
    assert run.execution.outcome is Outcome.TIMED_OUT
    assert 0 <= sum(place.target.requests.values()) - (run.metrics.total_requests or 0) <= 4
    assert place.cluster.pids() == []


async def test_a_threshold_ends_the_run(place: Place) -> None:
    """k6d judges abortOnFail over all runners, and stops all of them."""
    threshold = '{ threshold: "count<30", abortOnFail: true }'
    run = await place.run(LONG.replace("EXTRA", f"thresholds: {{ http_reqs: [{threshold}] }}"))
    assert run.execution.cut_by_threshold
    assert [t.crossed for t in run.thresholds] == [True]
    assert "http_reqs" in (run.execution.error or "")
    assert (run.metrics.total_requests or 0) >= 30
    assert 0 <= sum(place.target.requests.values()) - (run.metrics.total_requests or 0) <= 4


async def test_a_broken_target_ends_the_run_early(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `ext.k6d.abort` over all runners; notes name the settings that runners do not use."""
    monkeypatch.setenv("K6D_FORWARD__OTLP", "http://127.0.0.1:9")
    monkeypatch.setenv("K6D_K6__SECRET_SOURCES", "file=/gone/secrets")
    place.target.status["/"] = 500
    abort = "parallelism: 2, abort: { error_rate: '50% for 1s' }"
    run = await place.run(LONG.replace("EXTRA", "").replace("parallelism: 2", abort))
    assert run.execution.cut_by_k6d, run.execution
    assert "ext.k6d.abort.error_rate: 50% for 1s" in (run.execution.error or "")
    assert place.cluster.pids() == []
    notes = [note.partition(" holds ")[0] for note in run.breakdown.notes if " holds " in note]
    assert notes == ["forward.otlp", "k6.secret_sources"]


@pytest.mark.parametrize("grace_s", [1.0, 0.0], ids=["in time", "too slow"])
async def test_a_script_that_aborts(place: Place, grace_s: float) -> None:
    """An abort on one runner ends the run, in the script's words, also if others must be killed."""
    place.cluster.grace_s = grace_s
    text = LONG.replace("EXTRA", "").replace(
        "sleep(0.1);", 'sleep(0.1); if (exec.vu.idInTest === 1) { exec.test.abort("enough"); }'
    )
    run = await place.run('import exec from "k6/execution";' + text)
    assert run.execution.outcome is Outcome.ABORTED
    assert (run.execution.error or "").startswith("the script aborted its run: enough"), run.log
    assert run.execution.told_by_script


async def test_a_snapshot_that_no_configmap_holds(place: Place) -> None:
    """An init container downloads it from k6d, with the token of the run."""
    (place.scripts / "data.txt").write_bytes(b"x" * 2_000_000)
    text = 'const data = open("./data.txt");' + SCRIPT.replace("RUNNERS", "2")
    run = await place.run(text.replace("sleep(0.1)", "if (data.length != 2e6) throw 1"))
    assert run.execution.outcome is Outcome.COMPLETED, run.execution.error
    assert run.metrics.total_requests == 82
    assert "create configmaps" not in place.cluster.requests
    assert _left(place.cluster) == []

    place.cluster.trouble[2] = Trouble("init")
    run = await place.run(text)
    assert run.execution.outcome is Outcome.CLUSTER
    assert "runner 2 could not fetch the snapshot" in (run.execution.error or "")


async def test_secrets_for_scripts(place: Place) -> None:
    """A Secret that is missing is named; one that is there is in __ENV, and not in the TestRun."""
    text = SCRIPT.replace("RUNNERS", "1").replace("sleep(0.1)", "if (!__ENV.PIN) throw 1")
    run = await place.run(text, env_from="shop", schedule_limit=6)
    assert run.execution.outcome is Outcome.CLUSTER
    assert 'secret "shop" not found; check kubernetes.env_from' in (run.execution.error or "")

    place.cluster.secrets["shop"] = {"PIN": "4711"}
    run = await place.run(text, env_from="shop")
    assert run.execution.outcome is Outcome.COMPLETED, run.execution.error
    assert run.metrics.total_requests == 82
    assert "4711" not in str(place.cluster.posted)


async def test_logs_that_may_not_be_read(place: Place) -> None:
    """Without the permission for logs there are no totals: the run is incomplete and says why."""
    place.cluster.role.discard("get pods/log")
    run = await place.run(SCRIPT.replace("RUNNERS", "1").replace("sleep(0.1)", "sleep(0)"))
    assert run.execution.outcome is Outcome.INCOMPLETE
    assert "its log cannot be read: a permission is missing" in (run.execution.error or "")


async def test_the_api_server_is_away_for_a_while(place: Place) -> None:
    """The load goes on, and the results are read when it is back; old watches are renewed."""

    def disturb() -> None:
        wait_for(lambda: bool(place.live and place.live().requests > 5), timeout_s=60)
        with place.cluster.away():
            threading.Event().wait(1.0)
        place.cluster.compact()
        place.cluster.end_watches()

    disturbing = asyncio.create_task(asyncio.to_thread(disturb))
    run = await place.run(SCRIPT.replace("RUNNERS", "2").replace("sleep(0.1)", "sleep(0.4)"))
    await disturbing
    assert run.execution.outcome is Outcome.COMPLETED, run.execution.error
    assert run.metrics.total_requests == 82
    assert _left(place.cluster) == []


async def test_no_runner_can_push(place: Place) -> None:
    """A short run of which nothing was received says so, and is tried again."""
    place.cluster.trouble.update({1: Trouble("no_push"), 2: Trouble("no_push")})
    run = await place.run(SCRIPT.replace("RUNNERS", "2").replace("sleep(0.1)", "sleep(0)"))
    assert run.execution.outcome is Outcome.CLUSTER
    assert "no runner pushed anything" in (run.execution.error or "")


async def test_one_script_runs_elsewhere(place: Place) -> None:
    """A script may name its executor; each kind of run has a limit of its own."""
    text = SCRIPT.replace("RUNNERS", "1").replace("sleep(0.1)", "sleep(0)")
    away = text.replace("ext: { k6d: {", 'ext: { k6d: { executor: "kubernetes",')
    here = text.replace("ext: { k6d: {", 'ext: { k6d: { executor: "local",')
    first, second = await asyncio.gather(
        place.run(away, name="away.js", executor="local"),
        place.run(here, name="here.js", executor="kubernetes"),
    )
    assert first.execution.placement
    assert first.runners
    assert second.execution.placement is None
    assert not second.runners
    assert second.metrics.total_requests == first.metrics.total_requests == 82


async def test_runs_compare_only_in_the_same_place(place: Place) -> None:
    """Another number of runners, or other resources, is another workload; this machine is not."""
    text = SCRIPT.replace("RUNNERS", "1").replace("sleep(0.1)", "sleep(0)")
    first = await place.run(text)
    again = await place.run(text)
    smaller = await place.run(text, resource_limits={"memory": "1Gi"})
    replayed = await place.replay(first)
    assert replayed.execution.placement == first.execution.placement
    assert replayed.metrics.total_requests == 82
    workloads = [run.snapshot.workload for run in (first, again, smaller) if run.snapshot]
    assert workloads[0] == workloads[1] != workloads[2]
    assert first.execution.placement == {
        "parallelism": 1,
        "image": "grafana/k6:1.1.0",
        "resource_requests": {},
        "resource_limits": {},
        "node_selector": {},
        "separate": False,
    }
