"""Runs the scripts of a suite one after the other, and sends one message for all of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import TYPE_CHECKING

from k6d.core import reading
from k6d.core.job import SUITE
from k6d.core.model import K6dError, Outcome
from k6d.core.text import plural
from k6d.jobs.turns import StoppedError

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """

    runs: list[Run] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)

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
    """Run the scripts of the job's suite; what depends on a failed script is left out."""
    suite = suite_of(job.name, settings)
    found = SuiteRuns()
    failed: list[str] = []
    for script in suite.order():
        if why := _why_left_out(suite, script, failed):
            found.left_out[script] = why
            failed.append(script)
            logger.warning("suite %s: %s is left out: %s", suite.name, script, why)
            continue
        run, why = await _run(_part(job, suite, script, settings), pipeline, watching)
        if run:
            found.runs.append(run)
        if why:
            found.not_run[script] = why
            logger.error("suite %s: %s has no run: %s", suite.name, script, why)
        if run is None or has_failed(run):
            failed.append(script)
        if pipeline.stopping or (watching.stop and watching.stop.is_set()):
            break
    await pipeline.end_suite(suite.name, _cause(suite, found))
    return found


def _part(job: Job, suite: Suite, script: str, settings: Settings) -> Job:
    path = settings.scripts / script
    return replace(job, name=script, path=path, suite=suite.name, due=None, id=token_hex(6))


async def _run(job: Job, pipeline: Pipeline, watching: Watching) -> tuple[Run | None, str | None]:
    """Run one script; return its run, or why it has none."""
    if not await reading.in_thread(reading.is_file, job.path, about=str(job.path)):
        return None, f"{job.path} is no file"
    try:
        run = await pipeline.run(job, watching=watching)
    except StoppedError:
        return None, "stopped before it ran"
    except K6dError as error:
        return None, str(error)
    return run, None if run else "it is disabled, or no test"


def _why_left_out(suite: Suite, script: str, failed: Sequence[str]) -> str | None:
    """Return why the script is left out, after what failed or was left out before it."""
    for name in suite.after.get(script, []):
        if name in failed:
            return f"it comes after {name}, which did not run well"
    return f"{failed[0]} did not run well" if suite.stop and failed else None


def _cause(suite: Suite, found: SuiteRuns) -> str:
    left = len(found.left_out) + len(found.not_run)
    return f"suite {suite.name}" + (f", {plural(left, 'script')} not run" if left else "")
