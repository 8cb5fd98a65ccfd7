"""Plays k6-operator v1.6 in the tests' cluster, and the Job controller of Kubernetes.

It takes the steps of the operator's controller: argument check, initializer pod, one Job and one
Service for each runner, a start over the REST API when all runner pods run, "finished" when no Job
is active. It looks more often than the real one, so that tests are quick.
"""

from __future__ import annotations

import copy
import json
import threading
import time
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING

from support.kubernetes_kubelet import NO_TROUBLE, event
from support.kubernetes_schema import SERVICE_NAME, labels_invalid
from support.kubernetes_store import JOBS, PODS, SERVICES, TESTRUNS, owner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.kubernetes_kubelet import Kubelet, Pod, Trouble
    from support.kubernetes_store import Object, Store

QUOTA = (
    'Error creating: pods "{name}-" is forbidden: exceeded quota: load, requested:'
    " requests.cpu=1, used: requests.cpu=8, limited: requests.cpu=8"
)
# What `k6 archive` does not take, and what the operator leaves out for it.
_NOT_FOR_ARCHIVE = ("--log-output", "--block-hostnames", "--blacklist-ip", "--user-agent")
_LEFT_OUT = {"-o", "--out", "-l", "--linger", "--no-usage-report", "--verbose", "-v"}
_INITIALIZER = """archive="$1"; shift
"$@" 2>/tmp/k6logs || { cat /tmp/k6logs; exit 1; }
k6 inspect --execution-requirements "$archive" 2>/tmp/k6logs || { cat /tmp/k6logs; exit 1; }
if grep 'level.*error' /tmp/k6logs; then exit 1; fi
"""
_LOCAL_FILE = """if [ ! -f "$1" ]; then echo "LocalFile not found exiting..."; exit 1; fi
shift; exec "$@"
"""


class InvalidArgumentsError(ValueError):
    """The arguments of a TestRun do not read."""


class Operator:
    """Takes a TestRun through its stages; `trouble` is by runner."""

    def __init__(
        self,
        store: Store,
        kubelet: Kubelet,
        trouble: Mapping[int, Trouble],
        *,
        finish_poll_s: float,
    ) -> None:
        self._store = store
        self._kubelet = kubelet
        self._trouble = trouble
        self._finish_poll_s = finish_poll_s
        kubelet.ended = self._job_ended

    def start(self, body: Object) -> None:
        """Play one TestRun in a thread of its own."""
        threading.Thread(target=self._play, args=(body,), daemon=True).start()

    def _play(self, body: Object) -> None:
        run = _Run(body)
        try:
            archive_args = for_archive(run.argv)
        except InvalidArgumentsError:
            self._stage(run, "error")
            return
        if not (body["spec"].get("initializer") or {}).get("disabled"):
            self._stage(run, "initialization")
            if not self._initialized(run, archive_args):
                self._stage(run, "error")
                return
        if run.parallelism < 1:
            return
        self._stage(run, "initialized")
        if not run.names_fit():
            return  # the real one tries for ever
        runners = [self._runner(run, number) for number in range(1, run.parallelism + 1)]
        self._stage(run, "created")
        pods = [pod for pod in runners if pod]
        while self._there(run):
            running = [pod for pod in pods if _phase(self._store, pod) == "Running"]
            if len(running) == run.parallelism and all(pod.answers() for pod in pods):
                break
            time.sleep(0.05)
        else:
            return
        self._start_load(run, pods)
        self._finish(run)

    def _initialized(self, run: _Run, archive_args: list[str]) -> bool:
        """Archive and inspect the script in a pod; whether it is valid and has VUs for all."""
        spec = run.spec.get("initializer") or run.spec.get("runner", {})
        archive = "/tmp/script.archived.tar"
        env = [
            part
            for one in spec.get("env", [])
            for part in ("-e", f"{one['name']}=$({one['name']})")
        ]
        command = ["sh", "-c", _INITIALIZER, "sh", archive]
        command += ["k6", "archive", run.script, *env, "-O", archive, *archive_args]
        pod = self._job(f"{run.name}-initializer", run, spec, command, labels={})
        while self._there(run):
            phase = pod and _phase(self._store, pod)
            if phase == "Failed":
                return False
            if pod and phase == "Succeeded":
                inspected = json.loads(pod.log_file.read_text())
                return bool(inspected["maxVUs"] >= run.parallelism)
            time.sleep(0.05)
        return False

    def _runner(self, run: _Run, number: int) -> Pod | None:
        trouble = self._trouble.get(number, NO_TROUBLE)
        spec = run.spec.get("runner", {})
        labels = {"runner": "true"}
        name = f"{run.name}-{number}"
        pod = self._job(name, run, spec, run.command(number), labels=labels, trouble=trouble)
        service = {
            "metadata": {
                "name": f"{run.name}-service-{number}",
                "labels": run.labels(spec) | labels,
                "ownerReferences": [owner(run.body, TESTRUNS)],
            },
            "spec": {"ports": [{"port": 6565}], "selector": {"job-name": name}},
        }
        self._store.create(SERVICES, run.namespace, service)
        return pod

    def _job(
        self,
        name: str,
        run: _Run,
        spec: Object,
        command: list[str],
        *,
        labels: dict[str, str],
        trouble: Trouble = NO_TROUBLE,
    ) -> Pod | None:
        """Create a Job and its pod."""
        labels = run.labels(spec) | labels
        pod_spec = run.pod_spec(name, spec, command)
        job = self._store.create(
            JOBS,
            run.namespace,
            {
                "metadata": {
                    "name": name,
                    "labels": labels,
                    "ownerReferences": [owner(run.body, TESTRUNS)],
                },
                "spec": {"backoffLimit": 0, "template": {"spec": pod_spec}},
                "status": {},
            },
        )
        if job is None:
            return None
        if trouble.kind == "quota":
            event(self._store, job, "FailedCreate", QUOTA.format(name=name))
            return None
        names = {"job-name": name, "batch.kubernetes.io/job-name": name}
        pod = self._store.create(
            PODS,
            run.namespace,
            {
                "metadata": {
                    "generateName": f"{name}-",
                    "labels": labels | names,
                    "ownerReferences": [owner(job, JOBS)],
                },
                "spec": pod_spec,
                "status": {"phase": "Pending"},
            },
        )
        assert pod
        self._store.update(JOBS, run.namespace, name, lambda one: one["status"].update(active=1))
        return self._kubelet.start(pod, trouble)

    def _job_ended(self, pod: Pod) -> None:
        name = pod.body["metadata"].get("labels", {}).get("job-name")
        if not name:
            return
        body = self._store.get(PODS, pod.namespace, pod.name) or {}
        good = body.get("status", {}).get("phase") == "Succeeded"

        def change(job: Object) -> None:
            done = {"type": "Complete" if good else "Failed", "status": "True"}
            if not good:
                done["reason"] = "BackoffLimitExceeded"
            job["status"] = {"succeeded" if good else "failed": 1, "conditions": [done]}

        self._store.update(JOBS, pod.namespace, name, change)

    def _start_load(self, run: _Run, pods: list[Pod]) -> None:
        """Send each runner the request of the operator's starter pod, one after the other.

        The operator sets the stage when it has created the starter, not when that has ended.
        """
        self._stage(run, "started")
        status = {"type": "status", "id": "default", "attributes": {"paused": False}}
        for pod in pods:
            request = urllib.request.Request(
                pod.rest,
                data=json.dumps({"data": status}).encode(),
                method="PATCH",
                headers={"Content-Type": "application/json"},
            )
            with suppress(OSError):  # `curl … ; curl …`: the next runner is started all the same
                urllib.request.urlopen(request, timeout=10).close()
            pod.loaded.set()

    def _finish(self, run: _Run) -> None:
        labels = {"k6_cr": run.name, "runner": "true"}

        def active() -> bool:
            jobs = [
                one
                for one in self._store.list(JOBS, run.namespace)
                if labels.items() <= one["metadata"]["labels"].items()
            ]
            return any(one["status"].get("active") for one in jobs)

        while self._there(run):
            if not active():
                break
            time.sleep(self._finish_poll_s)
        self._stage(run, "stopped")
        self._stage(run, "finished")
        if run.spec.get("cleanup") == "post":
            self._store.remove(TESTRUNS, run.namespace, run.name)

    def _there(self, run: _Run) -> bool:
        found = self._store.get(TESTRUNS, run.namespace, run.name)
        return found is not None and found["metadata"]["uid"] == run.body["metadata"]["uid"]

    def _stage(self, run: _Run, stage: str) -> None:
        if self._there(run):
            self._store.update(
                TESTRUNS,
                run.namespace,
                run.name,
                lambda one: one.setdefault("status", {}).update(stage=stage),
            )


class _Run:
    """A TestRun as the operator reads it."""

    def __init__(self, body: Object) -> None:
        self.body = body
        self.spec: Object = body["spec"]
        self.name: str = body["metadata"]["name"]
        self.namespace: str = body["metadata"]["namespace"]
        self.parallelism: int = self.spec["parallelism"]
        self.argv: list[str] = self.spec.get("args") or self.spec.get("arguments", "").split()

    @property
    def script(self) -> str:
        """The path of the script in the container."""
        script = self.spec["script"]
        if script.get("localFile"):
            return str(script["localFile"])
        source = script.get("configMap") or script["volumeClaim"]
        return f"/test/{source.get('file') or 'test.js'}"

    def labels(self, spec: Object) -> dict[str, str]:
        """The labels of its Jobs and pods."""
        return {**spec.get("metadata", {}).get("labels", {}), "app": "k6", "k6_cr": self.name}

    def names_fit(self) -> bool:
        """Whether Kubernetes takes the names and labels of what the operator creates."""
        service = f"{self.name}-service-{self.parallelism}"
        labels = self.labels(self.spec.get("runner", {}))
        return (
            len(service) <= 63
            and bool(SERVICE_NAME.fullmatch(service))
            and not list(labels_invalid(labels, "metadata.labels"))
        )

    def command(self, number: int) -> list[str]:
        """The command of one runner."""
        command = ["k6", "run"]
        if self.spec.get("quiet", "true") == "true":
            command.append("--quiet")
        if self.parallelism > 1:
            command += segments(number, self.parallelism)
        command += [*self.argv, self.script, "--address=0.0.0.0:6565"]
        if self.spec.get("paused", "true") == "true":
            command.append("--paused")
        command += ["--tag", f"instance_id={number}", "--tag", f"testrun_name={self.name}"]
        if self.spec["script"].get("localFile"):
            command = ["sh", "-c", _LOCAL_FILE, "sh", self.script, *command]
        return command

    def pod_spec(self, name: str, spec: Object, command: list[str]) -> Object:
        """The spec of one pod."""
        script = self.spec["script"]
        volumes = copy.deepcopy(spec.get("volumes", []))
        mounts = copy.deepcopy(spec.get("volumeMounts", []))
        own = []
        if source := script.get("configMap"):
            own = [{"name": "k6-test-volume", "mountPath": "/test", "readOnly": True}]
            volumes.append({"name": "k6-test-volume", "configMap": {"name": source["name"]}})
        container = {
            "name": "k6",
            "image": spec.get("image", "grafana/k6:latest"),
            "command": command,
            "env": spec.get("env", []),
            "envFrom": spec.get("envFrom", []),
            "resources": spec.get("resources", {}),
            "volumeMounts": own + mounts,
            "ports": [{"containerPort": 6565}] if "--address=0.0.0.0:6565" in command else [],
        }
        init = [
            {"name": f"k6-init-{number}", **one, "volumeMounts": own + one.get("volumeMounts", [])}
            for number, one in enumerate(spec.get("initContainers", []))
        ]
        return {
            "hostname": name,
            "restartPolicy": "Never",
            "nodeSelector": spec.get("nodeSelector", {}),
            "tolerations": spec.get("tolerations", []),
            "serviceAccountName": spec.get("serviceAccountName", "default"),
            "imagePullSecrets": spec.get("imagePullSecrets", []),
            "initContainers": init,
            "containers": [container],
            "volumes": volumes,
        }


def segments(number: int, total: int) -> list[str]:
    """The arguments that give a runner its part of the load."""
    points = ["0", *(f"{one}/{total}" for one in range(1, total)), "1"]
    part = f"{points[number - 1]}:{points[number]}"
    sequence = ",".join(points)
    return [f"--execution-segment={part}", f"--execution-segment-sequence={sequence}"]


def for_archive(args: list[str]) -> list[str]:
    """The arguments that the operator passes to `k6 archive`."""
    kept: list[str] = []
    place = 0
    while place < len(args):
        flag = args[place]
        if not flag.startswith("-"):
            raise InvalidArgumentsError(flag)
        end = place + 1
        while end < len(args) and args[end] and not args[end].startswith("-"):
            end += 1
        if end == place + 1 < len(args) and not args[end]:
            end += 1
        if not flag.startswith(_NOT_FOR_ARCHIVE) and flag not in _LEFT_OUT:
            kept += args[place:end]
        place = end
    return kept


def _phase(store: Store, pod: Pod) -> str | None:
    body = store.get(PODS, pod.namespace, pod.name)
    return body and body["status"].get("phase")
