"""One run on the cluster: make its objects, wait for its runners, watch the load, end it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.core.model import Outcome
from k6d.execution.kubernetes import failures, thresholds
from k6d.execution.kubernetes.cluster import ClusterError, Kind, Trouble
from k6d.execution.kubernetes.failures import STARTED, Failure, Seen
from k6d.execution.kubernetes.testrun import configmap, testrun
from k6d.execution.kubernetes.watch import POD_LABEL, Watched
from k6d.execution.outcome import MEASURED

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.execution.kubernetes.captures import Captures
    from k6d.execution.kubernetes.cluster import Cluster
    from k6d.execution.kubernetes.logs import Logs
    from k6d.execution.kubernetes.pods import RunnerPod
    from k6d.execution.kubernetes.testrun import Names, Placement, Workload
    from k6d.execution.kubernetes.thresholds import Wanted
    from k6d.settings import Kubernetes

logger = logging.getLogger(__name__)

LOOK_S = 2.0  # k6 judges thresholds this often, too
AWAY_S = 300.0  # the load goes on without the API server; its results can wait so long
LOGS_S = 60.0
OPENING_S = 1.0  # for the logs of pods that are to be deleted
GONE_S = 60.0


@frozen
class Ended:
    """How a run in the cluster ended.

    `pods` are the runners' last states. `cut_by`: the threshold that ended it. `elapsed_s` is the
    time under load, 0 if the load never began.
    """

    pods: dict[int, RunnerPod] = field(default_factory=dict)
    elapsed_s: float = 0.0
    failure: Failure | None = None
    stopped: bool = False
    timed_out: bool = False
    cut_by: Wanted | None = None


@dataclass(slots=True, kw_only=True)
class Lifecycle:
    """Takes one run through the cluster; `deadline_s` counts from the start of the load."""

    cluster: Cluster
    names: Names
    workload: Workload
    placement: Placement
    settings: Kubernetes
    captures: Captures
    logs: Logs
    wanted: list[Wanted]
    stop: asyncio.Event
    deadline_s: float
    grace_s: float
    is_clean: bool = False  # whether no object of the run is left
    _began: float = field(init=False, default_factory=time.monotonic)
    _started: float | None = field(init=False, default=None)

    async def run(self, archive: Path) -> Ended:
        """Run the test and read the logs; the objects are deleted afterwards, whatever happens."""
        try:
            try:
                await self._create(archive)
            except ClusterError as error:
                return Ended(failure=failures.of_error(error))
            async with Watched(self.cluster, self.names) as watched:
                waker = asyncio.create_task(self._wake_on_stop(watched))
                try:
                    ended = await self._watch(watched)
                    await self._read_logs(ended, watched)
                finally:
                    waker.cancel()
            return ended
        finally:
            await self._delete()

    async def _create(self, archive: Path) -> None:
        if not self.workload.download:
            contents = await asyncio.to_thread(archive.read_bytes)
            await self.cluster.create(Kind.CONFIGMAP, configmap(self.names, contents))
        document = testrun(self.names, self.workload, self.placement, self.settings)
        made = await self.cluster.create(Kind.TESTRUN, document)
        if "args" not in (made.get("spec") or {}):
            raise ClusterError(
                Trouble.INVALID,
                "its k6-operator does not know spec.args; k6d needs k6-operator 1.6 or newer",
            )
        logger.info("TestRun %s made in namespace %s", self.names.name, self.cluster.namespace)

    async def _wake_on_stop(self, watched: Watched) -> None:
        await self.stop.wait()
        watched.wake()

    async def _watch(self, watched: Watched) -> Ended:
        """Wait for the end of the run, or for a reason to end it."""
        ready_since: float | None = None
        while True:
            now = time.monotonic()
            seen = self._seen(watched, now, ready_since)
            if ready_since is None and not seen.unready:
                ready_since = now
            if self._started is None and watched.stage in STARTED:
                self._started = now
                logger.info("TestRun %s: all %d runners started", self.names.name, seen.runners)
            if ended := self._end(watched, seen, now):
                return ended
            await watched.change(LOOK_S)

    def _seen(self, watched: Watched, now: float, ready_since: float | None) -> Seen:
        return Seen(
            runners=self.placement.parallelism,
            pods=watched.pods,
            present=watched.present,
            stage=watched.stage,
            waited_s=now - self._began,
            ready_s=None if ready_since is None else now - ready_since,
        )

    def _end(self, watched: Watched, seen: Seen, now: float) -> Ended | None:
        """Return how the run ends now; None if it goes on."""
        elapsed_s = now - self._started if self._started else 0.0
        pods = dict(watched.pods)
        if self.stop.is_set():
            return Ended(pods=pods, elapsed_s=elapsed_s, stopped=True)
        failure = self._failure(watched, seen, now)
        if failure:
            return Ended(pods=pods, elapsed_s=elapsed_s, failure=failure)
        if self._started is None:
            return None
        ends = [pod for pod in pods.values() if pod.ended]
        early = [pod for pod in ends if pod.exit_code not in MEASURED]
        if len(ends) == seen.runners or early:
            return Ended(pods=pods, elapsed_s=elapsed_s)
        if elapsed_s >= self.deadline_s:
            return Ended(pods=pods, elapsed_s=elapsed_s, timed_out=True)
        cut = thresholds.crossed_for_sure(self.wanted, self.captures.streams(), elapsed_s=elapsed_s)
        return Ended(pods=pods, elapsed_s=elapsed_s, cut_by=cut) if cut else None

    def _failure(self, watched: Watched, seen: Seen, now: float) -> Failure | None:
        if watched.refused:
            return failures.of_error(watched.refused)
        if watched.away_since is not None:
            if now - watched.away_since < AWAY_S:
                return None  # what is known of the pods is old
            return Failure(
                outcome=Outcome.INCOMPLETE if self._started else Outcome.CLUSTER,
                error=f"the API server did not answer for {AWAY_S:g} s",
            )
        if watched.is_deleted:
            return Failure(
                outcome=Outcome.ABORTED, error=f"somebody deleted the TestRun {self.names.name}"
            )
        if self._started is None:
            return failures.before_start(seen, self.settings)
        return failures.under_load(
            seen,
            self.settings,
            now=now,
            started_at=self._started,
            pushed_at=self.captures.pushed_at(),
        )

    async def _read_logs(self, ended: Ended, watched: Watched) -> None:
        """Read the logs of all runners; those that still run are stopped meanwhile."""
        running = [pod for pod in ended.pods.values() if pod.running and not pod.ended]
        self.logs.begin(pod for pod in ended.pods.values() if pod.ended)
        if not running:
            await self.logs.end(LOGS_S)
            return
        await self.logs.wait(LOGS_S)  # they go with the TestRun
        self.logs.begin(running, at_once=True)
        await asyncio.sleep(OPENING_S)
        with contextlib.suppress(ClusterError):
            await self.cluster.delete(Kind.TESTRUN, self.names.name)
        await self.logs.end(self.grace_s + LOGS_S)
        ended.pods.update(watched.pods)

    async def _delete(self) -> None:
        """Delete the objects of the run, and wait until its pods are gone."""
        try:
            await delete(self.cluster, self.names.name)
            self.is_clean = True
            until = time.monotonic() + GONE_S
            labels = {POD_LABEL: self.names.name}
            while await self.cluster.find(Kind.POD, labels=labels):
                if time.monotonic() > until:
                    logger.warning("pods of TestRun %s are not gone yet", self.names.name)
                    return
                await asyncio.sleep(0.2)
        except ClusterError as error:
            logger.warning(
                "TestRun %s is left in namespace %s, k6d deletes it before its next run there: %s",
                self.names.name,
                self.cluster.namespace,
                error,
            )


async def delete(cluster: Cluster, name: str) -> None:
    """Delete the TestRun and the ConfigMap of a run, if they exist."""
    await cluster.delete(Kind.TESTRUN, name)
    await cluster.delete(Kind.CONFIGMAP, name)
