"""The cluster of the tests answers and behaves as Kubernetes with k6-operator does."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from k6d.execution.kubernetes.cluster import Cluster as Client
from k6d.execution.kubernetes.cluster import ClusterError, Kind, Login
from k6d.execution.kubernetes.cluster import Trouble as ClientTrouble
from k6d.execution.kubernetes.pod_log import PodLog
from support.kubernetes import Cluster, Trouble
from support.kubernetes_store import TESTRUNS, wait_for
from support.receivers import TestCa

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.kubernetes_store import Change
    from support.target import Target

Object = dict[str, Any]
RUNS = "/apis/k6.io/v1alpha1/namespaces/load-tests/testruns"
MAPS = "/api/v1/namespaces/load-tests/configmaps"
PODS = "/api/v1/namespaces/load-tests/pods"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster for tests that only ask."""
    with Cluster(tmp_path_factory.mktemp("cluster") / "shared") as running:
        running.role.update(("patch testruns.k6.io", "get testruns.k6.io"))
        yield running


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of its own."""
    with Cluster(tmp_path_factory.mktemp("cluster") / "own") as running:
        running.role.update(("get testruns.k6.io", "get pods"))
        yield running


def a_run(name: str = "run", **spec: Any) -> Object:
    """A TestRun whose script is in the ConfigMap of the same name."""
    return {
        "apiVersion": "k6.io/v1alpha1",
        "kind": "TestRun",
        "metadata": {"name": name},
        "spec": {
            "parallelism": 2,
            "script": {"configMap": {"name": name, "file": "test.js"}},
            "runner": {"image": "grafana/k6:1.1.0"},
            "initializer": {"disabled": True},
        }
        | spec,
    }


def script(url: str, options: str = "vus: 2, iterations: 7", body: str = "") -> str:
    """A script that requests the target."""
    return f"""import http from 'k6/http';
export const options = {{ {options} }};
export default function () {{ http.get('{url}/'); {body} }}"""


def configmap(text: str, name: str = "run") -> Object:
    """A ConfigMap with a script."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"test.js": text},
    }


def ask(cluster: Cluster, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
    """One request with the token."""
    headers = {"Authorization": f"Bearer {cluster.token}"} | more.pop("headers", {})
    url = cluster.url + path
    return httpx.request(method, url, json=body, headers=headers, timeout=30, **more)


def order(cluster: Cluster, text: str, name: str = "run", **spec: Any) -> None:
    """Start a run."""
    assert ask(cluster, "POST", MAPS, configmap(text, name)).status_code == 201
    answer = ask(cluster, "POST", RUNS, a_run(name, **spec))
    assert answer.status_code == 201, answer.text


def stage(cluster: Cluster, name: str = "run") -> str:
    """The stage of a TestRun."""
    found: Object = ask(cluster, "GET", f"{RUNS}/{name}").json()
    return str(found.get("status", {}).get("stage", ""))


def runners(cluster: Cluster) -> list[Object]:
    """The pods of the runners, in their order."""
    found = [
        one for one in cluster.objects("pods") if one["metadata"]["labels"].get("runner") == "true"
    ]
    return sorted(found, key=lambda one: one["metadata"]["labels"]["job-name"])


def state(pod: Object) -> Object:
    """The state of the container of a pod."""
    (status,) = pod["status"].get("containerStatuses") or [{"state": {}}]
    found: Object = status["state"]
    return found


BAD_NAME = a_run("Run")
NO_SCRIPT = {**a_run("a"), "spec": {"parallelism": 1}}
TOO_BIG = {
    **configmap(""),
    "binaryData": {"a.tar": base64.b64encode(bytes(1024 * 1024 + 1)).decode()},
}


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "words"),
    [
        ("GET", f"{RUNS}/none", None, 404, 'testruns.k6.io "none" not found'),
        ("GET", "/apis/other.io/v1/things", None, 404, "404 page not found"),
        ("GET", "/apis/k6.io/v1alpha1/testruns", None, 403, "at the cluster scope"),
        ("DELETE", f"{PODS}/any", None, 403, 'cannot delete resource "pods" in API group ""'),
        ("POST", RUNS, a_run("a", parallelism="2"), 422, "must be of type integer"),
        ("POST", RUNS, a_run("a", parallelism=2**31), 422, "spec.parallelism"),
        ("POST", RUNS, NO_SCRIPT, 422, "spec.script: Required value"),
        ("POST", RUNS, BAD_NAME, 422, "a lowercase RFC 1123 subdomain"),
        ("POST", RUNS, a_run("a", cleanup="later"), 422, "Unsupported value"),
        ("POST", f"{RUNS}?fieldValidation=Strict", a_run("a", x=1), 400, '"spec.x"'),
        ("POST", RUNS, configmap(""), 400, "must be of type TestRun"),
        ("POST", MAPS, TOO_BIG, 422, "may not be more than 1048576 bytes"),
        ("POST", MAPS, {**configmap(""), "binaryData": {"a": "%"}}, 400, "illegal base64"),
        ("POST", MAPS, configmap("x" * 4_000_000), 413, "Request entity too large"),
        ("PATCH", f"{RUNS}/none", {}, 415, "merge-patch+json"),
    ],
)
def test_a_request_is_refused_with_the_words_of_the_real_server(
    shared: Cluster, method: str, path: str, body: Any, code: int, words: str
) -> None:
    """Each refusal has its code, and its reason in a Status."""
    answer = ask(shared, method, path, body)
    assert answer.status_code == code, answer.text
    is_json = answer.headers["Content-Type"] == "application/json"
    assert words in (answer.json()["message"] if is_json else answer.text)
    assert not shared.objects("testruns")


def test_a_wrong_token_and_a_taken_name(shared: Cluster) -> None:
    """401 and 409; the name is free again after a deletion."""
    refused = ask(shared, "GET", RUNS, headers={"Authorization": "Bearer other"})
    assert (refused.status_code, refused.json()["reason"]) == (401, "Unauthorized")
    assert ask(shared, "POST", MAPS, configmap("", "twice")).status_code == 201
    taken = ask(shared, "POST", MAPS, configmap("", "twice"))
    assert (taken.status_code, taken.json()["reason"]) == (409, "AlreadyExists")
    assert ask(shared, "DELETE", f"{MAPS}/twice").json()["status"] == "Success"
    assert ask(shared, "DELETE", f"{MAPS}/twice").status_code == 404


def test_a_dry_run_creates_nothing(shared: Cluster) -> None:
    """The server answers as if it had created the object."""
    answer = ask(shared, "POST", f"{RUNS}?dryRun=All&fieldValidation=Strict", a_run("dry"))
    assert answer.status_code == 201
    assert answer.json()["spec"]["paused"] == "true"
    assert not shared.objects("testruns")


async def test_a_dry_run_shows_what_the_server_drops(shared: Cluster) -> None:
    """An unknown field is left out of what it would store; lightkube cannot ask for more."""
    async with Client(Login(kubeconfig=shared.kubeconfig)) as client:
        made = await client.create(Kind.TESTRUN, a_run("dry", args=["-q"], unknown=1), dry_run=True)
    assert (made["spec"]["args"], "unknown" in made["spec"]) == (["-q"], False)
    assert not shared.objects("testruns")


def test_without_the_operator_its_paths_are_unknown(cluster: Cluster) -> None:
    """No CRD: 404 for discovery and for the resource."""
    assert ask(cluster, "GET", "/apis/k6.io/v1alpha1").status_code == 200
    cluster.api.has_crd = False
    assert ask(cluster, "GET", "/apis/k6.io/v1alpha1").status_code == 404
    assert ask(cluster, "POST", RUNS, a_run()).text == "404 page not found\n"


def test_a_watch_goes_on_from_a_version_and_ends_when_that_is_too_old(shared: Cluster) -> None:
    """Changes after the version, a bookmark, and an ERROR of code 410 in a 200."""
    shared.role.add("watch configmaps")
    version = ask(shared, "GET", RUNS).json()["metadata"]["resourceVersion"]
    path = f"{MAPS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=20&resourceVersion={version}"
    ask(shared, "POST", MAPS, configmap("", "seen"))
    ask(shared, "DELETE", f"{MAPS}/seen")
    headers = {"Authorization": "Bearer tests"}
    with httpx.stream("GET", shared.url + path, headers=headers) as watch:
        lines = watch.iter_lines()
        seen = [json.loads(next(lines)) for _ in range(3)]
        assert [one["type"] for one in seen] == ["ADDED", "DELETED", "BOOKMARK"]
        shared.end_watches()
        assert not list(lines)
    shared.compact()
    gone = ask(shared, "GET", path)
    assert gone.status_code == 200
    event = json.loads(gone.text)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


async def test_a_role_is_reviewed_and_enforced(cluster: Cluster) -> None:
    """A missing permission is told by the review and refused with 403."""
    async with Client(Login(kubeconfig=cluster.kubeconfig)) as client:
        from k6d.execution.kubernetes.cluster import PERMISSIONS

        assert all([await client.may(one) for one in PERMISSIONS])
        cluster.role.discard("list pods")
        assert [str(one) for one in PERMISSIONS if not await client.may(one)] == ["list pods"]
        with pytest.raises(ClusterError, match="cannot list resource") as refused:
            await client.find(Kind.POD)
        assert refused.value.trouble is ClientTrouble.FORBIDDEN


async def test_an_absent_server_is_back_on_its_port(cluster: Cluster) -> None:
    """Connections are refused meanwhile."""
    async with Client(Login(kubeconfig=cluster.kubeconfig)) as client:
        with cluster.away(), pytest.raises(ClusterError) as refused:
            await client.find(Kind.POD)
        assert refused.value.trouble is ClientTrouble.AWAY
        assert await client.find(Kind.POD) == []


async def test_a_server_with_a_certificate(tmp_path: Path) -> None:
    """The login names the authority; a server of another one is not believed."""
    with Cluster(tmp_path / "cluster", tls=True) as cluster:
        async with Client(Login(kubeconfig=cluster.kubeconfig)) as client:
            assert await client.find(Kind.POD) == []
            with cluster.away(), pytest.raises(ClusterError, match="does not answer"):
                await client.find(Kind.POD)
            assert await client.find(Kind.POD) == []
        (tmp_path / "other").mkdir()
        (tmp_path / "cluster" / "ca.pem").write_bytes(TestCa(tmp_path / "other").path.read_bytes())
        async with Client(Login(kubeconfig=cluster.kubeconfig)) as client:
            with pytest.raises(ClusterError, match="certificate verify failed"):
                await client.find(Kind.POD)


async def test_two_runners_share_the_load(cluster: Cluster, target: Target) -> None:
    """Real k6 processes with segments: each exit code and log, "finished", nothing left behind."""
    options = "vus: 2, iterations: 7, thresholds: { http_reqs: ['count<4'] }"
    stages: list[str] = []
    cluster.store.listeners.append(
        lambda change: stages.append(change.body.get("status", {}).get("stage", ""))
    )
    args = ["--summary-export", "/dev/stdout", "--log-format", "json"]
    order(cluster, script(target.url, options), args=args)
    async with Client(Login(kubeconfig=cluster.kubeconfig)) as client:
        async for seen in client.watch(Kind.TESTRUN, labels={}):
            if seen["run"].get("status", {}).get("stage") == "finished":
                break
        ways = [one for one in stages if one]
        assert ways == ["initialized", "created", "started", "stopped", "finished"]
        assert target.requests == {"GET /": 7}
        pods = runners(cluster)
        # 4 of 7 iterations cross the threshold, 3 do not.
        assert [state(one)["terminated"]["exitCode"] for one in pods] == [99, 0]
        assert [one["status"]["phase"] for one in pods] == ["Failed", "Succeeded"]
        jobs = [one["status"] for one in cluster.objects("jobs")]
        assert [one.get("failed") for one in jobs] == [1, None]
        name = pods[0]["metadata"]["name"]
        log = PodLog(16_384)
        async for line in client.log(name, follow=True):
            log.feed(line)
        log.close()
        assert log.parts
        assert log.parts.metrics["http_reqs"]["count"] == 4
        await client.delete(Kind.TESTRUN, "run")
    assert cluster.gone("pods", "jobs", "services")


def test_a_deleted_run_ends_its_processes(cluster: Cluster, target: Target) -> None:
    """k6 gets SIGTERM; its pod is there until it has ended."""
    order(
        cluster,
        script(target.url, "vus: 2, duration: '60s'", "sleep(0.1);").replace(
            "export const", "import { sleep } from 'k6'; export const"
        ),
    )
    assert wait_for(lambda: stage(cluster) == "started")
    assert wait_for(lambda: target.requests["GET /"] > 2)
    assert wait_for(lambda: len(cluster.pids()) == 2)
    ask(cluster, "DELETE", f"{RUNS}/run")
    assert ask(cluster, "GET", f"{RUNS}/run").status_code == 404
    assert cluster.gone("pods")
    assert not cluster.pids()


def test_what_is_made_for_a_deleted_run_is_deleted_too(cluster: Cluster, target: Target) -> None:
    """The operator may be about to create a Job and its pod when its TestRun is deleted."""
    made: list[str] = []

    def delete(change: Change) -> None:
        if change.kind.plural == "pods" and change.type == "ADDED":
            made.append(change.body["metadata"]["name"])
            cluster.store.remove(TESTRUNS, cluster.namespace, "run")

    cluster.store.listeners.append(delete)
    order(cluster, script(target.url))
    assert wait_for(lambda: len(made) == 2)
    assert cluster.gone("jobs", "pods", "services")
    assert not cluster.pids()


LONG = "vus: 2, duration: '20s'"


@pytest.mark.parametrize(
    ("kind", "stage_then", "phase", "reason"),
    [
        ("oom", "started", "Failed", "OOMKilled"),
        ("evicted", "started", "Failed", "Error"),
        ("unschedulable", "created", "Pending", None),
        ("image", "created", "Pending", "ImagePullBackOff"),
        ("exits", "created", "Failed", "Error"),
    ],
)
def test_a_runner_fails_as_ordered(
    cluster: Cluster, target: Target, kind: str, stage_then: str, phase: str, reason: str | None
) -> None:
    """The pod says why, and the operator goes on as if nothing had happened, or waits for ever."""
    cluster.trouble[2] = Trouble(kind, exit_code=255)
    order(cluster, script(target.url, LONG))

    def found() -> bool:
        pods = runners(cluster)
        if len(pods) < 2 or pods[1]["status"]["phase"] != phase:
            return False
        if reason is None:
            (why,) = pods[1]["status"].get("conditions") or [{}]
            return why.get("reason") == "Unschedulable"
        reasons = [why.get("reason") for why in state(pods[1]).values()]
        return reasons == [reason] and stage(cluster) == stage_then

    assert wait_for(found), runners(cluster)
    if kind == "evicted":
        assert runners(cluster)[1]["status"]["reason"] == "Evicted"


def test_a_used_up_quota_leaves_a_job_without_a_pod(cluster: Cluster, target: Target) -> None:
    """Only an event says why."""
    cluster.trouble[1] = Trouble("quota")
    order(cluster, script(target.url))
    assert wait_for(lambda: cluster.objects("events"))
    assert "exceeded quota" in cluster.objects("events")[0]["message"]
    assert wait_for(lambda: len(runners(cluster)) == 1)
    assert wait_for(lambda: stage(cluster) == "created")


def test_a_drained_node_takes_pod_and_log_along(cluster: Cluster, target: Target) -> None:
    """The Job has failed, and the run goes on to its end with one runner."""
    cluster.trouble[1] = Trouble("deleted")
    order(cluster, script(target.url, "vus: 2, duration: '1s'"))
    assert wait_for(lambda: stage(cluster) == "finished")
    assert [one["metadata"]["labels"]["job-name"] for one in runners(cluster)] == ["run-2"]
    assert cluster.objects("jobs")[0]["status"]["failed"] == 1


@pytest.mark.parametrize(
    ("spec", "stage_then"),
    [
        ({"args": ["stray"]}, "error"),
        ({"args": ["--out=json=x"], "initializer": {}}, "error"),
        ({"parallelism": 3, "initializer": {}}, "error"),
    ],
)
def test_the_operator_refuses_a_run(
    cluster: Cluster, target: Target, spec: Object, stage_then: str
) -> None:
    """A stray argument, an argument that `k6 archive` does not take, more runners than VUs."""
    order(cluster, script(target.url), **spec)
    assert wait_for(lambda: stage(cluster) == stage_then)
    assert not runners(cluster)


class _Archive(BaseHTTPRequestHandler):
    """Gives a script to who has the token."""

    text = ""

    def do_GET(self) -> None:
        """Answer 403 without the token."""
        allowed = self.headers["Authorization"] == "Bearer secret"
        self.send_response(200 if allowed else 403)
        self.end_headers()
        if allowed:
            self.wfile.write(self.text.encode())

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.mark.parametrize("token", ["secret", "other"])
def test_an_init_container_downloads_the_script(
    cluster: Cluster, target: Target, token: str
) -> None:
    """Its command runs for real, with a variable from a Secret; a refusal fails the pod."""
    _Archive.text = script(target.url)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Archive) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        cluster.secrets["access"] = {"token": token}
        get = f"http://127.0.0.1:{server.server_port}/test.js"
        mount = [{"name": "archive", "mountPath": "/archive"}]
        source = {"secretKeyRef": {"name": "access", "key": "token"}}
        download = {
            "image": "grafana/k6:1.1.0",
            "command": ["wget", "-q", "-T", "10", "--header", "Authorization: Bearer $(TOKEN)"],
            "args": ["-O", "/archive/test.js", get],
            "env": [{"name": "TOKEN", "valueFrom": source}],
            "volumeMounts": mount,
        }
        runner = {
            "image": "grafana/k6:1.1.0",
            "volumes": [{"name": "archive", "emptyDir": {}}],
            "volumeMounts": mount,
            "initContainers": [download],
        }
        local = {"script": {"localFile": "/archive/test.js"}, "runner": runner}
        order(cluster, "", **local)
        if token == "secret":
            assert wait_for(lambda: stage(cluster) == "finished")
            assert target.requests == {"GET /": 7}
        else:
            assert wait_for(
                lambda: [one["status"]["phase"] for one in runners(cluster)] == ["Failed"] * 2
            )
            assert wait_for(lambda: stage(cluster) == "created")
        server.shutdown()


def test_a_missing_secret_holds_the_container_back(cluster: Cluster, target: Target) -> None:
    """The pod waits with the reason CreateContainerConfigError."""
    runner = {
        "image": "grafana/k6:1.1.0",
        "envFrom": [{"secretRef": {"name": "absent"}}],
    }
    order(cluster, script(target.url), runner=runner)
    wanted = {"reason": "CreateContainerConfigError", "message": 'secret "absent" not found'}
    assert wait_for(
        lambda: [state(one).get("waiting") for one in runners(cluster)] == [wanted, wanted]
    )
