"""Makes the documents of a run: the ConfigMap with the snapshot, and k6-operator's TestRun."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.settings.kubernetes import has_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from k6d.settings import Kubernetes

ARCHIVE = "archive.tar"
# A ConfigMap holds 1 MiB; some of it is kept for what the server adds.
MAX_CONFIGMAP_BYTES = (1 << 20) - 4096
FOLDER = "/k6d"  # where the init container puts the archive
IMAGE = "grafana/k6"
MANAGER, INSTANCE, RUN = "app.kubernetes.io/managed-by", "k6d.io/instance", "k6d.io/run"
PUSH, DOWNLOAD = "/write", f"/{ARCHIVE}"  # paths of the receiver
_TOKEN = "K6_PROMETHEUS_RW_BEARER_TOKEN"  # noqa: S105  (the name of a variable)
# BusyBox's wget, which is in k6's image.
_FETCH = (
    'for n in 1 2 3 4 5; do wget -q -T 30 -O "$0" --header "Authorization: Bearer $TOKEN" "$1"'
    " && exit 0; sleep 1; done; exit 1"
)


@frozen
class Placement:
    """Where the runners of a run are: two runs compare only if this is equal."""

    parallelism: int
    image: str
    resource_requests: dict[str, str]
    resource_limits: dict[str, str]
    node_selector: dict[str, str]
    separate: bool

    @classmethod
    def of(cls, settings: Kubernetes, *, parallelism: int | None, k6_version: str) -> Placement:
        return cls(
            parallelism=parallelism or settings.parallelism,
            image=settings.image or f"{IMAGE}:{k6_version}",
            resource_requests=dict(settings.resource_requests),
            resource_limits=dict(settings.resource_limits),
            node_selector=dict(settings.node_selector),
            separate=settings.separate,
        )

    def document(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def k6_version(self) -> str | None:
        """The version of k6 by the tag of the image, if that is one."""
        tag = re.search(r":v?(\d+\.\d+\.\d+)(?:$|@|-)", self.image)
        return tag[1] if tag else None


@frozen
class Names:
    """The name of the objects of a run, and their labels; `instance` is this data folder's id."""

    test_id: str
    instance: str

    @property
    def name(self) -> str:
        return name_of_run(self.test_id)

    @property
    def labels(self) -> dict[str, str]:
        return {MANAGER: "k6d", INSTANCE: self.instance, RUN: self.test_id}


@frozen
class Workload:
    """What the runners run: k6's arguments and variables, and where the receiver is.

    `download`: the archive is too large for a ConfigMap, and an init container fetches it.
    """

    args: Sequence[str]
    env: Mapping[str, str]
    receiver_url: str
    token: str
    download: bool


def name_of_run(test_id: str) -> str:
    """Return the name of the objects of a run: lower-case, at most 50 characters."""
    return f"k6d-{re.sub(r'[^a-z0-9-]', '-', test_id.lower())}"[:50].rstrip("-")


def instance_of(data: Path) -> str:
    """Return a label for all objects that were made for a data folder."""
    return hashlib.sha256(str(data).encode()).hexdigest()[:16]


def receiver_url(settings: Kubernetes, port: int) -> str | None:
    """Return the URL by which runners reach the receiver; None if it is not set."""
    if settings.receiver_url is None:
        return None
    url = settings.receiver_url.rstrip("/")
    if has_port(url):
        return url
    scheme, rest = url.split("://", 1)
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}:{port}{slash}{path}"


def configmap(names: Names, archive: bytes) -> dict[str, Any]:
    """Return the ConfigMap that holds the archive."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": names.name, "labels": names.labels},
        "binaryData": {ARCHIVE: base64.b64encode(archive).decode()},
    }


def testrun(
    names: Names, workload: Workload, placement: Placement, settings: Kubernetes
) -> dict[str, Any]:
    """Return the TestRun; the operator's own check of the script is left out, k6d has made it."""
    script: dict[str, Any] = {"configMap": {"name": names.name, "file": ARCHIVE}}
    if workload.download:
        script = {"localFile": f"{FOLDER}/{ARCHIVE}"}
    return {
        "apiVersion": "k6.io/v1alpha1",
        "kind": "TestRun",
        "metadata": {"name": names.name, "labels": names.labels},
        "spec": {
            "parallelism": placement.parallelism,
            "separate": placement.separate,
            "script": script,
            "args": list(workload.args),
            "initializer": {"disabled": True},
            "starter": _restricted(settings),
            "runner": _runner(names, workload, placement, settings),
        },
    }


def _runner(
    names: Names, workload: Workload, placement: Placement, settings: Kubernetes
) -> dict[str, Any]:
    env = {**workload.env, _TOKEN: workload.token}
    resources = {"requests": placement.resource_requests, "limits": placement.resource_limits}
    runner = {
        "image": placement.image,
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "envFrom": [{"secretRef": {"name": name}} for name in settings.env_from],
        "resources": {which: found for which, found in resources.items() if found},
        "nodeSelector": placement.node_selector,
        "tolerations": [one.model_dump(exclude_none=True) for one in settings.tolerations],
        "serviceAccountName": settings.service_account,
        **_restricted(settings),
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
        "metadata": {"labels": names.labels},
        **(_download(workload, placement) if workload.download else {}),
    }
    return {key: value for key, value in runner.items() if value}


def _restricted(settings: Kubernetes) -> dict[str, Any]:
    """Return what the Pod Security Standard "restricted" asks of a pod.

    No pod of a run needs the token of its service account.
    """
    found: dict[str, Any] = {"automountServiceAccountToken": "false"}
    user = settings.run_as_user
    if user is not None:
        found["securityContext"] = {
            "runAsNonRoot": user != 0,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        found["containerSecurityContext"] = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
    return found


def _download(workload: Workload, placement: Placement) -> dict[str, Any]:
    """Return the init container that fetches the archive, and its volume."""
    mounts = [{"name": "k6d-snapshot", "mountPath": FOLDER}]
    fetch = {
        "name": "k6d-snapshot",
        "image": placement.image,
        "command": ["sh", "-c", _FETCH, f"{FOLDER}/{ARCHIVE}", workload.receiver_url + DOWNLOAD],
        "env": [{"name": "TOKEN", "value": workload.token}],
        "volumeMounts": mounts,
    }
    return {
        "volumes": [{"name": "k6d-snapshot", "emptyDir": {}}],
        "volumeMounts": mounts,
        "initContainers": [fetch],
    }
