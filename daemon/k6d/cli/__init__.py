"""Defines the commands and calls the code behind them. Only `cli` and `daemon` exit the process."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path  # noqa: TC003  (Typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from k6d import __version__, settings
from k6d.cli import alerts, browse, compare, explain, jobs, learn, maintenance
from k6d.cli.common import (
    ANOMALOUS,
    HEALTHY,
    LOOK,
    NOT_RUN,
    RUN,
    UPKEEP,
    AsCsv,
    AsJson,
    Config,
    Data,
    RunId,
    ScriptName,
    Scripts,
    known_script,
    load_settings,
    open_store,
    print_json,
    print_raw,
    print_rows,
    print_run,
    run_named,
    say,
    terminal,
    variables,
)
from k6d.cli.run import finish, under_way
from k6d.core import logs
from k6d.core.model import K6dError, reason
from k6d.core.numbers import escaped
from k6d.core.parse import parse_duration
from k6d.daemon import __main__
from k6d.settings.values import located

if TYPE_CHECKING:
    from k6d.settings import Settings

app = typer.Typer(
    name="k6d",
    help="The k6 daemon runs the k6 scripts of a folder, judges the results and sends alerts. "
    "Start with: k6d demo, k6d help.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> NoReturn:
    """Run a command; a user's mistake becomes one line on standard error and exit code 2."""
    try:
        app()
    except K6dError as error:
        print(f"k6d: {escaped(str(error))}", file=sys.stderr)  # noqa: T201
        sys.exit(NOT_RUN)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(HEALTHY)
    except OSError as error:
        if error.filename is None:
            raise
        print(escaped(f"k6d: {error.filename}: {reason(error)}"), file=sys.stderr)  # noqa: T201
        sys.exit(NOT_RUN)
    sys.exit(HEALTHY)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"k6d {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(rich_help_panel=RUN)
def serve(
    scripts: Scripts = None,
    data: Data = None,
    config: Config = None,
    log_file: Annotated[Path | None, typer.Option(help="Also write the log to this file.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
) -> None:
    """Watch the scripts folder, run new, changed and due scripts, and send alerts."""
    __main__.become(config, scripts=scripts, data=data, log_file=log_file, log_format=log_format)


@app.command(rich_help_panel=RUN)
def run(
    script: Annotated[Path, typer.Argument(help="The script to run.", show_default=False)],
    vus: Annotated[int | None, typer.Option(min=1, help="Virtual users.")] = None,
    duration: Annotated[str | None, typer.Option(help="In k6's format: 30s, 5m.")] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Total iterations.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="K=V for the script's __ENV.")] = None,
    as_json: AsJson = False,
    scripts: Scripts = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Run one script now. Exit code 0: healthy, 1: anomalous, 2: the script could not run."""
    from k6d.core.job import Job
    from k6d.core.model import Trigger
    from k6d.execution.archive import name_of

    loaded = load_settings(config, scripts=scripts, data=data)
    hide = settings.redactor_of(loaded, variables(env or [])).known
    logs.set_up("debug" if loaded.debug else "warning", hide=hide)
    path = _file_of(script, loaded)
    if duration is not None:
        _check_duration(duration)
    given = {"vus": vus, "duration": duration, "iterations": iterations}
    job = Job(
        name=name_of(path, loaded.scripts),
        path=path,
        trigger=Trigger.MANUAL,
        options={name: str(value) for name, value in given.items() if value is not None},
        env=variables(env or []),
    )
    result = under_way(loaded, lambda pipeline, watching: pipeline.run(job, watching=watching))
    if result is None:
        raise K6dError(f"{path} was not run")
    sys.exit(finish(result, loaded, as_json=as_json))


def _file_of(given: Path, loaded: Settings) -> Path:
    """Return the file at the given path, or the one with that name in the scripts folder."""
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
    try:
        parse_duration(given)
    except ValueError as error:
        raise K6dError(f"--duration {given}: should be a duration such as 30s or 5m") from error


@app.command(rich_help_panel=LOOK)
def history(
    script: ScriptName = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many runs.")] = 20,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """List the runs, newest first."""
    from k6d.cli.render.run import history_table

    loaded = load_settings(config, data=data)
    name = None if script is None else known_script(script, loaded)
    rows = open_store(loaded).history(name, limit)
    nothing = f"no runs{f' of {script}' if script else ''} in {loaded.data} yet"
    print_rows(rows, history_table, as_json=as_json, as_csv=as_csv, nothing=nothing)


@app.command(rich_help_panel=LOOK)
def show(
    run_id: RunId = "latest",
    log: Annotated[bool, typer.Option("--log", help="Also show k6's log and output.")] = False,
    file: Annotated[
        str | None, typer.Option(help="Print only this file, which the script wrote.")
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Show all data of one run."""
    loaded = load_settings(config, data=data)
    store, test_id = open_store(loaded), run_named(run_id, loaded)
    if file is not None:
        sys.stdout.buffer.write(store.kept_file(test_id, file))
    elif as_json:
        print_raw(store.load_raw(test_id))
    else:
        print_run(store.load(test_id), terminal(), log=log)


@app.command(name="scripts", rich_help_panel=LOOK)
def list_scripts(
    as_json: AsJson = False, scripts: Scripts = None, data: Data = None, config: Config = None
) -> None:
    """List all scripts that are in the folder or have runs, with their last results."""
    from k6d.alerts.alerting import Alerts
    from k6d.cli.render.run import scripts_report
    from k6d.scripts.catalog import entries

    loaded = load_settings(config, scripts=scripts, data=data)
    store = open_store(loaded)
    rows = [entry.row() for entry in entries(loaded, store)]
    nothing = f"no scripts in {loaded.scripts} yet"
    print_rows(rows, scripts_report, as_json=as_json, nothing=nothing)
    for outage in Alerts(loaded, store).outages() if not as_json else ():
        say(f"outage: {outage.line}; run again automatically")


@app.command(rich_help_panel=UPKEEP)
def doctor(
    as_json: AsJson = False, scripts: Scripts = None, data: Data = None, config: Config = None
) -> None:
    """Check k6, folders, settings and notification URLs; say how to fix each problem."""
    from dataclasses import asdict

    from k6d.cli.doctor import examine

    checks = asyncio.run(examine(settings.load(config, scripts=scripts, data=data)))
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        console = terminal()
        for check in checks:
            mark = "[green]✓[/]" if check.ok else "[red]✗[/]"
            console.print(f"{mark} {check.name}:", check.seen, markup=True, soft_wrap=True)
            if check.remedy:
                console.print(f"    → {check.remedy}", style="dim", markup=False, soft_wrap=True)
    sys.exit(HEALTHY if all(check.ok for check in checks) else ANOMALOUS)


@app.command(rich_help_panel=UPKEEP)
def reindex(data: Data = None, config: Config = None) -> None:
    """Rebuild the index from the run files."""
    from rich.progress import Progress

    store = open_store(load_settings(config, data=data))
    console = terminal(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("reading run files")
        total = store.reindex(lambda done, of: progress.update(bar, completed=done, total=of))
    say(f"{total} runs indexed")


app.add_typer(browse.commands)
app.add_typer(compare.commands)
app.add_typer(alerts.commands)
app.add_typer(explain.commands)
app.add_typer(maintenance.commands)
app.add_typer(jobs.commands)
app.add_typer(learn.commands)
