"""Decides, from what is known of a run in the cluster, whether it has failed there, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.core.model import Outcome
from k6d.core.text import plural
from k6d.execution.kubernetes import pods as pod_words
from k6d.execution.kubernetes.cluster import Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k6d.execution.kubernetes.cluster import ClusterError
    from k6d.execution.kubernetes.pods import RunnerPod
    from k6d.settings import Kubernetes

REFUSED_S = 20.0  # so long an image or a Secret may be missing: registries have short faults
STARTED = ("started", "stopped", "finished")
OPERATOR = "kubectl -n k6-operator-system logs deploy/k6-operator-controller-manager"


@frozen
class Failure:
    """The outcome of a run that the cluster failed, and the reason; `runner` is to blame."""

    outcome: Outcome
    error: str
    runner: int | None = None


@frozen
class Seen:
    """What is known of a run: its pods by number, those that exist, the stage, and how long ago.

    `waited_s` is the time since the TestRun was made, `ready_s` the time since all runners run.
    """

    runners: int
    pods: Mapping[int, RunnerPod]
    present: set[int]
    stage: str | None
    waited_s: float
    ready_s: float | None

    @property
    def unready(self) -> list[int]:
        """The runners that do not run yet."""
        known = {number for number, pod in self.pods.items() if pod.running or pod.ended}
        return [number for number in range(1, self.runners + 1) if number not in known]


def of_error(error: ClusterError) -> Failure:
    """Return the failure of a call."""
    remedies = {
        Trouble.FORBIDDEN: "; k6d doctor names the missing permissions",
        Trouble.LOGIN: "; renew the login (kubernetes.kubeconfig, kubernetes.context)",
        Trouble.CONFIG: "; set kubernetes.kubeconfig or kubernetes.context",
        Trouble.MISSING: "; is k6-operator installed, and does the namespace exist?",
    }
    outcome = Outcome.NO_CAPACITY if error.trouble is Trouble.QUOTA else Outcome.CLUSTER
    return Failure(outcome=outcome, error=f"{error}{remedies.get(error.trouble, '')}")


def before_start(seen: Seen, limits: Kubernetes) -> Failure | None:
    """Return why the test will not begin; None while it may."""
    if seen.stage == "error":
        return Failure(
            outcome=Outcome.CLUSTER,
            error=f"k6-operator gave up on the TestRun (stage error); its log says why: {OPERATOR}",
        )
    for pod in seen.pods.values():
        if pod.init_failed:
            error = (
                f"runner {pod.number} could not fetch the snapshot from kubernetes.receiver_url:"
                " can pods reach it?"
            )
            return Failure(outcome=Outcome.CLUSTER, error=error, runner=pod.number)
        if pod.is_refused and seen.waited_s >= min(REFUSED_S, limits.schedule_limit):
            return _refused(pod)
        if pod.ended:
            return Failure(
                outcome=Outcome.CLUSTER,
                error=f"runner {pod.number} ended before the test began",
                runner=pod.number,
            )
    if seen.unready and seen.waited_s >= limits.schedule_limit:
        return _not_scheduled(seen, limits)
    if seen.ready_s is not None and seen.ready_s >= limits.start_limit:
        return Failure(
            outcome=Outcome.CLUSTER,
            error=f"all runners wait, but k6-operator did not start the test in "
            f"{limits.start_limit:g} s (stage {seen.stage or 'not set'}); see {OPERATOR}",
        )
    return None


def _refused(pod: RunnerPod) -> Failure:
    what = "image" if pod.reason in pod_words.REFUSED_IMAGE else "configuration"
    setting = "kubernetes.image, image_pull_secrets" if what == "image" else "kubernetes.env_from"
    return Failure(
        outcome=Outcome.CLUSTER,
        error=f"the {what} of runner {pod.number} is refused: {pod.why}; check {setting}",
        runner=pod.number,
    )


def _not_scheduled(seen: Seen, limits: Kubernetes) -> Failure:
    limit = f"after {limits.schedule_limit:g} s"
    waiting = [seen.pods[number] for number in seen.unready if number in seen.pods]
    if unscheduled := [pod for pod in waiting if pod.unschedulable]:
        pod = unscheduled[0]
        return Failure(
            outcome=Outcome.NO_CAPACITY,
            error=f"{plural(len(unscheduled), 'runner')} of {seen.runners} had no node {limit}: "
            f"{pod.why}",
            runner=pod.number,
        )
    if waiting:
        pod = waiting[0]
        return Failure(
            outcome=Outcome.CLUSTER,
            error=f"runner {pod.number} did not come up {limit}: {pod.why or 'no reason given'}",
            runner=pod.number,
        )
    if not seen.pods and not seen.stage:
        return Failure(
            outcome=Outcome.CLUSTER,
            error=f"k6-operator did nothing with the TestRun {limit}: does it run, and does it "
            f"watch this namespace? See {OPERATOR}",
        )
    number = seen.unready[0]
    return Failure(
        outcome=Outcome.NO_CAPACITY,
        error=f"no pod was made for runner {number} {limit}: a quota or an admission rule of the "
        "namespace forbids it; kubectl describe job says which",
        runner=number,
    )


def under_load(
    seen: Seen,
    limits: Kubernetes,
    *,
    now: float,
    started_at: float,
    pushed_at: Mapping[int, float],
) -> Failure | None:
    """Return why a run that goes on is lost: a runner was killed, is gone, or is silent.

    `pushed_at` are the times of the runners' last pushes; all times are monotonic.
    """
    for number in range(1, seen.runners + 1):
        pod = seen.pods.get(number)
        if pod is None:
            continue
        who = f"runner {number} of {seen.runners}"
        is_gone = pod.deleting or number not in seen.present
        if is_gone and pod.exit_code in {None, *pod_words.STOPPED}:
            error = f"{who} is gone: its pod was deleted, or its node ({pod.node}) was drained"
            return Failure(outcome=Outcome.INCOMPLETE, error=error, runner=number)
        if why := pod_words.killed(pod):
            return Failure(outcome=Outcome.INCOMPLETE, error=f"{who} was {why}", runner=number)
        silent_s = now - max(pushed_at.get(number, started_at), started_at)
        if not pod.ended and silent_s >= limits.silent_limit:
            return _silent(seen, number, pushed_at, limits)
    return None


def _silent(seen: Seen, number: int, pushed_at: Mapping[int, float], limits: Kubernetes) -> Failure:
    if not pushed_at:
        return Failure(
            outcome=Outcome.CLUSTER,
            error=f"no runner pushed anything in {limits.silent_limit:g} s: can pods reach "
            "kubernetes.receiver_url, and does it lead to kubernetes.receiver_bind and "
            "receiver_port?",
        )
    pod = seen.pods[number]
    what = "has pushed nothing yet" if number not in pushed_at else "is silent"
    return Failure(
        outcome=Outcome.INCOMPLETE,
        error=f"runner {number} of {seen.runners} {what}: no push for {limits.silent_limit:g} s"
        + (f" (node {pod.node})" if pod.node else ""),
        runner=number,
    )
