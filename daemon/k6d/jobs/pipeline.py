"""Runs one job: snapshot, k6, judge, save, compare, confirm, save, explain, notify.

Only this module knows all stages; a stage does not know the others. Each result is saved before the
next stage: the measurement when k6 has ended, and the comparison when it is final. Only then are
notifications sent.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from k6d.alerts.alerting import Alerts
from k6d.core import reading
from k6d.core.job import Job, options_in, without
from k6d.core.model import Execution, K6dError, Outcome, Run, Trigger
from k6d.core.script import Kind
from k6d.execution import archive
from k6d.execution.executor import unmeasured
from k6d.execution.local import discovery
from k6d.execution.record import interrupted, refused
from k6d.execution.workdir import leftovers
from k6d.explain.wanted import wanted
from k6d.jobs.follow_up import FollowUp, notify_of, outline
from k6d.jobs.registration import Registration, irregular_dependency
from k6d.jobs.regression_check import Done, compared, is_unfinished
from k6d.jobs.set_aside import SetAside
from k6d.jobs.stages import Stages, Watching
from k6d.jobs.turns import cancel_when
from k6d.scripts.disabled import Disabled
from k6d.settings import ScriptSettings, parse_script_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from k6d.execution.archive import Script
    from k6d.execution.local.k6 import K6
    from k6d.explain.explainer import Explainer
    from k6d.jobs.stages import Task
    from k6d.jobs.turns import Turn
    from k6d.settings import Settings
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

ON_CHANGE = (Trigger.ADDED, Trigger.CHANGED, Trigger.RECOVERY)


class HelperModuleError(K6dError):
    """A person asked for a file that is no test."""


class Pipeline:
    """Runs jobs with the given settings and store; setting `stop` ends the current jobs.

    With `background`, explanations and messages do not delay the next job, and `run` returns the
    record from before them; call `drain` at the end.
    """

    def __init__(
        self, settings: Settings, store: Store, *, stop: asyncio.Event, background: bool = False
    ) -> None:
        self._settings = settings
        self._store = store
        self._stages = Stages(settings=settings, store=store, stop=stop)
        self.alerts = Alerts(settings, store)
        self.registration = Registration(store, self.alerts, settings.scripts)
        self.aside = SetAside(store, self.registration.registry, self.alerts)
        self._disabled = Disabled(store)
        self._ai = settings.ai
        self._explainer = cache(partial(_explainer, settings, store, stop))
        self._follow_up = FollowUp(store, self._explained, self.alerts, background=background)

    @property
    def stopping(self) -> bool:
        """Return whether the current jobs are being stopped."""
        return self._stages.stop.is_set()

    @property
    def data(self) -> Path:
        """Return the data folder."""
        return self._settings.data

    async def run(self, job: Job, *, watching: Watching | None = None) -> Run | None:
        """Run the job through all stages and return its saved record.

        Returns None if there was nothing to run: a helper module, a script that is switched off, or
        a changed script whose contents have run before. Raises K6dError if a person asked for a
        file that is not a test or if the record cannot be saved, and StoppedError if `stop` was set
        before k6 ran.
        """
        watching = watching or Watching()
        async with self._stages.turn(watching) as turn:
            done = await self._run_first(job, watching, turn)
            if done is None:
                return None
            done = await self._compared(done, job, watching, turn)
            self._finish(done, remember=not (done.run.ad_hoc or job.one_off))
        return await self._follow_up.take(done, job, notify=not (job.one_off or job.quiet))

    async def replay(
        self,
        old: Run,
        *,
        env: dict[str, str],
        tags: dict[str, str] | None = None,
        watching: Watching | None = None,
    ) -> Run:
        """Run the stored snapshot of an old run again; its record is compared like any other."""
        if old.snapshot and old.snapshot.is_text_only:
            raise K6dError(
                f"run {old.test_id} was imported without k6's options of it, so it cannot be "
                "replayed; post its text to POST /api/v1/test/run (script_content of "
                f"GET /api/v1/test/results/{old.test_id})"
            )
        watching = watching or Watching()
        job = Job(
            name=old.script,
            path=self._settings.scripts / old.script,
            trigger=Trigger.MANUAL,
            options=options_in(old.overrides),
            env=env,
            replays=old.test_id,
            tags=tags or {},
        )
        async with self._stages.turn(watching) as turn:
            done = await self._run_again(old, job, watching, turn)
            done = await self._compared(done, job, watching, turn)
            logger.info("run %s of %s %s", done.run.test_id, done.run.script, outline(done.run))
        return await self._follow_up.take(done, job, notify=False)

    def reread(self, settings: Settings) -> None:
        """Use these settings for jobs that start from now on."""
        self._settings = settings
        self._stages = replace(self._stages, settings=settings)

    async def end_suite(self, name: str, cause: str) -> None:
        """Send the messages about the runs of a suite, as one: they have the same `cause`."""
        await self._follow_up.end_suite(name, cause)

    async def _explained(self, run: Run, env: Mapping[str, str]) -> Run:
        return await self._explainer().explain(run, env=env) if wanted(run, self._ai) else run

    async def drain(self, limit_s: float) -> None:
        """Wait until explanations and messages are done, at most `limit_s`; cancel the rest."""
        await self._follow_up.drain(limit_s)

    def recover(self) -> list[Run]:
        """Record the jobs whose process died as aborted, and return the new records."""
        with leftovers(self._settings.data) as dead:
            self.aside.begin([(job.script, job.test_id) for job in dead], self._settings.scripts)
            unsaved = (job for job in dead if not self._store.run_path(job.test_id).exists())
            runs = [interrupted(under_way) for under_way in unsaved]
            for run in runs:
                self._store.save(run)
        for run in self.alerts.missing():
            given_up = self._explainer().given_up(run)
            if given_up is not run:
                self._store.save(given_up)
        self.alerts.recover()
        return runs

    async def _run_first(self, job: Job, watching: Watching, turn: Turn) -> Done | None:
        """Make the snapshot, run k6, judge by limits and save."""
        if job.trigger is not Trigger.MANUAL and await self.aside.holds(job.name, job.path):
            return None
        async with self._stages.task(job, watching, turn) as begun:
            task = begun
            for note in job.notes:
                logger.warning("%s: %s", job.name, note)
            try:
                binary = await discovery.find(self._settings.k6.path)
            except discovery.K6UnavailableError as error:
                logger.error("%s: %s", job.name, error)
                execution = Execution(outcome=Outcome.K6_UNAVAILABLE, error=str(error))
                self._expect_alert(job, task, notify=None)
                return self._stages.saved(task, unmeasured(execution), None, ScriptSettings())
            script = await cancel_when(self._stages.stop_of(watching), self._look(task, binary))
            commit = None if job.one_off else await self._stages.commit_of(job)
            task = replace(task, job=without(job, script.unused), commit=commit)
            if job.trigger in ON_CHANGE:
                classify = self.registration.classified, script, self._settings.watch.ignore
                script = await reading.in_thread(*classify, about=str(job.path))
            if not self._wanted(job, script):
                self._remember(script)
                return None
            try:
                own = parse_script_settings(script.raw_settings, script=script.name)
            except K6dError as error:
                script, own = replace(script, error=str(error)), ScriptSettings()
            if why := self._switched_off(job, own):
                logger.info("%s does not run: %s", script.name, why)
                self._remember(script, ran=script.fingerprint)
                return None
            if script.error is not None:
                measured = unmeasured(refused(script.error, binary))
            else:
                measured = await self._stages.measure(task, binary, script, own)
            self._expect_alert(job, task, notify=notify_of(measured.result.execution, own))
            await self._stages.keep_snapshot(script)
            done = self._stages.saved(task, measured, script, own)
            return await self._stages.with_target_metrics(task, done)

    def _switched_off(self, job: Job, own: ScriptSettings) -> str | None:
        """Return why the script does not run by itself, if it does not."""
        if not own.enabled and job.trigger in (*ON_CHANGE, Trigger.EVENT):
            return "it is switched off by its ext.k6d.enabled"
        if job.trigger is not Trigger.MANUAL and (found := self._disabled.of(job.name)):
            return f"a person disabled {found.pattern}; 'k6d enable' lets it run again"
        return None

    def _expect_alert(self, job: Job, task: Task, *, notify: bool | list[str] | None) -> None:
        """Announce the run to the alerts before it is saved, so that a crash loses no alert.

        A one-off and a quiet job are left out: they have no incident.
        """
        if not (job.one_off or job.quiet):
            self.alerts.expect(job.name, task.under_way.test_id, notify)

    async def _run_again(
        self, old: Run, job: Job, watching: Watching, turn: Turn, *, confirms: str | None = None
    ) -> Done:
        """Run the stored snapshot of a run once more, and save the new run."""
        binary = await discovery.find(self._settings.k6.path)
        if old.snapshot is None:
            raise K6dError(f"run {old.test_id} has no snapshot: its script could not be read then")
        stored = self._store.snapshot_path(old.snapshot.id)
        if not stored.exists():
            raise K6dError(f"{stored} is gone: the snapshot of run {old.test_id} was removed")
        async with self._stages.task(job, watching, turn) as task:
            snapshot = task.folder / archive.ARCHIVE
            await asyncio.to_thread(self._store.copy_snapshot, old.snapshot.id, snapshot)
            script = archive.reopen(
                snapshot, path=job.path, name=job.name, k6=binary, extra_workload=job.env
            )
            if script.error is not None:
                raise K6dError(f"{stored} cannot run: {script.error}")
            own = parse_script_settings(script.raw_settings, script=script.name)
            measured = await self._stages.measure(task, binary, script, own)
            await self._stages.keep_snapshot(script)
            tagged = replace(job, tags={**old.tags, **job.tags})
            again = replace(task, job=tagged, commit=old.commit)
            done = self._stages.saved(again, measured, script, own, confirms=confirms)
            return await self._stages.with_target_metrics(again, done)

    async def _look(self, task: Task, binary: K6) -> Script:
        name = task.job.name
        known = self.registration.registry.get(name)
        refusal = await reading.in_thread(
            irregular_dependency, known, about=f"a file that {name} needs"
        )
        return await self._stages.look(task, binary, refusal=refusal)

    def _wanted(self, job: Job, script: Script) -> bool:
        if script.kind is Kind.LIBRARY:
            if job.trigger is Trigger.MANUAL:
                raise HelperModuleError(
                    f"{job.path} has no default function and no scenario: it is a helper module; "
                    f"name the script that uses it"
                )
            return False
        known = self.registration.registry.get(job.name)
        asked_for = job.due or job.trigger not in ON_CHANGE
        return bool(asked_for) or known is None or known.ran != script.fingerprint

    async def _compared(self, done: Done, job: Job, watching: Watching, turn: Turn) -> Done:
        """Compare with the history, confirm by re-runs of the same snapshot, and save."""
        unused = job.options.keys() - done.run.overrides.keys()
        again = replace(without(job, unused), trigger=Trigger.CONFIRMATION)

        async def confirm() -> Done:
            return await self._run_again(done.run, again, watching, turn, confirms=done.run.test_id)

        return await compared(
            done,
            settings=self._settings,
            store=self._store,
            confirm=confirm,
            stop=self._stages.stop_of(watching),
        )

    def _finish(self, done: Done, *, remember: bool) -> None:
        """Note, after the verdict is saved, that these contents of the script have run."""
        run, script = done.run, done.script
        logger.info("run %s of %s %s", run.test_id, run.script, outline(run))
        self.aside.survived(run.script)
        if script and remember:
            self._remember(script, ran=None if is_unfinished(run) else script.fingerprint)

    def _remember(self, script: Script, *, ran: str | None = None) -> None:
        """Store the data that shows, without k6, whether a script has changed."""
        self.registration.remember(script, ran=ran)


def _explainer(settings: Settings, store: Store, stop: asyncio.Event) -> Explainer:
    """Return what asks Gemini; it is imported when the first run is to be explained."""
    from k6d.explain.explainer import Explainer

    return Explainer(settings, store, stop=stop)
