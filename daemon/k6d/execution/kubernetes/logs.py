"""Reads the logs of runners, also of those that are being stopped."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from k6d.execution.kubernetes.cluster import ClusterError, Trouble
from k6d.execution.kubernetes.pod_log import PodLog
from k6d.execution.kubernetes.pods import CONTAINER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from k6d.execution.kubernetes.cluster import Cluster
    from k6d.execution.kubernetes.pods import RunnerPod

logger = logging.getLogger(__name__)

TRIES, PAUSE_S = 5, 2.0
AT_ONCE = 16
LASTING = (Trouble.MISSING, Trouble.FORBIDDEN, Trouble.INVALID)  # 400: k6 never began


class Logs:
    """The logs of the runners by number; each is read to its end, or until the time is over."""

    def __init__(self, cluster: Cluster, *, limit: int, hide: Callable[[str], str]) -> None:
        self._cluster, self._limit, self._hide = cluster, limit, hide
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._reading: dict[int, asyncio.Task[None]] = {}
        self.of: dict[int, PodLog] = {}
        self.unread: dict[int, str] = {}  # why a log could not be read

    def begin(self, pods: Iterable[RunnerPod], *, at_once: bool = False) -> None:
        """Start to read; `at_once` reads all together: the pods are about to be deleted."""
        for pod in pods:
            if pod.number not in self._reading:
                self._reading[pod.number] = asyncio.create_task(self._read(pod, at_once=at_once))

    async def wait(self, limit_s: float) -> None:
        """Wait until the logs that were begun are read, at most so many seconds."""
        if self._reading:
            await asyncio.wait(self._reading.values(), timeout=limit_s)

    async def end(self, limit_s: float) -> None:
        """Wait in the same way, and read no more."""
        await self.wait(limit_s)
        for task in self._reading.values():
            task.cancel()
        await asyncio.gather(*self._reading.values(), return_exceptions=True)
        for log in self.of.values():
            log.close()

    async def _read(self, pod: RunnerPod, *, at_once: bool) -> None:
        if at_once:
            await self._lines(pod, at_once=at_once)
        else:
            async with self._turn:
                await self._lines(pod, at_once=at_once)

    async def _lines(self, pod: RunnerPod, *, at_once: bool) -> None:
        """Read a log; if that fails, begin again with the whole log."""
        for number in range(TRIES):
            log = PodLog(self._limit, hide=self._hide)
            try:
                async for line in self._cluster.log(pod.name, container=CONTAINER, follow=True):
                    self.of[pod.number] = log
                    log.feed(line)
            except ClusterError as error:
                logger.debug("the log of %s cannot be read: %s", pod.name, error)
                self.unread[pod.number] = str(error)
                if error.trouble in LASTING or at_once:
                    return
                if number < TRIES - 1:
                    await asyncio.sleep(PAUSE_S)
            else:
                self.of.setdefault(pod.number, log)
                self.unread.pop(pod.number, None)
                return
