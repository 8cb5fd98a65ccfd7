"""What doctor says of a cluster: login, permissions, the operator, the receiver's address."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from k6d import settings
from k6d.cli.cluster_checks import cluster_checks
from k6d.cli.cluster_probe import probe
from support.kubernetes import Cluster, Trouble
from support.serving import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from k6d.cli.check import Check
    from k6d.settings import Settings


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with the operator."""
    with Cluster(tmp_path / "cluster") as running:
        yield running


def using(cluster: Cluster, **more: Any) -> Settings:
    """Settings for the cluster."""
    port = free_port()
    own = {
        "kubeconfig": str(cluster.kubeconfig),
        "receiver_url": f"http://127.0.0.1:{port}",
        "receiver_port": port,
    }
    folder = cluster.kubeconfig.parent
    chosen = settings.load(None, data=folder / "data", scripts=folder)
    kubernetes = chosen.kubernetes.model_validate(own | more)
    return chosen.model_copy(update={"kubernetes": kubernetes})


async def examined(cluster: Cluster, **more: Any) -> dict[str, Check]:
    """The checks by name."""
    checks = await cluster_checks(using(cluster, **more), k6_version="1.1.0")
    return {check.name: check for check in checks}


async def test_a_good_cluster_is_fine_and_nothing_is_created(cluster: Cluster) -> None:
    """All permissions on one line; the operator takes all fields that the settings lead to."""
    found = await examined(
        cluster,
        resource_requests={"cpu": "500m"},
        node_selector={"pool": "load"},
        tolerations=[{"key": "load", "operator": "Exists"}],
        service_account="runner",
        image_pull_secrets=["registry"],
        env_from=["passwords"],
        separate=True,
    )
    assert [(check.name, check.ok) for check in found.values()] == [
        ("cluster", True),
        ("permissions", True),
        ("k6-operator", True),
        ("receiver", True),
    ]
    assert found["cluster"].seen == f"{cluster.url} answers, namespace load-tests"
    assert found["permissions"].seen.endswith("list, watch pods · get pods/log")
    assert not cluster.objects("testruns")
    assert not cluster.objects("configmaps")


async def test_each_missing_permission_is_named(cluster: Cluster) -> None:
    """One line each, with the file that grants it."""
    cluster.role.difference_update(("get pods/log", "create configmaps"))
    checks = await cluster_checks(using(cluster), k6_version=None)
    missing = [check for check in checks if check.name == "permission"]
    assert [check.seen for check in missing] == [
        "create configmaps is not allowed in namespace load-tests",
        "get pods/log is not allowed in namespace load-tests",
    ]
    assert "role.yaml" in (missing[0].remedy or "")


async def test_a_missing_and_an_old_operator(cluster: Cluster) -> None:
    """The remedy says which one to install."""
    cluster.api.lacks = frozenset({"args"})
    check = (await examined(cluster))["k6-operator"]
    assert (check.ok, check.seen) == (
        False,
        "the resource TestRun has no spec.args: it is older than 1.6",
    )
    cluster.api.has_crd = False
    check = (await examined(cluster))["k6-operator"]
    assert (check.ok, check.seen) == (False, "the cluster has no resource TestRun")
    assert "k6-operator 1.6" in (check.remedy or "")


@pytest.mark.parametrize(
    ("token", "is_away", "words"),
    [
        ("other", False, "the API server refuses the login"),
        ("tests", True, "the API server does not answer"),
    ],
)
async def test_a_cluster_that_cannot_be_asked(
    cluster: Cluster, token: str, is_away: bool, words: str
) -> None:
    """One line for the cluster; the receiver is checked all the same."""
    cluster.token = token
    with cluster.away() if is_away else nullcontext():
        found = await examined(cluster)
    assert list(found) == ["cluster", "receiver"]
    assert words in found["cluster"].seen


async def test_an_absent_login_is_named(cluster: Cluster) -> None:
    """A file that is not there."""
    found = await examined(cluster, kubeconfig="/absent")
    assert "/absent" in found["cluster"].seen


async def test_a_certificate_that_cannot_be_read_is_named(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is an OSError, which would be taken for one of the disk."""
    (tmp_path / "roots.pem").write_text("no certificate\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    seen = (await examined(cluster))["cluster"].seen
    assert seen.startswith("no login to a cluster: a certificate cannot be read (")
    assert "check SSL_CERT_FILE" in seen


@pytest.mark.parametrize(
    ("more", "ok", "words"),
    [
        ({"receiver_url": None}, False, "kubernetes.receiver_url is not set"),
        (
            {"receiver_url": "http://no.invalid", "receiver_bind": "0.0.0.0"},
            False,
            "no.invalid has no",
        ),
        ({"receiver_url": "http://k6d.example"}, True, "for this machine only"),
        ({"receiver_bind": "203.0.113.7"}, False, "cannot listen on 203.0.113.7"),
    ],
)
async def test_the_address_for_the_pods(
    cluster: Cluster, more: dict[str, Any], ok: bool, words: str
) -> None:
    """What can be known of it without a pod."""
    check = (await examined(cluster, **more))["receiver"]
    assert (check.ok, words in check.seen) == (ok, True), check


async def test_a_probe_runs_one_pod_and_leaves_nothing(cluster: Cluster) -> None:
    """The whole way of a test, once well and once without room."""
    check = await probe(using(cluster))
    assert (check.ok, check.seen.startswith("a pod ran on node-1")) == (True, True), check
    cluster.trouble[1] = Trouble("unschedulable")
    check = await probe(using(cluster, schedule_limit=6))
    assert (check.ok, check.seen.startswith("no capacity: 1 runner of 1 had no node")) == (
        False,
        True,
    )
    assert len(cluster.posted) == 2
    assert cluster.gone("testruns", "configmaps", "pods")
