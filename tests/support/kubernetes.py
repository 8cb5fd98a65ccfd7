"""A cluster for tests: the Kubernetes API on 127.0.0.1, with k6-operator and real k6 processes.

`with Cluster(tmp_path / "cluster") as cluster:` and give k6d `cluster.kubeconfig`. Real are k6, its
execution segments, logs, exit codes and pushes; the API server, the operator and the kubelet are
played (`kubernetes_api`, `kubernetes_operator`, `kubernetes_kubelet`).
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import yaml

from support.kubernetes_api import Api, Refusal
from support.kubernetes_http import ApiServer
from support.kubernetes_kubelet import Kubelet, Trouble
from support.kubernetes_operator import Operator
from support.kubernetes_store import (
    CONFIGMAPS,
    JOBS,
    KINDS,
    PODS,
    SERVICES,
    TESTRUNS,
    Store,
    wait_for,
)
from support.paths import ROOT
from support.receivers import TestCa

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.kubernetes_store import Change, Kind, Object

__all__ = ["Cluster", "Trouble"]

ROLE_FILE = ROOT / "config" / "kubernetes" / "role.yaml"


def granted() -> set[str]:
    """What the role that k6d ships with grants, each as "verb resource"."""
    role, _ = yaml.safe_load_all(ROLE_FILE.read_text(encoding="utf-8"))
    return {
        f"{verb} {resource}{'.' if group else ''}{group}"
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


class Cluster:
    """The cluster; its attributes may be changed at any time.

    `trouble[2] = Trouble("oom", after_s=1.0)` is for runner 2 of each TestRun created afterwards.
    Kinds: oom, evicted, deleted, hang (after the start of the load); no_push; unschedulable, image,
    quota, init, exits (before it).
    """

    def __init__(
        self,
        folder: Path,
        *,
        finish_poll_s: float = 0.1,
        grace_s: float = 10.0,
        tls: bool = False,
    ) -> None:
        self.namespace = "load-tests"
        self.trouble: dict[int, Trouble] = {}
        self.store = Store()
        self._kubelet = Kubelet(self.store, folder / "pods", grace_s=grace_s)
        self._operator = Operator(
            self.store, self._kubelet, self.trouble, finish_poll_s=finish_poll_s
        )
        self.api = Api(
            store=self.store,
            token="tests",
            role=granted(),
            read_log=self._kubelet.log,
            has_ended=self._has_ended,
            delete=self._delete,
        )
        self.store.listeners.append(self._changed)
        folder.mkdir(parents=True, exist_ok=True)
        self._authority = TestCa(folder) if tls else None
        self._tls = self._authority and self._authority.server_context("localhost")
        self._server = ApiServer(self.api, tls=self._tls)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"
        self.kubeconfig = folder / "kubeconfig"
        self._write_kubeconfig()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self.store.listeners.clear()
        for body in self.store.list(TESTRUNS):
            self.store.remove(TESTRUNS, self.namespace, body["metadata"]["name"])
        self._kubelet.kill_all()

    @property
    def token(self) -> str:
        """The token that the server takes; the one in the kubeconfig is "tests"."""
        return self.api.token

    @token.setter
    def token(self, value: str) -> None:
        self.api.token = value

    @property
    def role(self) -> set[str]:
        """What the token may do: "create testruns.k6.io", "get pods/log", …"""
        return self.api.role

    @property
    def grace_s(self) -> float:
        """How long the processes of a deleted pod may take to end before they are killed."""
        return self._kubelet.grace_s

    @grace_s.setter
    def grace_s(self, value: float) -> None:
        self._kubelet.grace_s = value

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        """The Secrets that pods may name."""
        return self._kubelet.secrets

    @property
    def images(self) -> dict[str, Path]:
        """The k6 of each image's tag; a pod of another tag cannot pull its image."""
        return self._kubelet.images

    @property
    def also(self) -> list[str]:
        """Arguments for `k6 run` that all runners get beside their own."""
        return self._kubelet.also

    @property
    def posted(self) -> list[Object]:
        """The bodies of the TestRuns that were accepted, as they were sent."""
        return self.api.posted

    @property
    def requests(self) -> list[str]:
        """All requests in their order, in the words of a role."""
        return self.api.requests

    def refuse(
        self, verb: str, resource: str, code: int, message: str = "", *, times: int | None = None
    ) -> None:
        """Answer with this code instead; `times` None: until `times=0` is ordered."""
        self.api.refusals[verb, resource] = Refusal(code=code, message=message, times=times)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Refuse connections; afterwards the server is back on the same port."""
        port = self._server.server_port
        self._server.close()
        try:
            yield
        finally:
            self._server = ApiServer(self.api, port, tls=self._tls)

    def compact(self) -> None:
        """Forget the history: watches from before end with an ERROR event of code 410."""
        self.store.compact()

    def end_watches(self) -> None:
        """End all watches, as the server does from time to time."""
        self.api.era += 1

    def objects(self, plural: str) -> list[Object]:
        """All objects of a kind: "testruns", "configmaps", "jobs", "pods", "services", "events"."""
        (kind,) = (one for one in KINDS if one.plural == plural)
        return self.store.list(kind)

    def gone(self, *plurals: str) -> bool:
        """Whether all objects of these kinds are deleted within the time, kind after kind."""
        return all(wait_for(lambda one=one: not self.objects(one)) for one in plurals)

    def pids(self) -> list[int]:
        """The processes of all pods that run."""
        return self._kubelet.pids()

    def _has_ended(self, name: str) -> bool:
        pod = self._kubelet.pods.get(name)
        return pod is None or pod.is_done

    def _changed(self, change: Change) -> None:
        if change.kind == TESTRUNS and change.type == "ADDED":
            self._operator.start(change.body)
        elif change.kind == PODS and change.type == "ADDED":
            if not change.body["metadata"].get("ownerReferences"):
                self._kubelet.start(change.body)
        elif change.type == "DELETED":
            threading.Thread(target=self._collect, args=(change.body,), daemon=True).start()
        if change.type == "ADDED" and self.store.is_orphan(change.body):
            args = (change.kind, change.body)
            threading.Thread(target=self._collect_one, args=args, daemon=True).start()

    def _delete(self, kind: Kind, namespace: str, name: str, options: Object) -> Object | None:
        """Delete as the API server does: pods get their grace period, all else is gone at once."""
        if kind != PODS:
            return self.store.remove(kind, namespace, name)
        wait_for(lambda: name in self._kubelet.pods)  # it was created just now
        pod = self._kubelet.pods[name]
        pod.delete(grace_s=options.get("gracePeriodSeconds"))
        return pod.body

    def _collect(self, owner: Object) -> None:
        """Delete what the owner had, as Kubernetes' garbage collector does."""
        for kind, body in self.store.owned_by(owner["metadata"]["uid"]):
            self._collect_one(kind, body)

    def _collect_one(self, kind: Kind, body: Object) -> None:
        if kind in {JOBS, PODS, SERVICES, CONFIGMAPS}:
            self._delete(kind, body["metadata"]["namespace"], body["metadata"]["name"], {})

    def _write_kubeconfig(self) -> None:
        cluster = {"server": self.url}
        if self._authority:
            cluster["certificate-authority"] = str(self._authority.path)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "k6d", "user": {"token": self.api.token}}],
            "contexts": [
                {
                    "name": "tests",
                    "context": {"cluster": "tests", "user": "k6d", "namespace": self.namespace},
                }
            ],
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))
        self.kubeconfig.chmod(0o600)
