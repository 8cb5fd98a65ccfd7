"""Commands that show results: history, show, scripts, search, stats, report, watch-live."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path  # noqa: TC003  (Typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from k6d.cli.common import (
    AsCsv,
    AsJson,
    Config,
    Data,
    RunId,
    ScriptName,
    Scripts,
    known_script,
    load_folders,
    load_settings,
    moment_of,
    open_store,
    print_csv,
    print_json,
    print_raw,
    print_rows,
    print_run,
    run_named,
    say,
    tags_of,
    terminal,
)
from k6d.cli.completion import known_scripts
from k6d.core.errors import K6dError, reason

if TYPE_CHECKING:
    from k6d.cli.common import HasFolders

commands = typer.Typer()


class Form(StrEnum):
    """The formats of a report."""

    HTML = "html"
    MARKDOWN = "markdown"
    JUNIT = "junit"


Moment = Annotated[
    str | None,
    typer.Option(help="A day, a time (2026-11-22T14:05, UTC), or a while ago: 7d, 2h."),
]


@commands.command()
def history(
    script: ScriptName = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many runs.")] = 20,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """List the runs, newest first."""
    from k6d.cli.render.lists import history_table

    loaded = load_folders(config, data=data)
    rows = open_store(loaded).history(_known(script, loaded), limit)
    if not rows:
        load_settings(config, data=data)  # its warnings may say why there is nothing
    nothing = f"no runs{f' of {script}' if script else ''} in {loaded.data} yet"
    print_rows(rows, history_table, as_json=as_json, as_csv=as_csv, nothing=nothing)


@commands.command()
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
    loaded = load_folders(config, data=data)
    store, test_id = open_store(loaded), run_named(run_id, loaded)
    if file is not None:
        sys.stdout.buffer.write(store.kept_file(test_id, file))
    elif as_json:
        print_raw(store.load_raw(test_id))
    else:
        print_run(store.load(test_id), terminal(), log=log)


@commands.command(name="scripts")
def list_scripts(
    as_json: AsJson = False, scripts: Scripts = None, data: Data = None, config: Config = None
) -> None:
    """List all scripts that are in the folder or have runs, with their last results."""
    from k6d.alerts.alerting import Alerts
    from k6d.cli.render.lists import scripts_report
    from k6d.scripts.catalog import entries

    loaded = load_settings(config, scripts=scripts, data=data)
    store = open_store(loaded)
    rows = [entry.row() for entry in entries(loaded, store)]
    nothing = f"no scripts in {loaded.scripts} yet"
    print_rows(rows, scripts_report, as_json=as_json, nothing=nothing)
    for outage in Alerts(loaded, store).outages() if not as_json else ():
        say(f"outage: {outage.line}; run again automatically")


@commands.command()
def search(
    text: Annotated[
        str | None, typer.Argument(help="Text in the script's name, finding or outcome.")
    ] = None,
    script: Annotated[
        str | None, typer.Option(help="Only this script.", autocompletion=known_scripts)
    ] = None,
    anomalies: Annotated[bool, typer.Option("--anomalies", help="Only anomalous runs.")] = False,
    severity: Annotated[
        str | None, typer.Option(help="healthy, low, medium, high or critical.")
    ] = None,
    status: Annotated[str | None, typer.Option(help="completed or failed.")] = None,
    min_error_rate: Annotated[float | None, typer.Option(help="In percent.")] = None,
    max_response_time: Annotated[float | None, typer.Option(help="Of the average, in ms.")] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="NAME=VALUE", help="release=2.14, branch=main, commit=1a2b…"),
    ] = None,
    since: Moment = None,
    until: Moment = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many runs.")] = 50,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Find the runs that meet all given conditions, newest first."""
    from k6d.cli.render.lists import history_table
    from k6d.storage.query import VERDICTS, Query

    loaded = load_folders(config, data=data)
    _one_of("--severity", severity, VERDICTS)
    _one_of("--status", status, ("completed", "failed"))
    _finite("--min-error-rate", min_error_rate)
    _finite("--max-response-time", max_response_time)
    query = Query(
        text=text,
        script=_known(script, loaded),
        anomalies_only=anomalies,
        severity=severity,
        status=status,
        min_error_rate=min_error_rate,
        max_response_time=max_response_time,
        tags=tuple(tags_of(tag).items()),
        since=moment_of("--since", since),
        until=moment_of("--until", until, end=True),
    )
    rows = open_store(loaded).search(query, limit=limit)
    if not rows:
        load_settings(config, data=data)  # its warnings may say why there is nothing
    nothing = f"no run in {loaded.data} matches"
    print_rows(rows, history_table, as_json=as_json, as_csv=as_csv, nothing=nothing)


@commands.command()
def stats(
    script: ScriptName = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How many days.")] = 7,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Count runs, anomalies and severities of the last days; --csv prints a line for each day."""
    from k6d.cli.render.statistics import statistics_report

    loaded = load_folders(config, data=data)
    found = open_store(loaded).statistics(days=days, script=_known(script, loaded))
    if as_json:
        print_json(asdict(found))
    elif as_csv:
        print_csv(
            [{"day": day.day, "total": day.total, "anomalies": day.anomalies} for day in found.days]
        )
    else:
        console = terminal()
        console.print(statistics_report(found, width=console.width))


@commands.command()
def report(
    run_id: RunId = "latest",
    form: Annotated[Form, typer.Option(help="A web page, or a format for tools.")] = (Form.HTML),
    html: Annotated[bool, typer.Option("--html", help="Short for --form html.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="… markdown.")] = False,
    junit: Annotated[bool, typer.Option("--junit", help="… junit.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; without it, print.")
    ] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Write a run as a self-contained HTML page, a Markdown summary, or JUnit XML."""
    from k6d.web.reports import FORMS

    short = {Form.HTML: html, Form.MARKDOWN: markdown, Form.JUNIT: junit}
    asked = [one for one, wanted in short.items() if wanted]
    if len(asked) > 1:
        raise K6dError("a report has one form: give --html, --markdown or --junit")
    loaded = load_folders(config, data=data)
    run = open_store(loaded).load(run_named(run_id, loaded))
    text = FORMS[asked[0] if asked else form].write(run)
    if output is None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        why = reason(error)
        raise K6dError(f"cannot write {output}: {why}; name another file") from error


@commands.command(name="watch-live")
def watch_live(
    once: Annotated[bool, typer.Option("--once", help="Exit after the current run.")] = False,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Follow the daemon's current run, second by second; Ctrl-C exits."""
    from k6d.cli.watch_live import follow

    follow(load_settings(config, data=data), terminal(), once=once, as_json=as_json)


def _known(script: str | None, loaded: HasFolders) -> str | None:
    return None if script is None else known_script(script, loaded)


def _one_of(option: str, given: str | None, allowed: tuple[str, ...]) -> None:
    if given is not None and given not in allowed:
        raise K6dError(f"{option} {given}: should be one of {', '.join(allowed)}")


def _finite(option: str, given: float | None) -> None:
    if given is not None and not math.isfinite(given):
        raise K6dError(f"{option} {given}: should be a number such as 5 or 0.5")
