"""What is known of a run while the API server answers only in part."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from k6d.execution.kubernetes import cluster as cluster_module
from k6d.execution.kubernetes.cluster import Cluster as Client
from k6d.execution.kubernetes.cluster import Kind, Login
from k6d.execution.kubernetes.testrun import Names
from k6d.execution.kubernetes.watch import POD_LABEL, Watched
from support.kubernetes import Cluster
from support.kubernetes_store import PODS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

NAMES = Names(test_id="20261127-081836-161cF8", instance="abc")


def a_pod(number: int) -> dict[str, object]:
    """A pod of a runner."""
    labels = {POD_LABEL: NAMES.name, "job-name": f"{NAMES.name}-{number}"}
    return {"metadata": {"name": f"pod-{number}", "labels": labels}, "spec": {}}


async def _until(condition: Callable[[], bool], watched: Watched) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await watched.change(0.5)


async def test_news_of_the_pods_do_not_hide_that_those_of_the_testrun_are_old(
    tmp_path: Path,
) -> None:
    """The server is away until both watches are back: a runner's end without the stage misleads."""
    with Cluster(tmp_path / "cluster") as cluster:
        cluster.store.listeners.clear()  # no operator and no kubelet
        cluster.refuse("list", "testruns.k6.io", 503)
        async with (
            Client(Login(kubeconfig=cluster.kubeconfig)) as client,
            Watched(client, NAMES) as watched,
        ):
            await _until(lambda: watched.away_since is not None, watched)
            for number in (1, 2):
                cluster.store.create(PODS, cluster.namespace, a_pod(number))
                await _until(lambda number=number: number in watched.pods, watched)
                assert watched.away_since is not None
            cluster.refuse("list", "testruns.k6.io", 503, times=0)
            await _until(lambda: watched.away_since is None, watched)


async def test_a_watch_that_the_server_does_not_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happened meanwhile is listed, and nothing is reported as a failure."""
    monkeypatch.setattr(cluster_module, "WATCH_S", 20.0)
    monkeypatch.setattr(cluster_module, "HUNG_S", -19.5)  # half a second after it began
    monkeypatch.setattr(cluster_module, "AGAIN_S", 0.0)
    with Cluster(tmp_path / "cluster") as cluster:
        cluster.store.listeners.clear()
        async with Client(Login(kubeconfig=cluster.kubeconfig)) as client, asyncio.timeout(30):
            listed = 0
            async for _ in client.watch(Kind.POD, labels={}):
                listed += 1
                if listed == 3:
                    break
