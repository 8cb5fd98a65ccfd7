"""Runs several scripts in a row, as a pipeline does: one table, one exit code, one report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k6d.cli.common import ANOMALOUS, HEALTHY, NOT_RUN, open_store, print_json, say, terminal
from k6d.core.errors import K6dError, reason, why_no_result
from k6d.core.terms import INCONCLUSIVE, Outcome, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from k6d.core.job import Job
    from k6d.core.model import Run
    from k6d.jobs.pipeline import Pipeline
    from k6d.jobs.stages import Watching
    from k6d.settings import Settings


@dataclass(slots=True)
class Results:
    """The runs in their order, the scripts without a run with the reason, and helper modules.

    `left_out` are scripts of a suite after a failure, with the reason.
    """

    runs: list[Run] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    helpers: list[str] = field(default_factory=list)


async def run_one_suite(
    jobs: Sequence[Job], loaded: Settings, pipeline: Pipeline, watching: Watching
) -> Results:
    """Run the suite of the only job."""
    from k6d.jobs.suites import run_suite

    done = await run_suite(jobs[0], loaded, pipeline, watching)
    return Results(runs=done.runs, not_run=done.not_run, left_out=done.left_out)


async def run_all(
    jobs: Sequence[Job], _loaded: Settings, pipeline: Pipeline, watching: Watching
) -> Results:
    """Run the jobs one after the other; one without a result does not keep the next from running.

    After the pipeline was stopped (Ctrl-C), the rest is not run.
    """
    from k6d.jobs.pipeline import HelperModuleError
    from k6d.jobs.turns import StoppedError

    found = Results()
    stopped = False
    for job in jobs:
        if stopped:
            found.not_run[job.name] = "stopped before it ran"
            continue
        try:
            run = await pipeline.run(job, watching=watching)
        except HelperModuleError:
            found.helpers.append(job.name)
        except StoppedError:
            found.not_run[job.name], stopped = "stopped before it ran", True
        except (K6dError, OSError) as error:
            found.not_run[job.name] = why_no_result(error, data=pipeline.data)
        else:
            if run is None:
                found.not_run[job.name] = "there was nothing to run"
            else:
                found.runs.append(run)
                aborted = run.execution.outcome is Outcome.ABORTED
                stopped = aborted and pipeline.stopping
    return found


def exit_code(found: Results, fail_on: Severity | None) -> int:
    """2 if a script has no verdict, else 1 if a run is anomalous (at least `fail_on`), else 0."""
    codes = [code_of(run, fail_on) for run in found.runs]
    codes += [NOT_RUN] * bool(found.not_run)
    return max(codes, default=NOT_RUN)


def code_of(run: Run, fail_on: Severity | None = None) -> int:
    """The exit code of one run."""
    failed = (Outcome.SCRIPT_ERROR, Outcome.ABORTED, Outcome.INCOMPLETE, *INCONCLUSIVE)
    ended = run.execution
    judged = ended.cut_by_threshold or ended.cut_by_k6d or ended.told_by_script
    if ended.outcome in failed and not judged:
        return NOT_RUN
    verdict = run.anomaly_analysis
    severity = verdict.severity or Severity.LOW
    counts = fail_on is None or severity.rank >= fail_on.rank
    return ANOMALOUS if verdict.anomalies_detected and counts else HEALTHY


def show(found: Results, loaded: Settings, *, as_json: bool) -> None:
    """Print a table of the runs, what was found, and why the others have no run."""
    from k6d.cli.render.lists import batch_table

    if as_json:
        store = open_store(loaded)
        rows = [b for run in found.runs if (b := store.load_raw(run.test_id).rstrip(b"\n"))]
        _print_json(rows, found)
        return
    console = terminal()
    if found.runs:
        console.print(batch_table(found.runs))
    for script, why in found.not_run.items():
        say(f"{script} has no run: {why}")
    for script, why in found.left_out.items():
        say(f"{script} was left out: {why}")
    for script in found.helpers:
        say(f"{script} is a helper module and was left out")


def _print_json(rows: list[bytes], found: Results) -> None:
    import orjson

    others = {"not_run": found.not_run, "left_out": found.left_out}
    print_json({"runs": [orjson.loads(row) for row in rows], **others})


def write(found: Results, *, junit: Path | None, markdown: Path | None) -> None:
    """Write the reports that were asked for; K6dError if the disk refuses one."""
    if junit is None and markdown is None:
        return
    from k6d.web.reports import write_junit_of, write_markdown_of

    for path, text_of in ((junit, write_junit_of), (markdown, write_markdown_of)):
        if path is None:
            continue
        try:
            without = found.not_run | found.left_out
            path.write_text(text_of(found.runs, without), encoding="utf-8")
        except OSError as error:
            why = reason(error)
            raise K6dError(f"cannot write {path}: {why}; name another file") from error
