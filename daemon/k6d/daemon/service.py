"""The daemon: start, recover, watch and work, drain.

Changes of the folder become jobs in the queue, and workers run them (`worker`). The first
signal stops the current run gracefully and saves it; the second signal stops the daemon at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from k6d.alerts.delivery.heartbeat import Heartbeat
from k6d.alerts.delivery.sender import Sender
from k6d.alerts.outbox import Outbox
from k6d.core.memory import give_back, one_heap, trim
from k6d.core.model import K6dError
from k6d.core.script import Kind
from k6d.core.text import plural
from k6d.daemon import signals
from k6d.daemon.changes import Changes
from k6d.daemon.cluster_leftovers import clean_up_cluster
from k6d.daemon.housekeeping import Housekeeping
from k6d.daemon.missed_runs import notify_of_missed
from k6d.daemon.rebuild import rebuild
from k6d.daemon.systemd import notify, watchdog_interval_s
from k6d.daemon.worker import Worker
from k6d.execution.local import discovery
from k6d.jobs.activity import Activity
from k6d.jobs.persistence import StoredJobs
from k6d.jobs.pipeline import Pipeline
from k6d.jobs.queue import JobQueue
from k6d.jobs.retries import Retries
from k6d.jobs.suites import scripts_of
from k6d.scripts.dependencies import Dependents
from k6d.scripts.watcher import Watcher
from k6d.storage.locks import DaemonLock, only_daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from k6d.core.job import Job
    from k6d.scripts.registry import ScriptState
    from k6d.settings import Settings
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

DRAIN_S = 10.0  # for running explanations when the daemon stops
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

        def parts_of(name: str) -> list[str]:
            return scripts_of(name, self._settings)

        self._stored_jobs = StoredJobs(store, settings.scripts, scripts_of=parts_of)
        self._queue = JobQueue(self._stored_jobs, scripts_of=parts_of)
        self._retries = Retries(self._queue, on_change=self._changed)
        self._activity = Activity(
            self._queue, self._retries, held=lambda: self._upkeep.held, on_change=self._send_status
        )
        self._upkeep = Housekeeping(
            settings,
            store,
            self._queue,
            on_missed=lambda missed: notify_of_missed(missed, self._pipeline.alerts),
            on_look=self._activity.changed,
        )
        self._sent_status = ""
        self._dependents = Dependents()
        self._pipeline = Pipeline(settings, store, stop=self._stop, background=True)
        registration = self._pipeline.registration
        self._registry = registration.registry
        self._changes = Changes(settings, registration, self._dependents, on_gone=self._script_gone)
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
        with only_daemon(self._settings.data) as lock:
            await self._recover()
            async with self._watcher() as watcher, self._api(lock), asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(self._watch(watcher))]
                background.append(tasks.create_task(self._feed_watchdog()))
                background += [tasks.create_task(task) for task in self._alert_tasks()]
                background.append(tasks.create_task(self._upkeep.run()))
                background.append(tasks.create_task(clean_up_cluster(self._settings, self._store)))
                workers = [
                    tasks.create_task(self._worker(watcher).work())
                    for _ in range(_worker_count(self._settings))
                ]
                logger.info("watching %s, keeping results in %s", *self._folders())
                if not (self._settings.notify.urls or self._settings.notify.config):
                    logger.info("nobody is notified: notify.urls names no receivers")
                notify(READY="1", STATUS=self._status())
                self._free_memory()
                await self._stop.wait()
                notify(STOPPING="1")
                self._pipeline.aside.end()
                await self._activity.stop()
                await asyncio.gather(*workers)
                await self._pipeline.drain(DRAIN_S)
                for task in background:
                    task.cancel()

    def _alert_tasks(self) -> list[Coroutine[None, None, None]]:
        """Return the tasks that send messages and heartbeats."""
        every_s = self._settings.notify.heartbeat_every
        alerts = self._pipeline.alerts
        return [
            self._sender.run(),
            alerts.keep_reminding(),
            self._heartbeat.keep_beating(every_s),
        ]

    def _folders(self) -> tuple[Path, Path]:
        return self._settings.scripts, self._settings.data

    def _api(self, lock: DaemonLock) -> AbstractAsyncContextManager[None]:
        """Return the HTTP API; if it is switched off, none of its modules is imported."""
        if not self._settings.api.enabled:
            return contextlib.nullcontext()
        from k6d.daemon.http_supervisor import serving

        return serving(lambda: self._settings, self._queue, self._activity, lock)

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
            fixed = self._without_restart_settings(new)
            self._settings = fixed
            self._pipeline.reread(fixed)
            self._upkeep.reread(fixed)
            logger.info("settings read again from %s", new.config_file or "the environment")
        finally:  # systemd waits until reloading has ended
            notify(READY="1", STATUS=self._status())

    def _without_restart_settings(self, new: Settings) -> Settings:
        """Return the new settings without those that need a restart, which are logged."""
        old = self._settings
        kept = {name: getattr(old, name) for name in AT_START}
        changed = [name for name, value in kept.items() if getattr(new, name) != value]
        for section in ("k6", "kubernetes"):
            before, after = getattr(old, section), getattr(new, section)
            if after.concurrency != before.concurrency:
                changed.append(f"{section}.concurrency")
                kept[section] = after.model_copy(update={"concurrency": before.concurrency})
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
            self._enter_dependencies(name, known)
        try:
            binary = await discovery.find(self._settings.k6.path)
            logger.info("k6 %s at %s", binary.version, binary.path)
        except discovery.K6UnavailableError as error:
            logger.error("%s", error)

    def _script_gone(self, name: str) -> None:
        if self._queue.drop(name):
            logger.info("%s is gone before it ran", name)

    def _enter_dependencies(self, name: str, known: ScriptState) -> None:
        self._dependents.put(name, known.dependencies, broken=known.kind is Kind.BROKEN)
        own = known.settings
        group = own.get("group") if isinstance(own, dict) else None
        self._queue.group(name, group if isinstance(group, str) else None)

    async def _watch(self, watcher: Watcher) -> None:
        """Convert every batch of settled paths to jobs."""
        watcher.follow(Path(path) for path in self._dependents.paths())
        async for batch in watcher:
            jobs = await self._changes.jobs(batch)
            del batch  # thousands of paths, until the next change
            watcher.follow(Path(path) for path in self._dependents.paths())
            for job in jobs:
                if not self._queue.put(job):
                    logger.debug("%s is pending already", job.name)
            self._upkeep.changed()
            if jobs:
                self._activity.changed()
            elif self._queue.idle:
                self._free_memory()  # what was read of files that are no tests

    def _worker(self, watcher: Watcher) -> Worker:
        def on_end(job: Job, since: float) -> None:
            self._follow_dependencies(job, watcher, since=since)
            self._send_status()
            if self._queue.idle:
                self._free_memory()
            else:
                trim()

        return Worker(
            settings=lambda: self._settings,
            queue=self._queue,
            activity=self._activity,
            retries=self._retries,
            pipeline=self._pipeline,
            heartbeat=self._heartbeat,
            stop=self._stop,
            on_end=on_end,
        )

    def _follow_dependencies(self, job: Job, watcher: Watcher, *, since: float) -> None:
        """Follow the dependencies that the job found, with their changes since it began.

        What cannot be read of one script does not keep the others from being followed.
        """
        for name in scripts_of(job.name, self._settings):
            try:
                known = self._registry.get(name)
            except K6dError as error:
                logger.error("the files that %s needs are followed as before: %s", name, error)
            else:
                if known:
                    self._enter_dependencies(name, known)
        self._upkeep.changed()
        watcher.follow((Path(path) for path in self._dependents.paths()), since=since)

    def _changed(self) -> None:
        self._activity.changed()

    async def _feed_watchdog(self) -> None:
        """Tell systemd that the event loop works; systemd restarts a daemon whose loop hangs."""
        interval_s = watchdog_interval_s()
        while interval_s:
            notify(WATCHDOG="1")
            await asyncio.sleep(interval_s)

    def _free_memory(self) -> None:
        """Free memory while there is nothing to do."""
        self._store.free_memory()
        give_back()

    def _send_status(self) -> None:
        """Send the status to systemd if it has changed."""
        status = self._status()
        if status != self._sent_status:
            notify(STATUS=status)
        self._sent_status = status

    def _status(self) -> str:
        running = ", ".join(self._queue.running)
        doing = f"running {running}" if running else self._upkeep.held or "idle"
        return f"{doing}, {plural(len(self._queue), 'job')} pending"


def _worker_count(settings: Settings) -> int:
    """Return how many jobs may run at once, here and on the cluster."""
    cluster = settings.kubernetes.receiver_url is not None
    return settings.k6.concurrency + (settings.kubernetes.concurrency if cluster else 0)
