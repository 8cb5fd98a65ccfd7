"""Commands for what runs: queue, cancel, enable, disable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from k6d.cli.common import (
    AsJson,
    Config,
    Data,
    Scripts,
    known_script,
    load_settings,
    open_store,
    print_json,
    say,
    say_if_unmatched,
    script_name,
    terminal,
)
from k6d.cli.completion import known_scripts
from k6d.core.errors import K6dError

if TYPE_CHECKING:
    from k6d.settings import Settings

commands = typer.Typer()

QUEUE = "/api/v1/queue"
Pattern = Annotated[
    str,
    typer.Argument(
        metavar="SCRIPT", help="A script or a pattern: “shop/*”.", autocompletion=known_scripts
    ),
]


@commands.command()
def queue(as_json: AsJson = False, data: Data = None, config: Config = None) -> None:
    """List the daemon's jobs: those that run, those that wait, and those that ended last."""
    from k6d.cli.daemon_api import ask
    from k6d.cli.render.queue import queue_report

    found = ask(load_settings(config, data=data), "GET", QUEUE)
    if as_json:
        print_json(found)
    else:
        terminal().print(queue_report(found))


@commands.command()
def cancel(
    job: Annotated[str, typer.Argument(help="A job's id, or a script: all of its jobs.")],
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Cancel jobs: a waiting one at once; a running one ends, and its result is kept."""
    from k6d.cli.daemon_api import ask

    loaded = load_settings(config, data=data)
    found = ask(loaded, "GET", QUEUE)
    known = [*found["running"], *found["pending"]]
    wanted = [one for one in known if one["job"] == job or one["script"] == job]
    if not wanted:
        names = [one["script"] for one in known]
        name = _named(job, names)
        wanted = [one for one in known if one["script"] == name]
    if not wanted:
        raise K6dError(f"no job {job!r} waits or runs; 'k6d queue' lists them")
    cancelled = [entry for one in wanted if (entry := ask(loaded, "DELETE", _way(one)))]
    if as_json:
        print_json(cancelled)
        return
    for one in cancelled:
        done = "is cancelled" if one["state"] == "not run" else "is being stopped"
        say(f"{one['script']} ({one['job']}) {done}")
    for one in wanted if not cancelled else ():
        say(f"{one['script']} ({one['job']}) is over already")


def _named(given: str, names: list[str]) -> str | None:
    """Return the one name that is `given` without its ending."""
    same = {name for name in names if name.rpartition(".")[0] == given}
    return same.pop() if len(same) == 1 else None


def _way(job: dict[str, Any]) -> str:
    return f"{QUEUE}/{quote(job['job'], safe='')}"


@commands.command()
def disable(
    script: Pattern,
    reason: Annotated[str, typer.Option(help="For those who ask later.")] = "",
    scripts: Scripts = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Keep scripts from running by themselves, on a change or by the clock; `k6d run` still does.

    The script's file is not touched. A run under way goes on.
    """
    from k6d.scripts.disabled import Disabled

    loaded = load_settings(config, scripts=scripts, data=data)
    store, pattern = open_store(loaded), _pattern(script, loaded)
    Disabled(store).put(pattern, reason)
    say(f"{pattern} is disabled: it runs by hand only, until 'k6d enable'")
    say_if_unmatched([pattern], loaded, store)


@commands.command()
def enable(
    script: Pattern, scripts: Scripts = None, data: Data = None, config: Config = None
) -> None:
    """Let scripts that 'k6d disable' stopped run by themselves again, from their next change."""
    from k6d.scripts.disabled import Disabled

    loaded = load_settings(config, scripts=scripts, data=data)
    kept = Disabled(open_store(loaded))
    pattern = _pattern(script, loaded)
    if not kept.remove(pattern):
        others = kept.of(pattern)
        why = f"the pattern {others.pattern} disables it" if others else "it is not disabled"
        raise K6dError(f"{pattern} was not enabled: {why}")
    others = kept.of(pattern)
    say(f"{pattern} is still disabled by {others.pattern}" if others else f"{pattern} is enabled")


def _pattern(given: str, loaded: Settings) -> str:
    """Return the name of a known script, else `given` as a pattern or a name to come."""
    try:
        return known_script(given, loaded)
    except K6dError:
        return script_name(given, loaded)
