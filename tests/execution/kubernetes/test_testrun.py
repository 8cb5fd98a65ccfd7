"""The TestRun that k6d makes of a run and its settings, against the operator's schema."""

from __future__ import annotations

from typing import Any

import pytest

from k6d.execution.kubernetes.testrun import (
    Names,
    Placement,
    Workload,
    configmap,
    name_of_run,
    receiver_url,
)
from k6d.execution.kubernetes.testrun import testrun as document_of
from k6d.settings import Kubernetes
from support.kubernetes_schema import invalid, unknown
from support.kubernetes_store import TESTRUNS

NAMES = Names(test_id="20261127-081836-161cF8", instance="abc")


def made(*, download: bool = False, **settings: Any) -> dict[str, Any]:
    """The TestRun of a run with these settings."""
    given = Kubernetes(receiver_url="http://k6d:1", **settings)
    workload = Workload(
        args=["--tag", "a=b c"],
        env={"X": "1"},
        receiver_url="http://k6d:1",
        token="secret",
        download=download,
    )
    placement = Placement.of(given, parallelism=None, k6_version="1.1.0")
    document = document_of(NAMES, workload, placement, given)
    assert list(unknown(TESTRUNS, document)) == list(invalid(TESTRUNS, document)) == []
    return document


def test_the_least() -> None:
    """One runner of the local k6's version, its own image, the archive from the ConfigMap."""
    found = made()
    assert found["metadata"]["name"] == "k6d-20261127-081836-161cf8"
    assert found["metadata"]["labels"]["k6d.io/run"] == NAMES.test_id
    spec = found["spec"]
    assert spec["parallelism"] == 1
    assert spec["script"] == {"configMap": {"name": NAMES.name, "file": "archive.tar"}}
    assert spec["args"] == ["--tag", "a=b c"]
    assert spec["initializer"] == {"disabled": True}
    assert spec["runner"]["image"] == "grafana/k6:1.1.0"
    env = {one["name"]: one["value"] for one in spec["runner"]["env"]}
    assert env == {"X": "1", "K6_PROMETHEUS_RW_BEARER_TOKEN": "secret"}
    assert "cleanup" not in spec
    assert "token" not in spec


def test_every_setting() -> None:
    """Image, resources, nodes, account, Secrets: each stands where the operator reads it."""
    runner = made(
        parallelism=3,
        image="registry.example/k6:2",
        resource_requests={"cpu": 1, "memory": "1Gi"},
        resource_limits={"memory": "2Gi"},
        node_selector={"pool": "load"},
        tolerations=[{"key": "load", "operator": "Exists", "effect": "NoSchedule"}],
        separate=True,
        service_account="runner",
        image_pull_secrets="registry",
        env_from="one\ntwo",
    )["spec"]
    assert (runner["parallelism"], runner["separate"]) == (3, True)
    assert runner["runner"] | {"env": None} == {
        "image": "registry.example/k6:2",
        "env": None,
        "envFrom": [{"secretRef": {"name": "one"}}, {"secretRef": {"name": "two"}}],
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "nodeSelector": {"pool": "load"},
        "tolerations": [{"key": "load", "operator": "Exists", "effect": "NoSchedule"}],
        "serviceAccountName": "runner",
        "automountServiceAccountToken": "false",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 12345,
            "runAsGroup": 12345,
            "fsGroup": 12345,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containerSecurityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "imagePullSecrets": [{"name": "registry"}],
        "metadata": {"labels": NAMES.labels},
    }


def test_the_user_of_the_image() -> None:
    """A cluster that gives each namespace its own user ids wants none from us."""
    spec = made(run_as_user="")["spec"]
    assert spec["starter"] == {"automountServiceAccountToken": "false"}
    assert "securityContext" not in spec["runner"]


def test_a_large_archive_is_downloaded() -> None:
    """An init container of the same image fetches it with the token, which is in no argument."""
    spec = made(download=True)["spec"]
    assert spec["script"] == {"localFile": "/k6d/archive.tar"}
    (fetch,) = spec["runner"]["initContainers"]
    assert fetch["command"][-1] == "http://k6d:1/archive.tar"
    assert "secret" not in " ".join(fetch["command"])
    assert fetch["volumeMounts"] == spec["runner"]["volumeMounts"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://k6d.ns.svc", "http://k6d.ns.svc:6564"),
        ("http://k6d.ns.svc:80/", "http://k6d.ns.svc:80"),
        ("https://k6d.example/k6/", "https://k6d.example:6564/k6"),
        ("http://[fd00::1]", "http://[fd00::1]:6564"),
        (None, None),
    ],
)
def test_the_address_of_the_receiver(url: str | None, expected: str | None) -> None:
    """A URL without a port gets that of the receiver."""
    assert receiver_url(Kubernetes(receiver_url=url), 6564) == expected


def test_names_and_the_configmap() -> None:
    """Names suit Kubernetes; the archive is base64."""
    assert name_of_run("20261127-081836-abc_D.e" + "x" * 60) == "k6d-20261127-081836-abc-d-e" + (
        "x" * 23
    )
    assert configmap(NAMES, b"tar")["binaryData"] == {"archive.tar": "dGFy"}


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("grafana/k6:1.1.0", "1.1.0"),
        ("r:5000/k6:v2.2.0-browser", "2.2.0"),
        ("grafana/k6:latest", None),
        ("grafana/k6:1.1.0@sha256:" + "a" * 64, "1.1.0"),
    ],
)
def test_the_version_of_an_image(image: str, version: str | None) -> None:
    """By its tag, if that is a version."""
    found = Placement.of(Kubernetes(image=image), parallelism=None, k6_version="0.57.0")
    assert found.k6_version == version
