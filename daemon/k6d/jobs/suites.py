"""Runs the scripts of a suite one after the other, and sends one message for all of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import TYPE_CHECKING

from k6d.core import reading
from k6d.core.errors import why_no_result
from k6d.core.job import SUITE
from k6d.core.model import K6dError, Outcome
from k6d.core.text import plural
from k6d.jobs.turns import StoppedError

if TYPE_CHECKING:
    from k6d.core.job import Job
    from k6d.core.model import Run
    from k6d.jobs.pipeline import Pipeline
    from k6d.jobs.stages import Watching
    from k6d.settings import Settings
    from k6d.settings.suites import Suite

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class SuiteRuns:
    """The runs of a suite in their order.

    `left_out` are scripts after a failure, `not_run` those that could not run, with the reason.
    `no_result` says, for the first of these that nobody stopped or disabled, why it has no result.
    """

    runs: list[Run] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    no_result: str | None = None

    @property
    def worst(self) -> Run | None:
        """The first run that failed, else the last one."""
        failed = (run for run in self.runs if has_failed(run))
        return next(failed, self.runs[-1] if self.runs else None)

    @property
    def why_none(self) -> str | None:
        """Why there is no run, if a script could not run."""
        return next(iter(self.not_run.values()), None)


def has_failed(run: Run) -> bool:
    """Whether scripts that come after this one must not run."""
    completed = run.execution.outcome is Outcome.COMPLETED
    return run.anomaly_analysis.anomalies_detected or not completed


def suite_of(job_name: str, settings: Settings) -> Suite:
    """Return the suite of a job, or of that name; K6dError if the settings have none."""
    name = job_name.removeprefix(SUITE)
    for suite in settings.suites:
        if suite.name == name:
            return suite
    known = ", ".join(suite.name for suite in settings.suites) or "none"
    raise K6dError(f"no suite {name[:64]!r} in the settings; there are: {known}")


def scripts_of(job_name: str, settings: Settings) -> list[str]:
    """Return the scripts that a job may run: those of its suite, else its own."""
    if not job_name.startswith(SUITE):
        return [job_name]
    found = (suite.scripts for suite in settings.suites if f"{SUITE}{suite.name}" == job_name)
    return next(found, [])


async def run_suite(
    job: Job, settings: Settings, pipeline: Pipeline, watching: Watching
) -> SuiteRuns:
    """Run the scripts of the job's suite; what depends on a failed script is left out.

    The messages about its runs are made at the end, whatever ends the suite.
    """
    suite = suite_of(job.name, settings)
    found = SuiteRuns()
    try:
        for part in (_part(job, suite, script, settings) for script in suite.order()):
            await _take(part, suite, found, pipeline, watching)
            if pipeline.stopping or (watching.stop and watching.stop.is_set()):
                break
    finally:
        await pipeline.end_suite(suite.name, _cause(suite, found))
    return found


async def _take(
    part: Job, suite: Suite, found: SuiteRuns, pipeline: Pipeline, watching: Watching
) -> None:
    """Run one script of the suite unless it must be left out; enter in `found` what came of it."""
    script = part.name
    if why := _why_left_out(suite, script, found):
        found.left_out[script] = why
        logger.warning("suite %s: %s is left out: %s", suite.name, script, why)
        return
    try:
        if await reading.in_thread(reading.is_file, part.path, about=str(part.path)):
            run = await pipeline.run(part, watching=watching)
            why = None if run else "it is disabled, or no test"
        else:
            run, why = None, f"{part.path} is no file"
            found.no_result = found.no_result or why
    except StoppedError:
        run, why = None, "stopped before it ran"
    except (K6dError, OSError) as error:
        run, why = None, why_no_result(error, data=pipeline.data)
        found.no_result = found.no_result or f"{script}: {why}"
    if run:
        found.runs.append(run)
    if why:
        found.not_run[script] = why
        logger.error("suite %s: %s has no run: %s", suite.name, script, why)


def _part(job: Job, suite: Suite, script: str, settings: Settings) -> Job:
    path = settings.scripts / script
    return replace(job, name=script, path=path, suite=suite.name, due=None, id=token_hex(6))


def _why_left_out(suite: Suite, script: str, found: SuiteRuns) -> str | None:
    """Return why the script is left out, after what failed or was left out before it."""
    bad = [run.script for run in found.runs if has_failed(run)]
    failed = [name for name in suite.order() if name in {*bad, *found.not_run, *found.left_out}]
    for name in suite.after.get(script, []):
        if name in failed:
            return f"it comes after {name}, which did not run well"
    return f"{failed[0]} did not run well" if suite.stop and failed else None


def _cause(suite: Suite, found: SuiteRuns) -> str:
    left = len(found.left_out) + len(found.not_run)
    return f"suite {suite.name}" + (f", {plural(left, 'script')} not run" if left else "")
