"""Commands that start something: serve, run."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003  (Typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from k6d.cli.common import (
    AsJson,
    Config,
    Data,
    Scripts,
    Tag,
    load_settings,
    tags_of,
    variables,
)
from k6d.core.model import K6dError

if TYPE_CHECKING:
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
    script: Annotated[Path, typer.Argument(help="The script to run.", show_default=False)],
    vus: Annotated[int | None, typer.Option(min=1, help="Virtual users.")] = None,
    duration: Annotated[str | None, typer.Option(help="In k6's format: 30s, 5m.")] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Total iterations.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="K=V for the script's __ENV.")] = None,
    tag: Tag = None,
    as_json: AsJson = False,
    scripts: Scripts = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Run one script now. Exit code 0: healthy, 1: anomalous, 2: the script could not run."""
    from k6d import settings
    from k6d.cli.run import finish, under_way
    from k6d.core import logs
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
        tags=tags_of(tag),
    )
    result = under_way(loaded, lambda pipeline, watching: pipeline.run(job, watching=watching))
    if result is None:
        raise K6dError(f"{path} was not run")
    sys.exit(finish(result, loaded, as_json=as_json))


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
