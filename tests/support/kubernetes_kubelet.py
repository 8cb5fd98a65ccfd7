"""Runs the pods of the tests' cluster as real processes on this machine, and tells how they fare.

Containers have no file system of their own: the paths of their volumes and `/tmp` are replaced by
folders of the pod wherever they stand in a command.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import threading
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Any

from support.kubernetes_container import argv, environment, images, start, tag_of
from support.kubernetes_store import CONFIGMAPS, EVENTS, PODS, now, suffix, wait_for
from support.serving import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import Popen

    from support.kubernetes_store import Object, Store

NO_ROOM = "0/3 nodes are available: 3 Insufficient cpu. no new claims to deallocate, preemption: …"
EVICTED = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 64Mi."
NODES = 3


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens to a runner; `after_s` counts from the start of the load."""

    kind: str
    after_s: float = 0.0
    exit_code: int = 1


NO_TROUBLE = Trouble("none")


class Kubelet:
    """Schedules and runs pods. `ended` is called with each pod that has ended."""

    def __init__(self, store: Store, folder: Path, *, grace_s: float) -> None:
        self.store = store
        self.folder = folder
        self.grace_s = grace_s
        self.secrets: dict[str, dict[str, str]] = {}
        self.images = images()
        self.also: list[str] = []
        self.pods: dict[str, Pod] = {}
        self.ended: Callable[[Pod], None] = lambda _pod: None
        self._placed = 0

    def start(self, body: Object, trouble: Trouble = NO_TROUBLE) -> Pod:
        """Run a pod that is in the store."""
        pod = Pod(self, body, trouble, node=f"node-{self._placed % NODES + 1}")
        self._placed += 1
        pod.thread.start()  # before others find the pod, and delete it
        self.pods[pod.name] = pod
        return pod

    def log(self, _namespace: str, name: str) -> tuple[int, bytes]:
        """As the API gives it: the status and the text."""
        pod = self.pods.get(name)
        if pod is None or not pod.has_started:
            why = (
                "PodInitializing" if pod and pod.spec.get("initContainers") else "ContainerCreating"
            )
            waiting = f'container "k6" in pod "{name}" is waiting to start: {why}'
            return 400, waiting.encode()
        if pod.trouble.kind == "evicted" and pod.is_done:
            lost = f"unable to retrieve container logs for containerd://{pod.uid}"
            return 200, lost.encode()
        return 200, pod.log_file.read_bytes()

    def kill_all(self) -> None:
        """End every process."""
        for pod in list(self.pods.values()):
            pod.delete(grace_s=0)
        for pod in list(self.pods.values()):
            pod.thread.join(10)

    def pids(self) -> list[int]:
        """The processes that run."""
        return [pod.process.pid for pod in list(self.pods.values()) if pod.runs]


@dataclass
class Pod:
    """One pod and its process."""

    kubelet: Kubelet
    body: Object
    trouble: Trouble
    node: str
    loaded: threading.Event = field(default_factory=threading.Event)
    deleted: threading.Event = field(default_factory=threading.Event)
    process: Any = None
    has_started: bool = False
    is_done: bool = False

    def __post_init__(self) -> None:
        meta = self.body["metadata"]
        self.name, self.uid, self.namespace = meta["name"], meta["uid"], meta["namespace"]
        self.spec = self.body["spec"]
        self.folder = self.kubelet.folder / self.name
        self.log_file = self.folder / "log"
        self.port = free_port()
        self.thread = threading.Thread(target=self._live, name=self.name, daemon=True)
        self.mounts: dict[str, Path] = {}

    @property
    def runs(self) -> bool:
        """Whether its process is alive."""
        return self.process is not None and self.process.poll() is None

    @property
    def exit_code(self) -> int:
        """As the container's: 128 and the signal's number, for one that was killed."""
        code = self.process.returncode
        return 128 - code if code < 0 else code

    def answers(self) -> bool:
        """Whether k6's REST API answers."""
        try:
            with urllib.request.urlopen(self.rest, timeout=2) as answer:
                return bool(answer.status < 400)
        except OSError:
            return False

    @property
    def rest(self) -> str:
        """The address of k6's status."""
        return f"http://127.0.0.1:{self.port}/v1/status"

    def delete(self, *, grace_s: float | None = None) -> None:
        """End it as the kubelet does: SIGTERM, and SIGKILL after the grace period."""
        if self.deleted.is_set():
            return
        self.deleted.set()
        grace_s = self.kubelet.grace_s if grace_s is None else grace_s
        self._update(lambda body: body["metadata"].update(deletionTimestamp=now()))

        def end() -> None:
            if self.runs:
                self.process.send_signal(signal.SIGTERM)
                with suppress(TimeoutExpired):
                    self.process.wait(grace_s)
                self.kill()
            self.thread.join(10)
            self.kubelet.store.remove(PODS, self.namespace, self.name)

        threading.Thread(target=end, daemon=True).start()

    def kill(self) -> None:
        """SIGKILL, also to a stopped process."""
        if self.runs:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def _live(self) -> None:
        self.folder.mkdir(parents=True)
        (self.folder / "tmp").mkdir()
        self.mounts["/tmp"] = self.folder / "tmp"
        try:
            if self._placed() and self._made_ready():
                self._run()
        finally:
            self.is_done = True
            if not self.deleted.is_set() or self.has_started:
                self.kubelet.ended(self)

    def _placed(self) -> bool:
        """Find a node."""
        if self.trouble.kind == "unschedulable":
            no = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
            self._status(phase="Pending", conditions=[{**no, "message": NO_ROOM}])
            self._event("FailedScheduling", NO_ROOM)
            self.deleted.wait()
            return False

        def place(body: Object) -> None:
            body["spec"]["nodeName"] = self.node
            body["status"] = {
                "phase": "Pending",
                "hostIP": "10.0.0.1",
                "conditions": [{"type": "PodScheduled", "status": "True"}],
            }

        self._update(place)
        return True

    def _made_ready(self) -> bool:
        """Mount the volumes and run the init containers."""
        self._waiting("PodInitializing" if self.spec.get("initContainers") else "ContainerCreating")
        if not all(self._mounted(volume) for volume in self.spec.get("volumes", [])):
            self.deleted.wait()
            return False
        containers = [*self.spec.get("initContainers", []), self.spec["containers"][0]]
        for container in containers:
            if self.trouble.kind == "image" or tag_of(container) not in self.kubelet.images:
                self._refused_image(container["image"])
                return False
            if why := self._config_error(container):
                self._waiting("CreateContainerConfigError", why)
                self.deleted.wait()
                return False
        return all(self._initialized(one) for one in containers[:-1])

    def _mounted(self, volume: Object) -> bool:
        path = self.folder / "volumes" / volume["name"]
        path.mkdir(parents=True)
        if "configMap" in volume:
            name = volume["configMap"]["name"]
            found = self.kubelet.store.get(CONFIGMAPS, self.namespace, name)
            if found is None:
                self._event("FailedMount", f'configmap "{name}" not found')
                return False
            for key, text in found.get("data", {}).items():
                (path / key).write_text(text)
            for key, coded in found.get("binaryData", {}).items():
                (path / key).write_bytes(base64.b64decode(coded))
        for container in [*self.spec.get("initContainers", []), *self.spec["containers"]]:
            for mount in container.get("volumeMounts", []):
                if mount["name"] == volume["name"]:
                    self.mounts[mount["mountPath"].rstrip("/")] = path
        return True

    def _refused_image(self, image: str) -> None:
        said = f'failed to pull and unpack image "docker.io/{image}": not found'
        self._waiting("ErrImagePull", said)
        self.deleted.wait(0.3)
        self._waiting("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {said}')
        self.deleted.wait()

    def _config_error(self, container: Object) -> str | None:
        wanted = [one["secretRef"] for one in container.get("envFrom", []) if "secretRef" in one]
        wanted += [
            one["valueFrom"]["secretKeyRef"]
            for one in container.get("env", [])
            if "secretKeyRef" in one.get("valueFrom", {})
        ]
        for one in wanted:
            secret = self.kubelet.secrets.get(one["name"])
            if secret is None and not one.get("optional"):
                return f'secret "{one["name"]}" not found'
            if secret is not None and one.get("key", "") not in {"", *secret}:
                return f"couldn't find key {one['key']} in Secret {self.namespace}/{one['name']}"
        return None

    def _initialized(self, container: Object) -> bool:
        if self.trouble.kind == "init":
            container = {**container, "command": ["sh", "-c", "echo 'wget: 403' >&2; exit 1"]}
        self.process, ended = self._start(container, self.folder / f"log-{container['name']}")
        if self.deleted.is_set():  # since before there was a process to end
            self.kill()
        ended()
        if self.process.returncode == 0:
            return True
        ended = {"exitCode": self.exit_code, "reason": "Error", "finishedAt": now()}
        self._status(
            phase="Failed",
            initContainerStatuses=[
                {"name": container["name"], "ready": False, "state": {"terminated": ended}}
            ],
        )
        return False

    def _run(self) -> None:
        container = self.spec["containers"][0]
        if self.trouble.kind == "exits":
            code = self.trouble.exit_code
            command = ["sh", "-c", f"echo 'unknown flag: --stray' >&2; exit {code}"]
            container = {**container, "command": command, "args": []}
        self.started_at = now()
        self.process, ended = self._start(container, self.log_file)
        if self.deleted.is_set():
            self.kill()
        self.has_started = True
        self._running(ready=False)
        threading.Thread(target=self._make_trouble, daemon=True).start()
        if any(port.get("containerPort") == 6565 for port in container.get("ports", [])):
            wait_for(lambda: not self.runs or self.answers())
            self._running(ready=self.runs)
        ended()
        self._ended()

    def _running(self, *, ready: bool) -> None:
        status = {
            "name": "k6",
            "ready": ready,
            "started": True,
            "restartCount": 0,
            "image": self.spec["containers"][0].get("image"),
            "state": {"running": {"startedAt": self.started_at}},
        }
        self._status(phase="Running", podIP="127.0.0.1", containerStatuses=[status])

    def _make_trouble(self) -> None:
        kind = self.trouble.kind
        if kind not in {"oom", "evicted", "deleted", "hang"}:
            return
        wait_for(lambda: self.loaded.is_set() or not self.runs, timeout_s=600)
        if self.deleted.wait(self.trouble.after_s) or not self.runs:
            return
        if kind == "hang":
            os.killpg(self.process.pid, signal.SIGSTOP)
        elif kind == "deleted":
            self.delete(grace_s=0)
        else:
            self.kill()

    def _ended(self) -> None:
        code = self.exit_code
        killed = code == 137
        reason = "Completed" if code == 0 else "OOMKilled" if killed else "Error"
        if killed and self.trouble.kind != "oom":
            reason = "Error"
        ended = {
            "exitCode": code,
            "reason": reason,
            "startedAt": self.started_at,
            "finishedAt": now(),
        }
        status = {"name": "k6", "ready": False, "restartCount": 0, "state": {"terminated": ended}}
        more: Object = {}
        if self.trouble.kind == "evicted" and killed:
            more = {"reason": "Evicted", "message": EVICTED}
        phase = "Succeeded" if code == 0 else "Failed"
        self._status(phase=phase, containerStatuses=[status], **more)

    def _start(self, container: Object, log: Path) -> tuple[Popen[bytes], Callable[[], None]]:
        """Start a container's process; the second value waits for its end and its whole log."""
        fields = {"metadata.name": self.name, "spec.nodeName": self.node}
        env = environment(container, secrets=self.kubelet.secrets, fields=fields)
        if self.trouble.kind == "no_push":
            env["K6_PROMETHEUS_RW_SERVER_URL"] = "http://127.0.0.1:1/"
        command = [self._mapped(one) for one in argv(container, env)]
        if command[:2] == ["k6", "run"]:
            command[2:2] = self.kubelet.also
        return start(
            command,
            env=env,
            home=self.folder,
            k6=self.kubelet.images.get(tag_of(container)),
            log=log,
        )

    def _mapped(self, text: str) -> str:
        """A part of a command with this machine's paths and k6's own port."""
        longest_first = sorted(self.mounts, key=len, reverse=True)
        paths = "|".join(re.escape(path) for path in longest_first)
        text = re.sub(
            rf"(?<![\w./-])({paths})(?=[/\s\"';:)]|$)", lambda at: str(self.mounts[at[1]]), text
        )
        return text.replace("--address=0.0.0.0:6565", f"--address=127.0.0.1:{self.port}")

    def _waiting(self, reason: str, message: str = "") -> None:
        state = {"waiting": {"reason": reason, "message": message}}
        name = self.spec["containers"][0]["name"]
        self._status(
            phase="Pending", containerStatuses=[{"name": name, "ready": False, "state": state}]
        )

    def _status(self, **values: Any) -> None:
        self._update(lambda body: body.setdefault("status", {}).update(values))

    def _update(self, change: Callable[[Object], object]) -> None:
        self.kubelet.store.update(PODS, self.namespace, self.name, change)

    def _event(self, reason: str, message: str) -> None:
        event(self.kubelet.store, self.body, reason, message)


def event(store: Store, body: Object, reason: str, message: str) -> None:
    """A warning about an object, as `kubectl describe` shows it."""
    meta = body["metadata"]
    about = {"kind": body["kind"], "name": meta["name"], "uid": meta["uid"]}
    store.create(
        EVENTS,
        meta["namespace"],
        {
            "metadata": {"name": f"{meta['name']}.{suffix()}"},
            "involvedObject": about,
            "type": "Warning",
            "reason": reason,
            "message": message,
        },
    )
