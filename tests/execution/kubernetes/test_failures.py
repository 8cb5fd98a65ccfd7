"""Why a run on the cluster has failed, by what is known of its pods and its TestRun."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from k6d.core.model import K6dError, Outcome
from k6d.execution.kubernetes.cluster import Cluster, ClusterError, Login
from k6d.execution.kubernetes.cluster import Trouble as Call
from k6d.execution.kubernetes.failures import Seen, before_start, of_error, under_load
from k6d.execution.kubernetes.pods import killed, runner_pods
from k6d.settings import Kubernetes

LIMITS = Kubernetes(schedule_limit=60, start_limit=30, silent_limit=20)
RUNNING = {"containerStatuses": [{"name": "k6", "state": {"running": {}}}], "phase": "Running"}


def pod(number: int, status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """A pod of the TestRun "run", as the API server gives it."""
    labels = {"k6_cr": "run", "batch.kubernetes.io/job-name": f"run-{number}"}
    return {
        "metadata": {"name": f"run-{number}-x", "labels": labels} | metadata,
        "spec": {"nodeName": f"node-{number}"},
        "status": RUNNING if status is None else status,
    }


def seen(*pods: dict[str, Any], runners: int = 2, **changes: Any) -> Seen:
    """What is known of a run with these pods."""
    known = runner_pods(pods, "run")
    given = {"stage": "created", "waited_s": 61.0, "ready_s": None} | changes
    return Seen(runners=runners, pods=known, present=set(known), **given)


def ended(code: int, reason: str = "Error", **status: Any) -> dict[str, Any]:
    """The status of a pod whose k6 has ended."""
    state = {"terminated": {"exitCode": code, "reason": reason}}
    return {"phase": "Failed", "containerStatuses": [{"name": "k6", "state": state}]} | status


@pytest.mark.parametrize(
    ("known", "outcome", "words"),
    [
        (seen(stage="error"), Outcome.CLUSTER, "k6-operator gave up on the TestRun"),
        (seen(stage=""), Outcome.CLUSTER, "k6-operator did nothing with the TestRun after 60 s"),
        (seen(pod(1)), Outcome.NO_CAPACITY, "no pod was made for runner 2 after 60 s"),
        (
            seen(pod(1), pod(2), ready_s=31.0),
            Outcome.CLUSTER,
            "k6-operator did not start the test in 30 s",
        ),
        (seen(pod(1), pod(2, {})), Outcome.CLUSTER, "runner 2 did not come up after 60 s"),
        (
            seen(pod(1), pod(2, ended(1)), waited_s=1.0),
            Outcome.CLUSTER,
            "runner 2 ended before the test began",
        ),
    ],
    ids=["error", "no operator", "no pod", "no start", "no reason", "ended"],
)
def test_a_test_that_does_not_begin(known: Seen, outcome: Outcome, words: str) -> None:
    """Each reason has its outcome and its words."""
    found = before_start(known, LIMITS)
    assert found
    assert found.outcome is outcome
    assert words in found.error


def test_patience_before_the_start() -> None:
    """Within the limits nothing is wrong, also while an image is pulled again."""
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "timeout"}}
    slow = pod(2, {"phase": "Pending", "containerStatuses": [{"name": "k6", "state": waiting}]})
    assert before_start(seen(pod(1), slow, waited_s=10.0), LIMITS) is None
    refused = before_start(seen(pod(1), slow, waited_s=25.0), LIMITS)
    assert refused
    assert "the image of runner 2 is refused: ErrImagePull: timeout" in refused.error


def test_runners_under_load() -> None:
    """Silence is counted from the start; before a push of anybody, the receiver is to blame."""
    both = seen(pod(1), pod(2), stage="started")
    assert under_load(both, LIMITS, now=119.0, started_at=100.0, pushed_at={}) is None
    nobody = under_load(both, LIMITS, now=121.0, started_at=100.0, pushed_at={})
    assert nobody
    assert nobody.outcome is Outcome.CLUSTER
    assert "receiver_url" in nobody.error
    one = under_load(both, LIMITS, now=121.0, started_at=100.0, pushed_at={1: 120.5})
    assert one
    assert (one.outcome, one.runner) == (Outcome.INCOMPLETE, 2)
    over = seen(pod(1, ended(0, "Completed")), pod(2), stage="started")
    assert under_load(over, LIMITS, now=200.0, started_at=100.0, pushed_at={2: 199.0}) is None


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (ended(137, "OOMKilled"), "killed: out of memory (OOMKilled) on node node-1"),
        (ended(137, reason="Evicted"), "ended by the cluster on node node-1: Evicted"),
        (ended(137), "killed by SIGKILL on node node-1"),
        ({"phase": "Failed", "reason": "NodeLost"}, "ended by the cluster on node node-1: Node"),
        (ended(99), None),
        (RUNNING, None),
    ],
)
def test_who_ended_a_runner(status: dict[str, Any], words: str | None) -> None:
    """The cluster's reasons are told from k6's own exit codes; a sidecar counts for nothing."""
    mesh = {"name": "istio-proxy", "state": {"running": {}}}
    with_mesh = status | {"containerStatuses": [mesh, *status.get("containerStatuses", [])]}
    (found,) = runner_pods([pod(1, with_mesh)], "run").values()
    why = killed(found)
    assert why == words if words is None else (why or "").startswith(words)


def test_a_runner_that_is_deleted_may_be_killed() -> None:
    """At its end a run deletes the runners that are left; out of memory is a reason even then."""
    deleted = {"deletionTimestamp": "2026-11-27T11:00:00Z"}
    (found,) = runner_pods([pod(1, ended(137), **deleted)], "run").values()
    assert killed(found) is None
    (found,) = runner_pods([pod(1, ended(137, "OOMKilled"), **deleted)], "run").values()
    assert killed(found)


def test_only_runners_of_this_run() -> None:
    """Starter, initializer and other runs are left out."""
    starter = pod(1)
    starter["metadata"]["labels"] = {"k6_cr": "run", "job-name": "run-starter"}
    other = pod(1)
    other["metadata"]["labels"]["batch.kubernetes.io/job-name"] = "run-2-1"
    assert runner_pods([starter, other], "run") == {}


def test_calls_that_fail() -> None:
    """A quota is a lack of room; everything else is the cluster's."""
    assert of_error(ClusterError(Call.QUOTA, "x")).outcome is Outcome.NO_CAPACITY
    found = of_error(ClusterError(Call.LOGIN, "expired"))
    assert found.outcome is Outcome.CLUSTER
    assert "renew the login" in found.error


def test_without_lightkube(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named, with the command that installs it."""
    monkeypatch.setitem(sys.modules, "lightkube", None)
    with pytest.raises(K6dError, match=r"run pip install 'k6d\[kubernetes\]'"):
        Cluster(Login())
