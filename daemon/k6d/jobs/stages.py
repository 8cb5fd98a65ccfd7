"""The steps of one execution: a folder, the snapshot, the run, the record.

`pipeline` decides which steps a job takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from k6d.analysis import series
from k6d.analysis.verdict import judge_by_limits
from k6d.core import reading
from k6d.core.frozen import frozen
from k6d.core.model import K6dError
from k6d.execution import archive, posted
from k6d.execution.early_end import EarlyEnd
from k6d.execution.excluded import Exclude
from k6d.execution.executor import Order
from k6d.execution.hidden_secrets import snapshot_without_secrets
from k6d.execution.local import variables
from k6d.execution.local.executor import LocalExecutor
from k6d.execution.local.k6 import SECRET_SOURCES_SINCE
from k6d.execution.local.process_group import ProcessGroup
from k6d.execution.once import NOTE, limit_to_once
from k6d.execution.record import recorded, with_files_kept
from k6d.execution.workdir import UnderWay, workdir
from k6d.jobs.known_plan import planned_before
from k6d.jobs.regression_check import Done, is_comparable
from k6d.jobs.turns import Turn, slot
from k6d.scripts.commit import commit_of
from k6d.settings import redactor_of
from k6d.storage.record import new_test_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from k6d.core.job import Job
    from k6d.core.tags import Commit
    from k6d.execution.archive import Script
    from k6d.execution.executor import Executor, Live, Measured
    from k6d.execution.local.k6 import K6
    from k6d.settings import ScriptSettings, Settings
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

LOCAL, KUBERNETES = "local", "kubernetes"  # the executors


@frozen
class Watching:
    """Callbacks for the progress of a job; they must be quick and must not raise.

    Pass `stop` to cancel this job; the caller also sets it on shutdown.
    """

    waiting: Callable[[], None] = lambda: None
    started: Callable[[UnderWay, Callable[[], Live]], None] = lambda _under_way, _progress: None
    planned: Callable[[float], None] = lambda _total_s: None
    stop: asyncio.Event | None = None


@frozen
class Task:
    """A job with its folder and the process group of its k6."""

    job: Job
    under_way: UnderWay
    folder: Path
    group: ProcessGroup
    watching: Watching
    turn: Turn
    commit: Commit | None = None


@frozen
class Stages:
    """The steps with one set of settings; setting `stop` ends the current executions."""

    settings: Settings
    store: Store
    stop: asyncio.Event

    @contextlib.asynccontextmanager
    async def turn(self, watching: Watching) -> AsyncIterator[Turn]:
        """Hold a slot of the usual executor; `measure` changes it for a script with another."""
        data, stop = self.settings.data, self.stop_of(watching)
        counts = {
            LOCAL: (data / "slots", self.settings.k6.concurrency),
            KUBERNETES: (data / "slots" / "cluster", self.settings.kubernetes.concurrency),
        }

        def slot_of(executor: str) -> contextlib.AbstractAsyncContextManager[None]:
            folder, count = counts[executor]
            return slot(folder, count, root=data, stop=stop, on_wait=watching.waiting)

        turn = Turn(slot_of)
        await turn.take(self.settings.k6.executor)
        try:
            yield turn
        finally:
            await turn.release()

    def stop_of(self, watching: Watching) -> asyncio.Event:
        return watching.stop or self.stop

    def _alone(
        self, group: str | None, watching: Watching
    ) -> contextlib.AbstractAsyncContextManager[None]:
        """Lock the group: no other script of it runs meanwhile, in this or another process."""
        if group is None:
            return contextlib.nullcontext()
        data, stop = self.settings.data, self.stop_of(watching)
        folder = data / "slots" / f"group-{archive.digest(group.encode())[:16]}"
        return slot(folder, 1, root=data, stop=stop, on_wait=watching.waiting)

    @contextlib.asynccontextmanager
    async def task(self, job: Job, watching: Watching, turn: Turn) -> AsyncIterator[Task]:
        """Make an id, a folder and a process group for one execution."""
        now = datetime.now(UTC)
        under_way = UnderWay(
            test_id=new_test_id(now), script=job.name, trigger=job.trigger, started=now
        )
        with workdir(self.settings.data, under_way) as folder:
            async with ProcessGroup() as group:
                yield Task(
                    job=job,
                    under_way=under_way,
                    folder=folder,
                    group=group,
                    watching=watching,
                    turn=turn,
                )

    async def measure(
        self, task: Task, binary: K6, script: Script, own: ScriptSettings
    ) -> Measured:
        """Run the snapshot, alone in its group."""
        if script.expected_s is not None:
            task.watching.planned(script.expected_s)
        if task.job.once:  # one iteration is not to be divided between runners
            own = own.model_copy(update={"executor": "local"})
        early = EarlyEnd(own.abort)

        def on_start(live: Callable[[], Live]) -> None:
            early.live = live
            task.watching.started(task.under_way, live)

        env = self._environment(task.job)
        order = Order(
            archive=script.archive or task.folder / archive.ARCHIVE,
            folder=task.folder,
            env=env,
            planned_s=planned_before(script, env, self.store),
            given=variables.given(self.settings.k6.env | task.job.env),
            options=script.options,
            sample_tags=self.settings.k6.tags,
            tags={"testid": task.under_way.test_id, "script": script.name},
            exclude=Exclude(names=own.exclude.name, groups=own.exclude.group, tags=own.exclude.tag),
            timeout_s=own.timeout or self.settings.k6.timeout,
            timeout_is_least=own.timeout is None and self.settings.timeout_is_least,
            notes=[
                *task.job.notes,
                *script.notes,
                *self._secrets_note(binary),
                *variables.left_out(self.settings.k6.env | task.job.env),
            ],
            redactor=redactor_of(self.settings, task.job.env),
            why_early=lambda: early.reason,
        )
        await task.turn.take(own.executor or self.settings.k6.executor)
        async with self._alone(own.group, task.watching):
            logger.info("run %s of %s starts", task.under_way.test_id, script.name)
            executor = self._executor(self._k6(binary, task), own)
            async with early.watching(self.stop_of(task.watching)) as stop:
                measured = await executor.run(order, stop=stop, on_start=on_start)
        if task.job.one_off:
            return posted.without_folder(measured, task.job.path.parent)
        return measured

    def _k6(self, binary: K6, task: Task) -> K6:
        """Return the k6 of a task, with the options that the settings give to every run."""
        settings = self.settings.k6
        sources = tuple(one.get_secret_value() for one in settings.secret_sources)
        known = binary.release >= SECRET_SOURCES_SINCE
        return replace(
            binary,
            group=task.group,
            config=settings.config,
            secret_sources=sources if known else (),
        )

    def _secrets_note(self, binary: K6) -> list[str]:
        if not self.settings.k6.secret_sources or binary.release >= SECRET_SOURCES_SINCE:
            return []
        return [f"k6 {binary.version} has no secret sources: k6.secret_sources is not used"]

    async def commit_of(self, job: Job) -> Commit | None:
        """Return the commit of the git checkout that the script is in, if it is in one."""
        hide = redactor_of(self.settings, job.env).text
        try:
            read = partial(commit_of, job.path, hide=hide)
            return await reading.in_thread(read, about=f"the git checkout of {job.name}")
        except (OSError, ValueError, K6dError) as error:
            logger.warning("%s: its commit is not known: %s", job.name, error)
            return None

    def _executor(self, binary: K6, own: ScriptSettings) -> Executor:
        if (own.executor or self.settings.k6.executor) == LOCAL:
            return LocalExecutor(binary, self.settings)
        # An idle daemon without a cluster need not know how to use one.
        from k6d.execution.kubernetes.executor import KubernetesExecutor
        from k6d.execution.kubernetes.testrun import Placement

        placement = Placement.of(
            self.settings.kubernetes, parallelism=own.parallelism, k6_version=binary.version
        )
        return KubernetesExecutor(binary, self.settings, self.store, placement)

    async def look(self, task: Task, binary: K6, *, refusal: str | None) -> Script:
        """Make the snapshot of the script; a `refusal` is the reason why it is broken."""
        job = task.job
        look = posted.look if job.one_off else archive.look
        redactor = redactor_of(self.settings, job.env)
        script = await look(
            job.path,
            name=job.name,
            k6=self._k6(binary, task),
            workdir=task.folder,
            env=self._environment(job),
            options=job.options,
            extra_workload=job.env,
            refusal=refusal,
            hide=redactor.text,
        )
        if script.error is None:
            return await self._limited(script, task, binary) if job.once else script
        return replace(script, error=redactor.text(script.error))

    async def _limited(self, script: Script, task: Task, binary: K6) -> Script:
        """Return the script with a snapshot of one iteration."""
        place = script.archive or task.folder / archive.ARCHIVE

        def limited() -> Script:
            limit_to_once(place)
            job = task.job
            return archive.reopen(
                place, path=job.path, name=job.name, k6=binary, extra_workload=job.env
            )

        return replace(await asyncio.to_thread(limited), notes=(*script.notes, NOTE))

    def _environment(self, job: Job) -> dict[str, str]:
        return variables.environment(self.settings.k6.env | job.env)

    async def keep_snapshot(self, script: Script) -> None:
        """Store the snapshot before its run is saved; in a thread, because it may be large."""
        if script.snapshot and script.archive:
            put = self.store.put_snapshot
            await asyncio.to_thread(put, script.snapshot.id, script.archive)

    def saved(
        self,
        task: Task,
        measured: Measured,
        script: Script | None,
        own: ScriptSettings,
        *,
        confirms: str | None = None,
    ) -> Done:
        """Judge an execution by limits, save its record and return it."""
        measured = with_files_kept(measured, task.under_way, self.store)
        limits = self.settings.limits.merged(own.limits)
        result, verdict = judge_by_limits(measured.result, limits=limits)
        measured = replace(measured, result=result)
        snapshot = script.snapshot if script else None
        placement = measured.result.execution.placement
        if script and snapshot and placement:
            snapshot = replace(
                snapshot, workload=archive.workload_on(script, placement, task.job.env)
            )
        if snapshot and snapshot.remote:
            redactor = redactor_of(self.settings, task.job.env)
            snapshot = snapshot_without_secrets(snapshot, redactor)
        run = recorded(
            task.under_way,
            measured,
            verdict=verdict,
            snapshot=snapshot,
            overrides=task.job.overrides,
            tags={**own.tags, **task.job.tags},
            commit=task.commit,
        )
        values = series.of(result, min_requests=limits.min_requests)
        run = replace(run, series=values, confirms=confirms)
        run = replace(run, comparable=is_comparable(run))
        self.store.save(run)
        return Done(run=run, result=result, own=own, script=script)

    async def with_target_metrics(self, task: Task, done: Done) -> Done:
        """Add the target's own numbers to a saved run, and save it again.

        The run is safe meanwhile: it takes some seconds until its last samples can be read.
        """
        if not self.settings.metrics:
            return done
        from k6d.execution.target_metrics import Span, target_metrics  # few have them

        run = done.run
        found = await target_metrics(
            Span.of(run.breakdown.timeline, run.metrics.duration_ms),
            self.settings.metrics,
            self.settings.prometheus,
            script=run.script,
            hide=redactor_of(self.settings, task.job.env).text,
            stop=self.stop_of(task.watching),
        )
        if not found.metrics:
            return done
        run = replace(
            run,
            target=found.metrics,
            breakdown=replace(run.breakdown, notes=[*run.breakdown.notes, *found.notes]),
            series=run.series | series.of_target(found.metrics),
        )
        self.store.save(run)
        return replace(done, run=run)
