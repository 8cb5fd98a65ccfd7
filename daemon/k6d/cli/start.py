"""Commands that start something: serve, run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k6d.cli.common import (
    AsJson,
    Config,
    Data,
    Scripts,
    Tag,
    load_settings,
    open_store,
    severity_of,
    tags_of,
    variables,
)
from k6d.core.errors import K6dError

if TYPE_CHECKING:
    from k6d.core.job import Job
    from k6d.core.model import Run
    from k6d.settings import Settings

commands = typer.Typer()


@commands.command()
def serve(
    scripts: Scripts = None,
    data: Data = None,
    config: Config = None,
    log_file: Annotated[Path | None, typer.Option(help="Also write the log to this file.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
) -> None:
    """Watch the scripts folder, run new, changed and due scripts, and send alerts."""
    from k6d.daemon import __main__

    __main__.become(config, scripts=scripts, data=data, log_file=log_file, log_format=log_format)


@commands.command()
def run(
    scripts_given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SCRIPT...", help="Scripts to run, or patterns: “smoke/*”.", show_default=False
        ),
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Run this suite of the settings.")] = None,
    vus: Annotated[int | None, typer.Option(min=1, help="Virtual users.")] = None,
    duration: Annotated[str | None, typer.Option(help="In k6's format: 30s, 5m.")] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Total iterations.")] = None,
    once: Annotated[
        bool, typer.Option("--once", help="One iteration of each scenario, to try the script.")
    ] = False,
    env: Annotated[list[str] | None, typer.Option(help="K=V for the script's __ENV.")] = None,
    tag: Tag = None,
    fail_on: Annotated[
        str | None,
        typer.Option(help="Exit with 1 from this severity on: low, medium, high or critical."),
    ] = None,
    no_incident: Annotated[
        bool, typer.Option("--no-incident", help="Change no incident and send no message.")
    ] = False,
    baseline: Annotated[
        Path | None, typer.Option(help="First import the runs of this archive of 'k6d export'.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write all results as JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write all results as Markdown.")] = None,
    as_json: AsJson = False,
    scripts: Scripts = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Run scripts now. Exit code 0: healthy, 1: anomalous, 2: a script has no verdict."""
    from k6d import settings
    from k6d.cli.batch import Results, exit_code, run_all, run_one_suite, show, write
    from k6d.cli.run import finish, under_way
    from k6d.core import logs
    from k6d.core.job import Job
    from k6d.core.terms import Trigger

    loaded = load_settings(config, scripts=scripts, data=data)
    hide = settings.redactor_of(loaded, variables(env or [])).known
    logs.set_up("debug" if loaded.debug else "warning", hide=hide)
    worst = severity_of("--fail-on", fail_on)
    if bool(suite) == bool(scripts_given):
        raise K6dError("name the scripts to run, or a suite with --suite")
    if duration is not None:
        _check_duration(duration)
    given = {"vus": vus, "duration": duration, "iterations": iterations}
    options = {name: str(value) for name, value in given.items() if value is not None}
    if once and options:
        raise K6dError(f"--once sets the load by itself: leave out --{next(iter(options))}")
    first = Job(
        name="",
        path=loaded.scripts,
        trigger=Trigger.MANUAL,
        options=options,
        env=variables(env or []),
        tags=tags_of(tag),
        once=once,
        quiet=no_incident,
    )
    jobs = _jobs(first, scripts_given or [], suite, loaded)
    if baseline is not None:
        _import_baseline(baseline, loaded)
    if (
        len(jobs) == 1
        and not suite
        and not any(_is_pattern(one, loaded) for one in scripts_given or [])
    ):
        try:
            result = _run_one(jobs[0], loaded)
        except K6dError as error:  # a pipeline shows the report, not what was printed
            write(Results(not_run={jobs[0].name: str(error)}), junit=junit, markdown=markdown)
            raise
        write(Results([result]), junit=junit, markdown=markdown)
        sys.exit(finish(result, loaded, as_json=as_json, fail_on=worst))
    work = run_all if suite is None else run_one_suite
    found = under_way(loaded, lambda line, watching: work(jobs, loaded, line, watching))
    show(found, loaded, as_json=as_json)
    write(found, junit=junit, markdown=markdown)
    sys.exit(exit_code(found, worst))


def _run_one(job: Job, loaded: Settings) -> Run:
    """Run the only script; K6dError if it has no run."""
    from k6d.cli.run import under_way

    result = under_way(loaded, lambda line, watching: line.run(job, watching=watching))
    if result is None:
        raise K6dError(f"{job.path} was not run")
    return result


def _jobs(first: Job, given: list[str], suite: str | None, loaded: Settings) -> list[Job]:
    """Return a job for each script, or one for the suite; K6dError names what is unknown."""
    from dataclasses import replace
    from secrets import token_hex

    from k6d.core.job import SUITE
    from k6d.execution.archive import name_of

    if suite is not None:
        from k6d.jobs.suites import suite_of

        name = f"{SUITE}{suite_of(suite, loaded).name}"
        return [replace(first, name=name, path=loaded.scripts / name)]
    paths = _files_of(given, loaded)
    return [
        replace(first, name=name_of(path, loaded.scripts), path=path, id=token_hex(6))
        for path in paths
    ]


def _files_of(given: list[str], loaded: Settings) -> list[Path]:
    """Return the files of scripts and patterns, each once; K6dError names what matches none."""
    from k6d.core.text import covers
    from k6d.scripts.candidates import candidates_in

    found: dict[Path, None] = {}
    for one in given:
        if not _is_pattern(one, loaded):
            found[_file_of(Path(one), loaded)] = None
            continue
        pattern = one.removeprefix("./").removeprefix(f"{loaded.scripts.name}/")
        names = sorted(candidates_in(loaded.scripts, loaded.watch.ignore))
        matching = [name for name in names if covers(pattern, name)]
        if not matching:
            raise K6dError(f"no script in {loaded.scripts} matches {one!r}")
        found |= dict.fromkeys(loaded.scripts / name for name in matching)
    return list(found)


def _is_pattern(given: str, loaded: Settings) -> bool:
    """Return whether this is a pattern, and not the name of a file that has such characters."""
    is_file = Path(given).is_file() or (loaded.scripts / given).is_file()
    return any(sign in given for sign in "*?[") and not is_file


def _import_baseline(archive: Path, loaded: Settings) -> None:
    """Import the runs of an archive, so that later runs are compared with them."""
    from k6d.storage import backup
    from k6d.storage.locks import only_daemon

    if not archive.exists():
        raise K6dError(f"--baseline {archive}: does not exist; 'k6d export FILE' makes one")
    if not (archive.is_file() and backup.is_archive(archive)):
        raise K6dError(f"--baseline {archive}: is no archive of 'k6d export'")
    with only_daemon(loaded.data):
        backup.restore(loaded.data, archive, open_store(loaded))


def _file_of(given: Path, loaded: Settings) -> Path:
    """Return the file at the given path, or the one with that name in the scripts folder."""
    from k6d.core.parse import located
    from k6d.execution.mentions import MODULES

    path = located(given)
    if not path.is_file() and (loaded.scripts / given).is_file():
        path = loaded.scripts / given
    if not path.is_file():
        raise K6dError(f"{given} is no file, nor in {loaded.scripts}: name a k6 script")
    if path.suffix and path.suffix.lower() not in MODULES:
        raise K6dError(f"{given} is no k6 script: its name should end in {' or '.join(MODULES)}")
    return path


def _check_duration(given: str) -> None:
    from k6d.core.parse import parse_duration

    try:
        parse_duration(given)
    except ValueError as error:
        raise K6dError(f"--duration {given}: should be a duration such as 30s or 5m") from error
