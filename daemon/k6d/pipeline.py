"""One job, start to finish: snapshot, k6, capture, judge, save, tell.

The only module that knows all stages; each does its part and knows none of the others.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from k6d import delivery, k6, outcome, scripts, summary
from k6d.analysis.judge import judge
from k6d.capture import Capture, Receiver
from k6d.message import compose
from k6d.model import (
    Breakdown,
    Execution,
    K6dError,
    Log,
    Metrics,
    Outcome,
    Result,
    Run,
    Summary,
    Trigger,
    Verdict,
)
from k6d.runlog import KeptLog
from k6d.scripts import Kind, Script
from k6d.settings import ScriptSettings, parse_script_settings
from k6d.slots import slot, unless
from k6d.store import new_test_id
from k6d.work import UnderWay, leftovers, workdir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from k6d.queue import Job
    from k6d.settings import Settings
    from k6d.store import Store

logger = logging.getLogger(__name__)

PLANLESS_DEADLINE_S = 3600.0  # k6 did not say how long it takes: better a bound than none
ON_CHANGE = (Trigger.ADDED, Trigger.CHANGED, Trigger.RECOVERY)
NOTHING = Summary(metrics=Metrics())


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What somebody who looks on is told; every call is cheap and doesn't raise."""

    waiting: Callable[[], None] = lambda: None
    started: Callable[[UnderWay, Capture], None] = lambda _under_way, _capture: None
    planned: Callable[[float], None] = lambda _total_s: None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A job with its place to work."""

    job: Job
    under_way: UnderWay
    folder: Path
    guard: k6.Guard
    watching: Watching


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What came of a task, before it is judged."""

    script: Script | None
    own: ScriptSettings
    result: Result
    elapsed_s: float = 0.0
    log: Log = field(default_factory=Log)
    output: Log = field(default_factory=Log)


class Pipeline:
    """Runs jobs with one set of settings over one store; setting `stop` ends what is under way.

    In the `background`, messages don't hold up the next job; call `drain` at the end.
    """

    def __init__(
        self, settings: Settings, store: Store, *, stop: asyncio.Event, background: bool = False
    ) -> None:
        self._settings = settings
        self._store = store
        self._stop = stop
        self._background = background
        self._telling: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._known = store.state("scripts")

    async def run(self, job: Job, *, watching: Watching | None = None) -> Run | None:
        """Take the job through all stages and give its saved record.

        None when there was nothing to run: a helper module, a script that is switched off, or,
        after a change, one whose contents ran before. K6dError when a person asked for a file
        that is no test, when the record cannot be saved, or (StoppedError) when `stop` was set
        before k6 ran.
        """
        watching = watching or Watching()
        data, count = self._settings.data, self._settings.k6.concurrency
        async with slot(data / "slots", count, stop=self._stop, on_wait=watching.waiting):
            now = datetime.now(UTC)
            under_way = UnderWay(
                test_id=new_test_id(now), script=job.name, trigger=job.trigger, started=now
            )
            with workdir(data / "work", under_way) as folder:
                async with k6.Guard() as guard:
                    task = _Task(
                        job=job,
                        under_way=under_way,
                        folder=folder,
                        guard=guard,
                        watching=watching,
                    )
                    measured = await self._measure(task)
                if measured is None:
                    return None
                run = self._judged(task, measured)
                self._save(run, measured)
        telling = asyncio.create_task(self._tell(run, measured.own))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        if not self._background:
            await telling
        return run

    async def drain(self, limit_s: float) -> None:
        """Wait until every message is out, `limit_s` seconds at most; the rest is dropped."""
        if not self._telling:
            return
        _, late = await asyncio.wait(self._telling, timeout=limit_s)
        for task in late:
            task.cancel()
        if late:
            logger.error("%s given up at the end", plural(len(late), "delivery", "deliveries"))
            await asyncio.wait(late)

    def recover(self) -> list[Run]:
        """Record the jobs whose process died under way, as aborted; gives the new records."""
        with leftovers(self._settings.data / "work") as dead:
            unsaved = (job for job in dead if not self._store.run_path(job.test_id).exists())
            runs = [_interrupted(under_way) for under_way in unsaved]
            for run in runs:
                self._store.save(run)
        return runs

    async def _measure(self, task: _Task) -> _Measured | None:
        """Snapshot and k6; None when there is nothing to run."""
        try:
            binary = await k6.find(self._settings.k6.path)
        except k6.K6UnavailableError as error:
            logger.error("%s: %s", task.job.name, error)
            execution = Execution(outcome=Outcome.K6_UNAVAILABLE, error=str(error))
            return _unmeasured(execution)
        script = await unless(self._stop, self._look(task, binary))
        if not self._wanted(task.job, script):
            self._remember(script)
            return None
        try:
            own = parse_script_settings(script.raw_settings, script=script.name)
        except K6dError as error:
            script, own = replace(script, error=str(error)), ScriptSettings()
        if not own.enabled and task.job.trigger in ON_CHANGE:
            logger.info("%s is switched off by its ext.k6d.enabled", script.name)
            self._remember(script, ran=script.fingerprint)
            return None
        if script.error is not None:
            execution = Execution(
                outcome=Outcome.SCRIPT_ERROR,
                error=script.error,
                k6_version=binary.version,
                machine=scripts.machine(),
            )
            return _unmeasured(execution, script=script, own=own)
        return await self._execute(task, binary, script, own)

    async def _look(self, task: _Task, binary: k6.K6) -> Script:
        job = task.job
        return await scripts.look(
            job.path,
            name=job.name,
            k6=binary,
            guard=task.guard,
            workdir=task.folder,
            env=self._environment(job),
            options=job.options,
            extra_workload=job.env,
        )

    def _environment(self, job: Job) -> dict[str, str]:
        return k6.environment(self._settings.k6.env | job.env)

    def _wanted(self, job: Job, script: Script) -> bool:
        if script.kind is Kind.LIBRARY:
            if job.trigger is Trigger.MANUAL:
                raise K6dError(
                    f"{job.path} has no default function and no scenario: it is a helper module; "
                    f"name the script that uses it"
                )
            return False
        known = self._known.get(job.name) or {}
        return job.trigger not in ON_CHANGE or known.get("ran") != script.fingerprint

    async def _execute(
        self, task: _Task, binary: k6.K6, script: Script, own: ScriptSettings
    ) -> _Measured:
        """Run the snapshot under k6 and gather what it says, to the last push."""
        settings, archive = self._settings, task.folder / "snapshot.tar"
        log, output = KeptLog(settings.k6.log_bytes), KeptLog(settings.k6.log_bytes)
        summary_file, files = task.folder / "summary.json", task.folder / "files"
        files.mkdir()
        command = binary.run_command(archive, summary=summary_file, trend_stats=script.trend_stats)
        env = self._environment(task.job)
        plan = asyncio.create_task(binary.inspect(archive, guard=task.guard, env=env))
        deadline = asyncio.create_task(self._deadline(plan, own, task.watching))
        capture = Capture(max_endpoints=settings.capture.max_endpoints)
        try:
            with Receiver(capture) as receiver:
                task.watching.started(task.under_way, capture)
                logger.info("run %s of %s starts", task.under_way.test_id, script.name)
                ended = await binary.run(
                    command,
                    guard=task.guard,
                    env=env | k6.remote_write(receiver.url),
                    cwd=files,
                    log=log,
                    output=output,
                    deadline=asyncio.shield(deadline),
                    stop=self._stop,
                    stop_grace_s=settings.k6.stop_grace,
                )
            planned = await plan
        finally:
            plan.cancel()
            deadline.cancel()
        totals = _read_summary(summary_file)
        kind, error = outcome.classify(ended, totals)
        execution = Execution(
            outcome=kind,
            exit_code=ended.exit_code,
            error=error,
            k6_version=binary.version,
            machine=scripts.machine(),
            command=_without_paths(command, task),
            planned_s=planned.total_s if planned else None,
            deadline_s=deadline.result() if deadline.done() and not deadline.cancelled() else None,
            signals=ended.signals,
        )
        duration_ms = totals.metrics.duration_ms
        breakdown = capture.result(duration_ms / 1000 if duration_ms else None)
        return _Measured(
            script=script,
            own=own,
            result=Result(
                execution=execution,
                summary=totals,
                breakdown=breakdown,
                exceptions=ended.exceptions,
                first_exception=ended.first_exception,
            ),
            elapsed_s=ended.elapsed_s,
            log=log.log(),
            output=output.log(),
        )

    async def _deadline(
        self, plan: asyncio.Task[k6.Plan | None], own: ScriptSettings, watching: Watching
    ) -> float:
        """Seconds a run may take: the script's or the global time-out, else the plan and grace."""
        planned = await asyncio.shield(plan)
        if planned:
            watching.planned(planned.total_s)
        if timeout := own.timeout or self._settings.k6.timeout:
            return timeout
        return planned.total_s + self._settings.k6.grace if planned else PLANLESS_DEADLINE_S

    def _judged(self, task: _Task, measured: _Measured) -> Run:
        """The record of the task. Comparison with earlier runs will be judged here as well."""
        result = measured.result
        limits = self._settings.limits.merged(measured.own.limits)
        verdict = judge(result, limits=limits)
        return Run(
            test_id=task.under_way.test_id,
            timestamp=task.under_way.started,
            script=task.job.name,
            trigger=task.job.trigger,
            status=_status(result.execution.outcome),
            execution_time=round(measured.elapsed_s, 3),
            metrics=result.summary.metrics,
            anomaly_analysis=verdict,
            execution=result.execution,
            snapshot=measured.script.snapshot if measured.script else None,
            breakdown=result.breakdown,
            checks=result.summary.checks,
            thresholds=result.summary.thresholds,
            k6_metrics=result.summary.k6_metrics,
            custom_metrics=result.summary.custom_metrics,
            overrides=task.job.overrides,
            log=measured.log,
            output=measured.output,
        )

    def _save(self, run: Run, measured: _Measured) -> None:
        """Snapshot, run file, index, and only then that these contents have run."""
        script = measured.script
        if script and script.snapshot and script.archive:
            self._store.put_snapshot(script.snapshot.id, script.archive)
        self._store.save(run)
        logger.info("run %s of %s %s", run.test_id, run.script, outline(run))
        interrupted = run.execution.outcome is Outcome.ABORTED and not run.execution.error
        if script and not run.overrides:
            self._remember(script, ran=None if interrupted else script.fingerprint)

    def _remember(self, script: Script, *, ran: str | None = None) -> None:
        """What the daemon needs to tell, without k6, whether a script has changed."""
        known: dict[str, Any] = self._known.get(script.name) or {}
        # What k6 refused tells little of its files; the mistake may be in one it had before.
        before = known.get("dependencies", {}) if script.kind is Kind.BROKEN else {}
        known |= {
            "kind": script.kind.value,
            "fingerprint": script.fingerprint,
            "dependencies": before | script.dependencies,
        }
        if ran is not None:
            known["ran"] = ran
        self._known.put(script.name, known)

    async def _tell(self, run: Run, own: ScriptSettings) -> None:
        notify, severity = self._settings.notify, run.anomaly_analysis.severity
        if severity is None or not own.notify or severity.rank < notify.min_severity.rank:
            return
        if not notify.urls and not notify.config:
            return
        async with self._one_at_a_time:
            deliveries = await delivery.send(
                compose(run, data=self._settings.data),
                urls=[url.get_secret_value() for url in notify.urls],
                config=notify.config,
                timeout_s=notify.timeout,
            )
        for sent in deliveries:
            if sent.delivered:
                logger.info("run %s: told %s", run.test_id, sent.receiver)
            else:
                logger.error(
                    "run %s: could not tell %s: %s", run.test_id, sent.receiver, sent.error
                )


def outline(run: Run) -> str:
    """A run in half a sentence: "completed, anomalous (high): p95 …"."""
    verdict = run.anomaly_analysis
    if verdict.severity:
        return f"{run.execution.outcome}, anomalous ({verdict.severity}): {verdict.issues[0]}"
    doubts = f" ({verdict.doubts[0]})" if verdict.doubts else ""
    judged = run.execution.outcome is Outcome.COMPLETED
    return f"{run.execution.outcome}{', healthy' if judged else ''}{doubts}"


def _status(outcome_: Outcome) -> str:
    return "completed" if outcome_ is Outcome.COMPLETED else "failed"


def _unmeasured(
    execution: Execution, *, script: Script | None = None, own: ScriptSettings | None = None
) -> _Measured:
    return _Measured(
        script=script,
        own=own or ScriptSettings(),
        result=Result(execution=execution, summary=NOTHING, breakdown=Breakdown()),
    )


def _interrupted(under_way: UnderWay) -> Run:
    execution = Execution(outcome=Outcome.ABORTED, machine=scripts.machine())
    result = Result(execution=execution, summary=NOTHING, breakdown=Breakdown())
    doubt = "interrupted: k6d was killed during this run"
    return Run(
        test_id=under_way.test_id,
        timestamp=under_way.started,
        script=under_way.script,
        trigger=under_way.trigger,
        status=_status(execution.outcome),
        execution_time=0.0,
        metrics=result.summary.metrics,
        anomaly_analysis=Verdict(anomalies_detected=False, confidence=0.0, doubts=[doubt]),
        execution=execution,
    )


def _read_summary(path: Path) -> Summary:
    """The totals; nothing when k6 was killed before it wrote them or wrote what we cannot read."""
    try:
        return summary.parse(path.read_bytes())
    except FileNotFoundError:
        return NOTHING
    except K6dError as error:
        logger.error("%s", error)
        return NOTHING


def _without_paths(command: list[str], task: _Task) -> list[str]:
    """The command with its temporary folder left out."""
    return [part.replace(f"{task.folder}/", "") for part in command]
