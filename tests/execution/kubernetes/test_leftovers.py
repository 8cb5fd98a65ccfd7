"""k6d is killed while a test runs on the cluster: its next start deletes what is left there."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from k6d.core.model import Outcome
from support.daemon import hitting, lasting, until
from support.kubernetes import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.daemon import Daemon
    from support.target import Target


def test_killed_at_each_step(tmp_path: Path, daemon: Daemon, target: Target) -> None:
    """With its first object made, with pods, under load and at its end; then a run completes."""
    with Cluster(tmp_path / "cluster", grace_s=1.0) as cluster:
        settings = {
            "K6D_K6__EXECUTOR": "kubernetes",
            "K6D_K6__REPEAT": "false",
            "K6D_KUBERNETES__KUBECONFIG": str(cluster.kubeconfig),
            "K6D_KUBERNETES__RECEIVER_URL": "http://127.0.0.1",
            "K6D_KUBERNETES__RECEIVER_PORT": "0",
        }
        steps: dict[str, Callable[[], object]] = {
            "configmap": lambda: cluster.objects("configmaps"),
            "pods": lambda: cluster.objects("pods"),
            "load": lambda: target.requests["GET /load"] > 3,
            "end": lambda: (
                target.requests["GET /end"] and "delete testruns.k6.io" in cluster.requests
            ),
        }
        for step, is_reached in steps.items():
            daemon.start(**settings)
            until(lambda: not _left(cluster), "the leftovers of the last step to be deleted")
            cluster.requests.clear()
            url = f"{target.url}/{step}"
            text = hitting(url) if step == "end" else lasting(url, seconds=60)
            script = daemon.write(f"{step}.js", text)
            daemon.until(is_reached, f"the step {step}")
            daemon.end(signal.SIGKILL)
            script.unlink()

        daemon.start(**settings)
        until(lambda: not _left(cluster), "the leftovers to be deleted")
        until(lambda: not cluster.pids(), "the runners to end")
        until(lambda: not daemon.store.state("cluster").all(), "the notes to be deleted")
        daemon.write("last.js", hitting(f"{target.url}/last"))
        run = daemon.run("last.js")
        assert run.execution.outcome is Outcome.COMPLETED, run.execution.error
        assert run.metrics.total_requests == 2
        assert daemon.runs("load.js")[0].execution.outcome is Outcome.ABORTED
        assert _left(cluster) == []


def _left(cluster: Cluster) -> list[str]:
    kinds = ("testruns", "configmaps", "jobs", "pods")
    return [one["metadata"]["name"] for kind in kinds for one in cluster.objects(kind)]
