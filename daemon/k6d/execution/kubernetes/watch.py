"""Follows a TestRun and the pods of its runners, also while the API server is away for a while."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Self

from k6d.execution.kubernetes.cluster import ClusterError, Kind, Trouble
from k6d.execution.kubernetes.pods import runner_pods
from k6d.execution.kubernetes.testrun import RUN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from k6d.execution.kubernetes.cluster import Cluster
    from k6d.execution.kubernetes.pods import RunnerPod
    from k6d.execution.kubernetes.testrun import Names

logger = logging.getLogger(__name__)

AGAIN_S = 1.0
POD_LABEL = "k6_cr"  # the operator's


class Watched:
    """What is known of a run in the cluster, while the context is open.

    `pods` are the runners' newest states by number, also of pods that are gone; `present` are those
    that exist now. `stage` is the TestRun's, None before it was seen; `is_deleted`: it was seen and
    is gone.
    """

    def __init__(self, cluster: Cluster, names: Names) -> None:
        self._cluster, self._names = cluster, names
        self.pods: dict[int, RunnerPod] = {}
        self.present: set[int] = set()
        self.stage: str | None = None
        self.is_deleted = False
        self._away: dict[Kind, float] = {}
        self.refused: ClusterError | None = None
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        labels = {POD_LABEL: self._names.name}
        self._tasks = [
            asyncio.create_task(self._follow(Kind.TESTRUN, {RUN: self._names.test_id})),
            asyncio.create_task(self._follow(Kind.POD, labels)),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def away_since(self) -> float | None:
        """When the API server stopped to answer one of the watches (monotonic); None: it answers.

        Until both are back, the newest state of a pod and the stage may not belong together.
        """
        return min(self._away.values(), default=None)

    async def change(self, timeout_s: float) -> None:
        """Wait until something changed, or so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(timeout_s, 0.0)):
                await self._changed.wait()
        self._changed.clear()

    def wake(self) -> None:
        """End the present wait for a change."""
        self._changed.set()

    async def _follow(self, kind: Kind, labels: Mapping[str, str]) -> None:
        while True:
            try:
                async for found in self._cluster.watch(kind, labels=labels):
                    self._away.pop(kind, None)
                    if kind is Kind.POD:
                        self._see_pods(found)
                    else:
                        self._see_testrun(found)
                    self._changed.set()
            except ClusterError as error:
                if error.trouble in {Trouble.FORBIDDEN, Trouble.MISSING, Trouble.INVALID}:
                    self.refused = error
                    self._changed.set()
                    return
                logger.debug("the watch of %s broke: %s", kind.value.plural, error)
                self._away.setdefault(kind, time.monotonic())
                await asyncio.sleep(AGAIN_S)

    def _see_pods(self, found: Mapping[str, dict[str, Any]]) -> None:
        now = runner_pods(found.values(), self._names.name)
        self.present = set(now)
        self.pods |= now

    def _see_testrun(self, found: Mapping[str, dict[str, Any]]) -> None:
        document = found.get(self._names.name)
        if document is None:
            self.is_deleted = self.stage is not None
        else:
            self.stage = str((document.get("status") or {}).get("stage") or "")
