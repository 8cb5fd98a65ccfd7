"""What follows when a run is saved: it is explained, saved again, and people are notified."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from k6d.core.model import K6dError, Outcome
from k6d.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from k6d.alerts.alerting import Alerts
    from k6d.core.job import Job
    from k6d.core.model import Execution, Run
    from k6d.jobs.regression_check import Done
    from k6d.settings import ScriptSettings
    from k6d.storage.store import Store

    # Returns the explained run, given the variables of its job; the run itself if none is wanted.
    Explain = Callable[[Run, Mapping[str, str]], Awaitable[Run]]

logger = logging.getLogger(__name__)


class FollowUp:
    """Explains saved runs and notifies people; in the `background`, the next job does not wait."""

    def __init__(self, store: Store, explain: Explain, alerts: Alerts, *, background: bool) -> None:
        self._store, self._explain, self._alerts = store, explain, alerts
        self._background = background
        self._tasks: set[asyncio.Task[Run]] = set()
        self._suites: dict[str, list[tuple[asyncio.Task[Run], ScriptSettings]]] = {}

    async def take(self, done: Done, job: Job, *, notify: bool) -> Run:
        """Return the explained run; in the background, the run as it was saved."""
        own = done.own if notify else None
        now = None if job.suite else own
        task = asyncio.create_task(self._explain_and_notify(done.run, job, now))
        if job.suite and own:
            self._suites.setdefault(job.suite, []).append((task, own))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return done.run if self._background else await task

    async def end_suite(self, name: str, cause: str) -> None:
        """Notify people of the runs of a suite; the same `cause` makes one message of them.

        A run that cannot be notified does not keep back the others. If k6d dies before this, the
        next start notifies of each run by itself.
        """
        for task, own in self._suites.pop(name, []):
            self._notify(await task, own, cause=cause)

    async def drain(self, limit_s: float) -> None:
        """Wait until explanations and messages are done, at most `limit_s`; cancel the rest."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=limit_s)
        for task in late:
            task.cancel()
        if late:
            logger.error("%s given up at the end", plural(len(late), "delivery", "deliveries"))
            await asyncio.wait(late)

    async def _explain_and_notify(self, run: Run, job: Job, own: ScriptSettings | None) -> Run:
        """Explain the saved run, save it again, and notify; notify also if a step fails."""
        explained = run
        try:
            explained = await self._explain(run, job.env)
            if explained is not run:
                self._store.save(explained)
        except K6dError as error:
            logger.error("run %s: its explanation is not kept: %s", run.test_id, error)
        except Exception:
            logger.exception("run %s: not explained, for a mistake of k6d's own", run.test_id)
        if own:  # replays and one-offs send no notification: they are not the current script
            self._notify(explained, own)
        return explained

    def _notify(self, run: Run, own: ScriptSettings, *, cause: str | None = None) -> None:
        """Update the incident of the script, and put its message into the outbox."""
        try:
            self._alerts.record(run, notify_of(run.execution, own), cause=cause)
        except (K6dError, OSError) as error:
            logger.error(
                "run %s is not notified before the next start of k6d: %s", run.test_id, error
            )


def outline(run: Run) -> str:
    """Describe a run in short: "completed, anomalous (high): p95 …"."""
    verdict = run.anomaly_analysis
    if verdict.severity:
        return f"{run.execution.outcome}, anomalous ({verdict.severity}): {verdict.issues[0]}"
    texts = [*verdict.issues, *verdict.doubts][:1]
    doubts = f" ({texts[0]})" if texts else ""
    judged = run.execution.outcome is Outcome.COMPLETED
    return f"{run.execution.outcome}{', healthy' if judged else ''}{doubts}"


def notify_of(execution: Execution, own: ScriptSettings) -> bool | list[str] | None:
    """Return the script's `notify` setting; None (the last known one) if k6 could not run it."""
    return own.notify if execution.exit_code is not None else None
