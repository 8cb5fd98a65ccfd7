"""Runs one job after another; the daemon has as many workers as jobs may run at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from secrets import token_hex
from typing import TYPE_CHECKING

from k6d.core.errors import why_no_result
from k6d.core.frozen import frozen
from k6d.core.model import INCONCLUSIVE, K6dError, Outcome, Trigger
from k6d.daemon.missed_runs import notify_of_no_result
from k6d.execution.local import discovery
from k6d.jobs.pipeline import ON_CHANGE
from k6d.jobs.regression_check import is_unfinished
from k6d.jobs.suites import run_suite, scripts_of
from k6d.jobs.turns import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k6d.alerts.delivery.heartbeat import Heartbeat
    from k6d.core.job import Job
    from k6d.core.model import Run
    from k6d.jobs.activity import Activity
    from k6d.jobs.pipeline import Pipeline
    from k6d.jobs.queue import JobQueue
    from k6d.jobs.retries import Retries
    from k6d.settings import Settings

logger = logging.getLogger(__name__)

K6_POLL_S = 5.0  # how often to look for a missing k6
TRIED_AGAIN = INCONCLUSIVE - {Outcome.K6_UNAVAILABLE}  # without k6 the whole queue waits
OUR_MISTAKE = "a mistake of k6d's own; its log says more"


@frozen
class Worker:
    """A worker. `on_end` is called after each job with the time (`time.time()`) of its start."""

    settings: Callable[[], Settings]
    queue: JobQueue
    activity: Activity
    retries: Retries
    pipeline: Pipeline
    heartbeat: Heartbeat
    stop: asyncio.Event
    on_end: Callable[[Job, float], None]

    async def work(self) -> None:
        """Run jobs until `stop` is set."""
        stopped = asyncio.create_task(self.stop.wait())
        while not self.stop.is_set():
            waiting = asyncio.create_task(self.activity.take())
            await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                waiting.cancel()
                break
            job, since = waiting.result(), time.time()
            run = await self._run(job)
            await self.heartbeat.beat()
            self.queue.done(job, left=self._is_left(job, run))
            self.on_end(job, since)
            if run and run.execution.outcome is Outcome.K6_UNAVAILABLE:
                await self._await_k6(job)

    async def _run(self, job: Job) -> Run | None:
        """Run one job; any error is logged, and the daemon goes on."""
        run, why = None, None
        try:
            if job.is_suite:
                run, why = await self._run_suite(job)
            else:
                run = await self._run_script(job)
        except StoppedError:
            why = "is left for the next start" if self.stop.is_set() else "was cancelled"
            logger.info("%s %s", job.name, why)
        except (K6dError, OSError) as error:
            why = why_no_result(error, data=self.settings().data)
            self._failed(job, why)
        except Exception:
            why = OUR_MISTAKE
            logger.exception(
                "%s did not run, for a mistake of k6d's own; please report it", job.name
            )
            notify_of_no_result(job, why, self.pipeline.alerts)
        await self.activity.finished(job, run, error=None if run else why)
        return run

    async def _run_script(self, job: Job) -> Run | None:
        run = await self.pipeline.run(job, watching=self.activity.watching(job))
        if run and not job.one_off and run.execution.outcome in TRIED_AGAIN:
            outcome, error = run.execution.outcome, run.execution.error
            self.retries.later(job, f"{outcome}: {error}" if error else outcome)
        else:
            self.retries.over(job)
        return run

    async def _run_suite(self, job: Job) -> tuple[Run | None, str | None]:
        """Return the worst run of the suite, or why it has none.

        A suite without any result is tried again like a script. One with a run is not, because its
        scripts would load their targets twice.
        """
        parts = await run_suite(job, self.settings(), self.pipeline, self.activity.watching(job))
        if parts.no_result and not parts.runs:
            self._failed(job, parts.no_result)
        else:
            self.retries.over(job)
            if parts.no_result:
                notify_of_no_result(job, parts.no_result, self.pipeline.alerts)
        return parts.worst, parts.why_none

    def _failed(self, job: Job, why: str) -> None:
        """Log and notify that the job has no result, and try again later."""
        if self._is_gone(job):
            logger.info("%s is gone before it ran", job.name)
            return
        logger.error("%s has no result: %s", job.name, why)
        notify_of_no_result(job, why, self.pipeline.alerts)
        if job.trigger is not Trigger.MANUAL:  # people ask again
            self.retries.later(replace(job, id=token_hex(6)), why)

    def _is_gone(self, job: Job) -> bool:
        if job.is_suite:
            return not scripts_of(job.name, self.settings())
        return not job.path.exists()

    def _is_left(self, job: Job, run: Run | None) -> bool:
        """Return whether the job must run again: later, or after a restart of the daemon."""
        if job.is_suite and run and run.execution.outcome is not Outcome.K6_UNAVAILABLE:
            return self.stop.is_set()
        if run is None:
            return self.stop.is_set() or self.retries.has(job)
        if run.execution.outcome in INCONCLUSIVE:
            return True
        return self.stop.is_set() and is_unfinished(run)

    async def _await_k6(self, job: Job) -> None:
        """Hold the queue until there is a k6; then queue the job that failed without it."""
        with self.retries.held(job, Outcome.K6_UNAVAILABLE):
            await self._k6_is_back()
        if not self.stop.is_set():
            again = Trigger.RECOVERY if job.trigger in ON_CHANGE else job.trigger
            self.queue.put(replace(job, trigger=again))

    async def _k6_is_back(self) -> None:
        """Wait until there is a k6, or until the daemon stops."""
        while not self.stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(K6_POLL_S):
                    await self.stop.wait()
            with contextlib.suppress(discovery.K6UnavailableError):
                binary = await discovery.find(self.settings().k6.path)
                logger.info("k6 is back: %s at %s", binary.version, binary.path)
                return
