"""Reads what the cluster says of the runners' pods, and words what is wrong with them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_WORDS = 300
CONTAINER = "k6"  # the operator's name of the container
OUT_OF_MEMORY = "OOMKilled"
SIGKILLED = 137
STOPPED = (105, SIGKILLED)  # exit codes of a k6 that was told to end, or was not waited for
_BY_CLUSTER = frozenset({"Evicted", "Preempting", "NodeLost", "NodeShutdown", "Terminated"})
# Reasons why a container waits that no patience mends, with what to do.
REFUSED_IMAGE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
)
REFUSED_CONFIG = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
_JOB_LABELS = ("batch.kubernetes.io/job-name", "job-name")


@frozen
class RunnerPod:
    """The pod of one runner.

    `exit_code` is that of k6, `reason` and `message` are the cluster's words: why it was killed, or
    why it does not start. `init_failed`: the snapshot could not be fetched.
    """

    number: int
    name: str
    node: str | None
    running: bool
    ended: bool
    exit_code: int | None
    reason: str | None
    message: str | None
    unschedulable: bool
    init_failed: bool
    deleting: bool

    @property
    def is_refused(self) -> bool:
        """Whether its image or its configuration was refused."""
        return not self.running and self.reason in REFUSED_IMAGE | REFUSED_CONFIG

    @property
    def why(self) -> str:
        """The cluster's words, on one line."""
        said = ": ".join(filter(None, (self.reason, self.message)))
        return one_line(said, MOST_WORDS) if said else ""


def runner_pods(documents: Iterable[Mapping[str, Any]], name: str) -> dict[int, RunnerPod]:
    """Return the pods of the runners of a TestRun by number, from 1 on."""
    found: dict[int, RunnerPod] = {}
    for document in documents:
        labels = document["metadata"].get("labels") or {}
        job = next((labels[label] for label in _JOB_LABELS if label in labels), "")
        number = re.fullmatch(rf"{re.escape(name)}-(\d+)", job)
        if number:
            pod = _pod(document, int(number[1]))
            found[pod.number] = pod
    return found


def _pod(document: Mapping[str, Any], number: int) -> RunnerPod:
    status = document.get("status") or {}
    state = _state_of(status.get("containerStatuses"))
    terminated, waiting = state.get("terminated") or {}, state.get("waiting") or {}
    init = [(one.get("state") or {}) for one in status.get("initContainerStatuses") or []]
    init_ends = [one["terminated"] for one in init if one.get("terminated")]
    init_failed = any(one.get("exitCode") for one in init_ends)
    init_waits: dict[str, Any] = next((one["waiting"] for one in init if one.get("waiting")), {})
    unschedulable = _condition(status, "PodScheduled")
    ended = bool(terminated) or status.get("phase") in ("Succeeded", "Failed")
    first = (terminated, waiting, init_waits, unschedulable)
    reason = status.get("reason") or next((o["reason"] for o in first if o.get("reason")), None)
    message = status.get("message") or next((o["message"] for o in first if o.get("message")), None)
    return RunnerPod(
        number=number,
        name=document["metadata"]["name"],
        node=(document.get("spec") or {}).get("nodeName"),
        running=state.get("running") is not None,
        ended=ended,
        exit_code=terminated.get("exitCode"),
        reason=reason,
        message=message,
        unschedulable=bool(unschedulable),
        init_failed=init_failed,
        deleting=bool(document["metadata"].get("deletionTimestamp")),
    )


def _state_of(statuses: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Return the state of k6's container; a service mesh may add others."""
    by_name = {one.get("name"): one.get("state") or {} for one in statuses or []}
    return by_name.get(CONTAINER) or next(iter(by_name.values()), {})


def _condition(status: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return a condition that is false, with its reason and message."""
    for one in status.get("conditions") or []:
        if one.get("type") == kind and one.get("status") == "False":
            return dict(one)
    return {}


def killed(pod: RunnerPod) -> str | None:
    """Return why the cluster ended a runner before k6 did; None if k6 ended by itself.

    A pod that is being deleted gets SIGKILL when its time is over. k6d deletes the runners that are
    left when a run has ended, so that alone says nothing.
    """
    on = f" on node {pod.node}" if pod.node else ""
    if pod.reason == OUT_OF_MEMORY:
        return f"killed: out of memory (OOMKilled){on}; raise kubernetes.resource_limits"
    if pod.reason in _BY_CLUSTER or (pod.ended and pod.exit_code is None):
        return f"ended by the cluster{on}: {pod.why or 'it does not say why'}"
    if pod.exit_code == SIGKILLED and not pod.deleting:
        return f"killed by SIGKILL{on}"
    return None
