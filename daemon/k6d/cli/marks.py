"""Commands for marks: mark, marks."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from k6d.cli.common import (
    AsJson,
    Config,
    Data,
    load_settings,
    moment_of,
    open_store,
    print_json,
    say,
    say_if_unmatched,
    script_name,
)
from k6d.cli.completion import known_scripts
from k6d.core.errors import K6dError

commands = typer.Typer()

CLOCKS_DIFFER = timedelta(minutes=5)  # between the machines of a pipeline and of k6d


@commands.command()
def mark(
    text: Annotated[str, typer.Argument(help="What happened: “checkout 2.14”.")],
    at: Annotated[
        str | None, typer.Option(help="When: a time (2026-11-22T14:05, UTC), or a while ago: 10m.")
    ] = None,
    script: Annotated[
        str,
        typer.Option(
            help="The scripts that it concerns, as a pattern: “shop/*”.",
            autocompletion=known_scripts,
        ),
    ] = "*",
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Mark a moment, such as a deployment; what changes after it names it."""
    from k6d.storage import marks as stored

    loaded = load_settings(config, data=data)
    now = datetime.now(UTC)
    moment = moment_of("--at", at) or now
    if moment > now + CLOCKS_DIFFER:
        raise K6dError(
            f"--at {at}: lies ahead, now it is {now:%Y-%m-%d %H:%M} UTC; a time without a zone is "
            "UTC, and +02:00 at its end names a zone"
        )
    store, pattern = open_store(loaded), script_name(script, loaded)
    try:
        made = stored.put(text, store, at=moment, script=pattern)
    except ValueError as error:
        raise K6dError(str(error)) from error
    if as_json:
        print_json(asdict(made))
    else:
        say(f"mark {made.id}: {made.text} at {made.at:%Y-%m-%d %H:%M} UTC")
        say_if_unmatched([pattern], loaded, store)


@commands.command()
def marks(
    remove: Annotated[str | None, typer.Option(metavar="ID", help="Remove this mark.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """List the newest marks, or remove one."""
    from k6d.storage import marks as stored

    store = open_store(load_settings(config, data=data))
    if remove is not None:
        if not stored.remove(remove, store):
            raise K6dError(f"there is no mark {remove!r}; 'k6d marks' lists them")
        say(f"mark {remove} is removed")
        return
    found = stored.marks(store)[::-1][:limit]
    if as_json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        scripts = "" if one.script == "*" else f"  ({one.script})"
        say(f"{one.id}  {one.at:%Y-%m-%d %H:%M} UTC  {one.text}{scripts}")
    if not found:
        say("there is no mark; 'k6d mark TEXT' makes one")
