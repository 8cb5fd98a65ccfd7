"""Options, input and output that the commands share."""

from __future__ import annotations

import csv
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import orjson
import typer

from k6d.cli.completion import known_runs, known_scripts
from k6d.core.errors import K6dError
from k6d.core.numbers import escaped
from k6d.core.parse import located

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from rich.console import Console, RenderableType

    from k6d.core.model import Run
    from k6d.core.terms import Severity
    from k6d.settings import Settings
    from k6d.storage.store import Store

HEALTHY, ANOMALOUS, NOT_RUN = 0, 1, 2

Data = Annotated[
    Path | None,
    typer.Option(help="Folder of the results.", show_default="the settings', else k6d-data"),
]
Scripts = Annotated[
    Path | None,
    typer.Option(help="Folder of the scripts.", show_default="the settings', else scripts"),
]
Config = Annotated[
    Path | None, typer.Option(help="Settings file (TOML).", show_default="k6d.toml, if there")
]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV for spreadsheets.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]


def load_settings(config: Path | None, **given: object) -> Settings:
    """Return the settings with the values of the command line; K6dError names every mistake.

    Unknown names that look like a setting are reported on standard error.
    """
    from k6d import settings

    loaded = settings.load(config, **given)
    for warning in loaded.warnings:
        say(f"k6d: warning: {warning}", err=True)
    return loaded


class HasFolders(Protocol):
    """All settings, or the two folders alone."""

    @property
    def scripts(self) -> Path:
        """The folder of the scripts."""

    @property
    def data(self) -> Path:
        """The folder of the results."""


def load_folders(config: Path | None, *, data: Path | None = None) -> HasFolders:
    """Return the two folders, without validating all settings, which takes 0.2 s.

    This is for commands that only look at what is stored. If they find nothing, they should call
    `load_settings`: its warnings may say why.
    """
    from k6d.settings.files import folders

    try:
        return folders(config, data=data)
    except ValueError:
        return load_settings(config, data=data)


def open_store(loaded: HasFolders) -> Store:
    """Open the data folder; LinkError if a part of it is a link."""
    from k6d.storage.data_folder import refuse_links
    from k6d.storage.store import Store

    refuse_links(loaded.data)
    return Store(loaded.data)


def script_name(given: str, loaded: HasFolders) -> str:
    """Return the name of a script that is given by name or by path."""
    path = located(Path(given))
    if not path.is_file():
        return given
    from k6d.execution.archive import name_of

    return name_of(path, loaded.scripts)


def known_script(given: str, loaded: HasFolders) -> str:
    """Like `script_name`, but the script must be in the folder or have runs.

    The ending may be left out. K6dError suggests the most similar name.
    """
    name, store = script_name(given, loaded), open_store(loaded)
    if store.last(name) or (loaded.scripts / name).is_file():
        return name
    import difflib

    from k6d.scripts.catalog import names

    known = names(_all_settings(loaded), store)
    if len(same := [one for one in known if one.rpartition(".")[0] == name]) == 1:
        return same[0]
    near = difflib.get_close_matches(name, known, 1)
    hint = f", did you mean {near[0]}?" if near else "; 'k6d scripts' lists them"
    raise K6dError(f"no script {name!r} in {loaded.scripts}, nor a run of one{hint}")


def _all_settings(loaded: HasFolders) -> Settings:
    from k6d.settings import Settings

    if isinstance(loaded, Settings):
        return loaded
    config = getattr(loaded, "config", None)
    return load_settings(config, scripts=loaded.scripts, data=loaded.data)


def run_named(given: str, loaded: HasFolders) -> str:
    """Return the id of a run, given as for `Store.find`, by a script, or by tags: the newest."""
    store = open_store(loaded)
    if "=" in given:
        from k6d.scripts.tagged import newest_with, tags_in

        return newest_with(tags_in(given) or {}, store)
    try:
        return store.find(given)
    except K6dError:
        with suppress(K6dError):
            if newest := store.last(known_script(given, loaded)):
                return str(newest["test_id"])
        raise


ScriptName = Annotated[
    str | None, typer.Argument(help="Only this script's runs.", autocompletion=known_scripts)
]
OneScript = Annotated[str, typer.Argument(help="The script.", autocompletion=known_scripts)]
RunId = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id, its start or end, a script (its newest run), tags (release=2.14), or "
        "“latest”.",
        autocompletion=known_runs,
    ),
]


def terminal(*, stderr: bool = False) -> Console:
    """Return a console for people; it prints plain text into a pipe."""
    from rich.console import Console

    from k6d.cli.render.table import Escaping

    console = Console(stderr=stderr, highlight=False)
    console.push_render_hook(Escaping())
    return console


def say(text: str = "", *, err: bool = False) -> None:
    """Print one line for people; control characters are escaped."""
    typer.echo(escaped(text), err=err)


def say_if_unmatched(
    patterns: Iterable[str], loaded: Settings, store: Store, *, err: bool = False
) -> None:
    """Tell people of a pattern that covers no script yet: it may be mistyped."""
    from k6d.core.text import covers
    from k6d.scripts.catalog import names

    for pattern in patterns:
        if pattern == "*" or any(covers(pattern, name) for name in names(loaded, store)):
            continue
        say(f"no script has such a name yet: {pattern}; 'k6d scripts' lists them", err=err)


def print_run(result: Run, console: Console, *, log: bool = False) -> None:
    """Print a run for people."""
    from k6d.cli.render.run import run_report

    console.print(run_report(result, log=log), crop=False)


def print_json(value: object) -> None:
    """Print indented JSON for other programs."""
    print_raw(orjson.dumps(value, option=orjson.OPT_INDENT_2))


def print_csv(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows with the same keys as CSV with a header; print nothing without rows."""
    if rows:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _in_cell(value) for key, value in row.items()} for row in rows)


def print_rows(
    rows: Sequence[dict[str, Any]],
    table: Callable[[Sequence[dict[str, Any]]], RenderableType],
    *,
    as_json: bool,
    as_csv: bool = False,
    nothing: str,
) -> None:
    """Print rows as JSON, as CSV, or for people: `table(rows)`, or `nothing` without rows."""
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(rows)
    elif rows:
        terminal().print(table(rows))
    else:
        say(nothing)


def _in_cell(value: object) -> object:
    """Mark a text as text if a spreadsheet would run it as a formula."""
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value


def print_raw(data: bytes) -> None:
    """Print bytes unchanged, and a line end."""
    sys.stdout.buffer.write(data.rstrip(b"\n") + b"\n")
    sys.stdout.buffer.flush()


def severity_of(option: str, given: str | None) -> Severity | None:
    """Return the severity; K6dError if it is none."""
    from k6d.core.terms import Severity

    if given is not None and given not in list(Severity):
        raise K6dError(f"{option} {given}: should be one of {', '.join(Severity)}")
    return Severity(given) if given else None


Tag = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="NAME=VALUE", help="A tag of the run: release=2.14."),
]


def tags_of(given: list[str] | None) -> dict[str, str]:
    """Parse NAME=VALUE tags; K6dError names the wrong one."""
    from k6d.core.tags import parsed

    try:
        return parsed(given or [])
    except ValueError as error:
        raise K6dError(f"--tag: {error}") from error


def variables(given: list[str]) -> dict[str, str]:
    """Parse NAME=VALUE arguments."""
    named = {}
    for entry in given:
        name, equals, value = entry.partition("=")
        if not equals or not name.isidentifier():
            raise K6dError(f"--env {name}: should be NAME=VALUE, such as --env BASE_URL=http://…")
        named[name] = value
    return named


def moment_of(option: str, given: str | None, *, end: bool = False) -> datetime | None:
    """Parse an option as a time with time zone; K6dError says which formats are allowed.

    A day is its first moment, or with `end` its last one.
    """
    from datetime import UTC, datetime, timedelta

    from k6d.core.parse import end_of, in_utc, parse_duration

    if given is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(given))
    except (ValueError, OverflowError):
        pass
    try:
        return end_of(given) if end else in_utc(datetime.fromisoformat(given))
    except ValueError:
        raise K6dError(
            f"{option} {given}: should be a day (2026-11-22), a time (2026-11-22T14:05) or a "
            "while ago (7d, 2h)"
        ) from None
