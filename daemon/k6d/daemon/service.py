"""The daemon: start, recover, watch and work, drain.

Changes of the folder become jobs in the queue, and workers run them through the pipeline. The first
signal stops the current run gracefully and saves it; the second signal stops the daemon at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from k6d.alerts.delivery.heartbeat import Heartbeat
from k6d.alerts.delivery.sender import Sender
from k6d.alerts.outbox import Outbox
from k6d.core.job import Missed
from k6d.core.memory import give_back, one_heap, trim
from k6d.core.model import INCONCLUSIVE, K6dError, Outcome, Severity, Trigger, reason
from k6d.core.script import Kind
from k6d.core.text import plural
from k6d.daemon import signals
from k6d.daemon.changes import Changes
from k6d.daemon.housekeeping import Housekeeping
from k6d.daemon.rebuild import rebuild
from k6d.daemon.systemd import notify, watchdog_interval_s
from k6d.execution.archive import digest
from k6d.execution.local import discovery
from k6d.jobs.activity import Activity
from k6d.jobs.persistence import StoredJobs
from k6d.jobs.pipeline import ON_CHANGE, Pipeline
from k6d.jobs.queue import JobQueue
from k6d.jobs.regression_check import is_unfinished
from k6d.jobs.retries import Retries
from k6d.jobs.scheduler import UNDER_WAY
from k6d.jobs.turns import StoppedError
from k6d.scripts.dependencies import Dependents
from k6d.scripts.watcher import Watcher
from k6d.storage.locks import only_daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from k6d.core.job import Job
    from k6d.core.model import Run
    from k6d.scripts.registry import ScriptState
    from k6d.settings import Settings
    from k6d.storage import Store

logger = logging.getLogger(__name__)

DRAIN_S = 10.0  # for running explanations when the daemon stops
K6_POLL_S = 5.0  # how often to look for a missing k6
TRIED_AGAIN = INCONCLUSIVE - {Outcome.K6_UNAVAILABLE}  # without k6 the whole queue waits
AT_START = ("scripts", "data", "watch", "api", "notify", "ai")  # settings that need a restart


class Service:
    """One daemon for one scripts folder and one data folder; `reread` loads the settings again."""

    def __init__(
        self, settings: Settings, store: Store, *, reread: Callable[[], Settings] | None = None
    ) -> None:
        self._settings = settings
        self._reread = reread
        self._store = store
        self._stop = asyncio.Event()
        self._stored_jobs = StoredJobs(store, settings.scripts)
        self._queue = JobQueue(self._stored_jobs)
        self._retries = Retries(self._queue, on_change=self._changed)
        self._activity = Activity(
            self._queue, self._retries, held=lambda: self._upkeep.held, on_change=self._say
        )
        self._upkeep = Housekeeping(
            settings, store, self._queue, on_missed=self._missed, on_look=self._activity.changed
        )
        self._said = ""
        self._dependents = Dependents()
        self._pipeline = Pipeline(settings, store, stop=self._stop, background=True)
        registration = self._pipeline.registration
        self._registry = registration.registry
        self._changes = Changes(settings, registration, self._dependents, on_gone=self._gone)
        self._sender = Sender(settings.notify, Outbox(settings.data))
        url = settings.notify.heartbeat
        self._heartbeat = Heartbeat(url.get_secret_value() if url else None)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; K6dError if another daemon uses the data folder."""
        # Handlers come before the lock: others see the lock and may then send a signal.
        with self._signals():
            one_heap()
            await self._serve()
        logger.info("stopped")

    async def _serve(self) -> None:
        with only_daemon(self._settings.data):
            await self._recover()
            async with self._watcher() as watcher, self._api(), asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(self._watch(watcher))]
                background.append(tasks.create_task(self._feed_watchdog()))
                background += [tasks.create_task(talk) for talk in self._talks()]
                background.append(tasks.create_task(self._upkeep.run()))
                workers = [
                    tasks.create_task(self._work(watcher))
                    for _ in range(self._settings.k6.concurrency)
                ]
                logger.info("watching %s, keeping results in %s", *self._places())
                if not (self._settings.notify.urls or self._settings.notify.config):
                    logger.info("nobody is notified: notify.urls names no receivers")
                notify(READY="1", STATUS=self._status())
                self._rest()
                await self._stop.wait()
                notify(STOPPING="1")
                self._pipeline.aside.end()
                await self._activity.stop()
                await asyncio.gather(*workers)
                await self._pipeline.drain(DRAIN_S)
                for task in background:
                    task.cancel()

    def _missed(self, missed: Missed) -> None:
        """Report a scheduled run that did not start, unless another run replaces it."""
        if missed.caught_up:
            return
        # A script may take longer than its interval and miss each start. Report that once a day;
        # `k6d schedule` lists all missed starts.
        often = missed.reason == UNDER_WAY
        stamp = f"{missed.first:%Y%m%d}-late" if often else f"{missed.first:%Y%m%d%H%M%S}"
        due = f"{missed.first:%Y-%m-%d %H:%M} UTC"
        last = f" to {missed.last:%Y-%m-%d %H:%M} UTC" if missed.count > 1 else ""
        self._pipeline.alerts.announce(
            key=f"missed-{digest(missed.script.encode())[:12]}-{stamp}",
            script=missed.script,
            subject=f"{plural(missed.count, 'scheduled run')} did not happen: {missed.reason}",
            severity=Severity.MEDIUM,
            facts=[("Due", due + last)],
        )

    def _no_result(self, job: Job, reason: str) -> None:
        """Report a scheduled run as missed when its result could not be saved."""
        if job.due is None:
            return
        missed = Missed(script=job.name, first=job.due, last=job.due, count=1, reason=reason)
        try:
            self._missed(missed)
        except K6dError as error:
            logger.error("%s: the missed run is not notified: %s", job.name, error)

    def _talks(self) -> list[Coroutine[None, None, None]]:
        """Return the tasks that send messages and heartbeats."""
        every_s = self._settings.notify.heartbeat_every
        alerts = self._pipeline.alerts
        return [
            self._sender.run(),
            alerts.keep_reminding(),
            self._heartbeat.keep_beating(every_s),
        ]

    def _places(self) -> tuple[Path, Path]:
        return self._settings.scripts, self._settings.data

    def _api(self) -> AbstractAsyncContextManager[None]:
        """Return the HTTP API; if it is switched off, none of its modules is imported."""
        if not self._settings.api.enabled:
            return contextlib.nullcontext()
        from k6d.daemon.http_supervisor import serving

        return serving(lambda: self._settings, self._queue, self._activity)

    def _watcher(self) -> Watcher:
        watch = self._settings.watch
        return Watcher(
            self._settings.scripts,
            ignore=watch.ignore,
            settle_s=watch.settle,
            rescan_s=watch.rescan,
            polling=watch.polling,
        )

    def _signals(self) -> AbstractContextManager[None]:
        loop = asyncio.get_running_loop()

        def stop(number: signal.Signals) -> None:
            under_way = ", ".join(self._queue.running)
            logger.info("%s: stopping%s", number.name, f"; ending {under_way}" if under_way else "")
            self._stop.set()

        handlers = dict.fromkeys(signals.STOPS, stop) | {
            signal.SIGHUP: lambda _: self._read_settings()
        }
        return signals.listening(loop, handlers, limit_s=self._stop_limit_s)

    def _stop_limit_s(self) -> float:
        """Return the time limit for stopping: a run's signals, the last messages, and the rest."""
        return 3 * self._settings.k6.stop_grace + 2 * DRAIN_S

    def _read_settings(self) -> None:
        """Load the settings again; if they contain a mistake, keep the old ones."""
        notify(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))
        try:
            new = self._reread() if self._reread else self._settings
        except K6dError as error:
            logger.error("the settings stay as they were: %s", error)
        else:
            fixed = self._fixed(new)
            self._settings = fixed
            self._pipeline.reread(fixed)
            self._upkeep.reread(fixed)
            logger.info("settings read again from %s", new.config_file or "the environment")
        finally:  # systemd waits until reloading has ended
            notify(READY="1", STATUS=self._status())

    def _fixed(self, new: Settings) -> Settings:
        """Return the new settings without those that need a restart, which are logged."""
        old = self._settings
        kept = {name: getattr(old, name) for name in AT_START}
        changed = [name for name, value in kept.items() if getattr(new, name) != value]
        if new.k6.concurrency != old.k6.concurrency:
            changed.append("k6.concurrency")
            kept["k6"] = new.k6.model_copy(update={"concurrency": old.k6.concurrency})
        for name in changed:
            logger.warning("%s changes with the next start only: restart k6d for it", name)
        return new.model_copy(update=kept)

    async def _recover(self) -> None:
        """Repair the data folder and restore the jobs and states of the previous process."""
        found = await asyncio.to_thread(self._store.repair)
        alerts = self._pipeline.alerts
        await asyncio.to_thread(rebuild, self._settings, self._store, alerts, lost=found.states)
        for run in self._pipeline.recover():
            logger.warning("run %s of %s was interrupted; recorded so", run.test_id, run.script)
        for job in self._stored_jobs.left(repeat=self._settings.k6.repeat):
            logger.info("%s (%s) is taken up again", job.name, job.trigger)
            self._queue.put(job)
        for name, known in self._registry.all().items():
            self._depend(name, known)
        try:
            binary = await discovery.find(self._settings.k6.path)
            logger.info("k6 %s at %s", binary.version, binary.path)
        except discovery.K6UnavailableError as error:
            logger.error("%s", error)

    def _gone(self, name: str) -> None:
        if self._queue.drop(name):
            logger.info("%s is gone before it ran", name)

    def _depend(self, name: str, known: ScriptState) -> None:
        self._dependents.put(name, known.dependencies, broken=known.kind is Kind.BROKEN)
        own = known.settings
        group = own.get("group") if isinstance(own, dict) else None
        self._queue.group(name, group if isinstance(group, str) else None)

    async def _watch(self, watcher: Watcher) -> None:
        """Convert every batch of settled paths to jobs."""
        watcher.follow(Path(path) for path in self._dependents.paths())
        async for batch in watcher:
            jobs = await self._changes.jobs(batch)
            watcher.follow(Path(path) for path in self._dependents.paths())
            for job in jobs:
                if not self._queue.put(job):
                    logger.debug("%s is pending already", job.name)
            self._upkeep.changed()
            if jobs:
                self._activity.changed()

    async def _work(self, watcher: Watcher) -> None:
        """Run jobs until the daemon stops."""
        stopped = asyncio.create_task(self._stop.wait())
        while not self._stop.is_set():
            waiting = asyncio.create_task(self._activity.take())
            await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                waiting.cancel()
                break
            job, since = waiting.result(), time.time()
            run = await self._run(job)
            await self._heartbeat.beat()
            self._queue.done(job, left=self._is_left(job, run))
            self._follow(job, watcher, since=since)
            self._say()
            if self._queue.idle:
                self._rest()
            else:
                trim()
            if run and run.execution.outcome is Outcome.K6_UNAVAILABLE:
                await self._await_k6(job)

    def _is_left(self, job: Job, run: Run | None) -> bool:
        """Return whether the job must run again: later, or after a restart of the daemon."""
        if run is None:
            return self._stop.is_set() or self._retries.has(job)
        if run.execution.outcome in INCONCLUSIVE:
            return True
        return self._stop.is_set() and is_unfinished(run)

    def _follow(self, job: Job, watcher: Watcher, *, since: float) -> None:
        """Follow the dependencies that the job found, with their changes since it began."""
        try:
            known = self._registry.get(job.name)
        except K6dError as error:
            logger.error("%s", error)
            return
        if known:
            self._depend(job.name, known)
            self._upkeep.changed()
            watcher.follow((Path(path) for path in self._dependents.paths()), since=since)

    async def _run(self, job: Job) -> Run | None:
        """Run one job; any error is logged, and the daemon goes on."""
        run, why = None, None
        try:
            run = await self._pipeline.run(job, watching=self._activity.watching(job))
            if run and run.execution.outcome in TRIED_AGAIN and not job.one_off:
                outcome, error = run.execution.outcome, run.execution.error
                self._retries.later(job, f"{outcome}: {error}" if error else outcome)
            else:
                self._retries.over(job)
        except StoppedError:
            why = "is left for the next start" if self._stop.is_set() else "was cancelled"
            logger.info("%s %s", job.name, why)
        except (K6dError, OSError) as error:
            why = str(error)
            if job.path.exists():
                logger.error("%s has no result: %s", job.name, self._reason(error))
                self._no_result(job, self._reason(error))
                if job.trigger is not Trigger.MANUAL:  # people ask again
                    self._retries.later(replace(job, id=token_hex(6)), self._reason(error))
            else:
                logger.info("%s is gone before it ran", job.name)
        except Exception:
            why = "a mistake of k6d's own; its log says more"
            logger.exception(
                "%s did not run, for a mistake of k6d's own; please report it", job.name
            )
            self._no_result(job, why)
        await self._activity.finished(job, run, error=None if run else why)
        return run

    def _changed(self) -> None:
        self._activity.changed()

    def _reason(self, error: K6dError | OSError) -> str:
        if not isinstance(error, OSError):
            return str(error)
        place = error.filename or self._settings.data
        return f"cannot use {place}: {reason(error)}; check the disk and the data folder"

    async def _await_k6(self, job: Job) -> None:
        """Hold the queue until there is a k6; then queue the job that failed without it."""
        with self._retries.held(job, Outcome.K6_UNAVAILABLE):
            await self._k6_is_back()
        if not self._stop.is_set():
            again = Trigger.RECOVERY if job.trigger in ON_CHANGE else job.trigger
            self._queue.put(replace(job, trigger=again))

    async def _k6_is_back(self) -> None:
        """Wait until there is a k6, or until the daemon stops."""
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(K6_POLL_S):
                    await self._stop.wait()
            with contextlib.suppress(discovery.K6UnavailableError):
                binary = await discovery.find(self._settings.k6.path)
                logger.info("k6 is back: %s at %s", binary.version, binary.path)
                return

    async def _feed_watchdog(self) -> None:
        """Tell systemd that the event loop works; systemd restarts a daemon whose loop hangs."""
        interval_s = watchdog_interval_s()
        while interval_s:
            notify(WATCHDOG="1")
            await asyncio.sleep(interval_s)

    def _rest(self) -> None:
        """Free memory while there is nothing to do."""
        self._store.free_memory()
        give_back()

    def _say(self) -> None:
        """Send the status to systemd if it has changed."""
        status = self._status()
        if status != self._said:
            notify(STATUS=status)
        self._said = status

    def _status(self) -> str:
        running = ", ".join(self._queue.running)
        doing = f"running {running}" if running else self._upkeep.held or "idle"
        return f"{doing}, {plural(len(self._queue), 'job')} pending"
