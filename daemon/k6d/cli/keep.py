"""Commands that decide what is kept: pin, delete, unaccept."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from k6d.cli.common import (
    AsJson,
    Config,
    Data,
    OneScript,
    known_script,
    load_settings,
    open_store,
    print_json,
    run_named,
    say,
)
from k6d.cli.completion import known_runs, known_scripts
from k6d.core.errors import K6dError
from k6d.core.text import one_line, plural

if TYPE_CHECKING:
    from k6d.settings import Settings

commands = typer.Typer()


@commands.command()
def unaccept(script: OneScript, data: Data = None, config: Config = None) -> None:
    """Take back 'k6d accept': the runs before the accepted level are compared with again."""
    from k6d.storage.accepted import forget

    loaded = load_settings(config, data=data)
    name = known_script(script, loaded)
    if not forget(name, open_store(loaded)):
        raise K6dError(f"no level of {name} was accepted, so there is nothing to take back")
    say(f"{name} is compared with all of its runs again, from its next run on")


@commands.command()
def pin(
    run_id: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="The run; none: list.", autocompletion=known_runs),
    ] = None,
    reason: Annotated[str, typer.Option(help="For those who ask later.")] = "",
    off: Annotated[bool, typer.Option("--off", help="Unpin it.")] = False,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Keep a run whole for as long as it is pinned, whatever retention says; or list the pins.

    `k6d compare RUN pinned` compares with the newest pinned run of the script. A pin changes no
    verdict: runs are judged by many earlier runs. `k6d accept` sets the level that they must keep.
    """
    from k6d.storage import pinned

    loaded = load_settings(config, data=data)
    store = open_store(loaded)
    if run_id is None:
        _list_pins(loaded, as_json=as_json)
        return
    test_id = run_named(run_id, loaded)
    if off and not pinned.unpin(test_id, store):
        raise K6dError(f"run {test_id} is not pinned; 'k6d pin' lists those that are")
    if not off:
        pinned.pin(store.load(test_id), store, reason=reason)
    say(f"run {test_id} is {'not pinned any more' if off else 'pinned'}")


def _list_pins(loaded: Settings, *, as_json: bool) -> None:
    from k6d.storage.pinned import pins

    found = pins(open_store(loaded))
    if as_json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        reason = f"  {one_line(one.reason, 200)}" if one.reason else ""
        say(f"{one.run}  {one.script}  pinned {one.at[:10]}{reason}")
    if not found:
        say("no run is pinned")


@commands.command()
def delete(
    run_ids: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", autocompletion=known_runs)
    ] = None,
    script: Annotated[
        str | None, typer.Option(help="All runs of this script.", autocompletion=known_scripts)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Delete runs for ever, with the re-runs that confirm them and snapshots that no run needs."""
    from k6d.storage import delete as deletion

    loaded = load_settings(config, data=data)
    store = open_store(loaded)
    named = [run_named(one, loaded) for one in run_ids or []]
    if script is not None:
        named += deletion.runs_of(known_script(script, loaded), store)
    if not named:
        raise K6dError("nothing to delete: name runs, or a script with --script")
    going = deletion.with_confirmations(named, store)
    if not yes and not (
        sys.stdin.isatty() and typer.confirm(f"delete {plural(len(going), 'run')}?")
    ):
        raise K6dError(
            f"{plural(len(going), 'run')} would be deleted; --yes deletes without asking"
        )
    done = deletion.delete(going, store)
    say(f"{plural(len(done.runs), 'run')} and {plural(done.snapshots, 'snapshot')} deleted")
    for test_id in done.runs:
        say(f"  {test_id}")
