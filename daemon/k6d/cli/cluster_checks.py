"""The checks of `k6d doctor` for runs on a Kubernetes cluster; they create nothing there."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import closing
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from k6d.cli.check import Check, fine, problem
from k6d.core.errors import K6dError, reason
from k6d.execution.kubernetes.cluster import (
    PERMISSIONS,
    Cluster,
    ClusterError,
    Kind,
    Login,
    Trouble,
)
from k6d.execution.kubernetes.testrun import Names, Placement, Workload, receiver_url, testrun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k6d.execution.kubernetes.cluster import Permission
    from k6d.settings import Kubernetes, Settings

OPERATOR = "k6-operator"
_INSTALL = (
    "install k6-operator 1.6 or newer: https://grafana.com/docs/k6/latest/set-up/"
    "set-up-distributed-k6/install-k6-operator/"
)
_REMEDIES = {
    Trouble.AWAY: "can this machine reach the API server? kubectl version asks it as well",
    Trouble.LOGIN: "renew the login: kubernetes.kubeconfig and kubernetes.context name it",
    Trouble.CONFIG: "set kubernetes.kubeconfig, or kubernetes.context",
}
_LOOPBACK = ("127.", "::1", "localhost")


async def cluster_checks(settings: Settings, *, k6_version: str | None) -> list[Check]:
    """Check the login, the permissions, k6-operator and the receiver's address."""
    kubernetes = settings.kubernetes
    receiver = await asyncio.to_thread(_receiver, kubernetes)
    try:
        async with Cluster(Login.of(kubernetes)) as cluster:
            missing = [one for one in PERMISSIONS if not await cluster.may(one)]
            return [
                fine("cluster", f"{cluster.server} answers, namespace {cluster.namespace}"),
                *_permissions(missing, cluster.namespace),
                await _operator(cluster, kubernetes, k6_version, missing),
                receiver,
            ]
    except ClusterError as error:
        remedy = _REMEDIES.get(error.trouble, "look at the log of the API server")
        return [problem("cluster", str(error), remedy), receiver]
    except K6dError as error:  # lightkube is missing
        seen, _, remedy = str(error).partition(": ")
        return [problem("cluster", seen, remedy), receiver]


def _permissions(missing: list[Permission], namespace: str) -> list[Check]:
    """Report each missing permission, or all permissions on one line."""
    if not missing:
        return [fine("permissions", _listed())]
    remedy = "grant it with the role in config/kubernetes/role.yaml"
    return [
        problem("permission", f"{one} is not allowed in namespace {namespace}", remedy)
        for one in missing
    ]


def _listed() -> str:
    def what(one: Permission) -> str:
        return str(one).removeprefix(f"{one.verb} ")

    grouped = groupby(PERMISSIONS, key=what)
    return " · ".join(f"{', '.join(one.verb for one in ones)} {name}" for name, ones in grouped)


async def _operator(
    cluster: Cluster, settings: Kubernetes, k6_version: str | None, missing: list[Permission]
) -> Check:
    """Ask the server in a dry run whether it takes a TestRun with all fields that k6d sets."""
    if any(one.kind is Kind.TESTRUN and one.verb == "create" for one in missing):
        return problem(OPERATOR, "not checked: creating a TestRun is not allowed", "see above")
    sent = _sample(settings, k6_version)
    try:
        taken = await cluster.create(Kind.TESTRUN, sent, dry_run=True)
    except ClusterError as error:
        if error.trouble is Trouble.MISSING:
            return problem(OPERATOR, "the cluster has no resource TestRun", _INSTALL)
        return problem(OPERATOR, f"a TestRun is refused: {error}", "change what it names")
    if dropped := _dropped(sent["spec"], taken.get("spec") or {}, "spec"):
        seen = f"the resource TestRun has no {', '.join(dropped)}: it is older than 1.6"
        return problem(OPERATOR, seen, _INSTALL)
    return fine(OPERATOR, f"TestRun {taken['apiVersion']} takes all that k6d sets (1.6 or newer)")


def _sample(settings: Kubernetes, k6_version: str | None) -> dict[str, Any]:
    """Return a TestRun with all fields that the settings lead to."""
    placement = Placement.of(settings, parallelism=None, k6_version=k6_version or "latest")
    names = Names(test_id="doctor", instance="doctor")
    workload = Workload(
        args=["--quiet"],
        env={"A": "b"},
        receiver_url=settings.receiver_url or "http://127.0.0.1",
        token="doctor",  # noqa: S106  (no secret: nothing is created)
        download=True,
    )
    return testrun(names, workload, placement, settings)


def _dropped(sent: Mapping[str, Any], taken: Mapping[str, Any], path: str) -> list[str]:
    """Return the fields that the server left out because it does not know them."""
    found = []
    for key, value in sent.items():
        here = f"{path}.{key}"
        if key not in taken:
            found.append(here)
        elif isinstance(value, dict) and isinstance(taken[key], dict):
            found += _dropped(value, taken[key], here)
    return found


def _receiver(settings: Kubernetes) -> Check:
    """Check what can be known here of the address that the pods push to."""
    url = receiver_url(settings, settings.receiver_port)
    bind, port = settings.receiver_bind, settings.receiver_port
    if url is None:
        remedy = "set kubernetes.receiver_url to an address of this machine that pods can reach"
        return problem("receiver", "kubernetes.receiver_url is not set", remedy)
    host = urlsplit(url).hostname or ""
    if bind.startswith(_LOOPBACK) and not host.startswith(_LOOPBACK):
        remedy = 'set kubernetes.receiver_bind = "0.0.0.0", or a proxy must lead there'
        return fine("receiver", f"{url}, but k6d listens on {bind}, for this machine only", remedy)
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        remedy = "correct kubernetes.receiver_url; a name of the cluster is known to its pods only"
        return problem("receiver", f"{host} has no address here: {reason(error)}", remedy)
    try:
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        with closing(socket.socket(family)) as found:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((bind, port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:  # in use: by a daemon that runs a test just now
            remedy = "correct kubernetes.receiver_bind and kubernetes.receiver_port"
            return problem("receiver", f"cannot listen on {bind}:{port}: {reason(error)}", remedy)
    return fine("receiver", f"{url}; k6d doctor --probe tries it with a pod")
