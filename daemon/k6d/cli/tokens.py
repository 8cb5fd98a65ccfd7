"""Command for tokens: that of the API, and those of hooks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from k6d.cli.common import (
    AsJson,
    Config,
    Data,
    load_settings,
    open_store,
    print_json,
    say,
    say_if_unmatched,
)
from k6d.core.errors import K6dError

if TYPE_CHECKING:
    from k6d.settings import Settings
    from k6d.web.hook_tokens import HookTokens

commands = typer.Typer()


@commands.command()
def token(
    action: Annotated[
        str | None,
        typer.Argument(metavar="[create|list|revoke]", help="Without it: print the API's token."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|ID]", help="The hook; for revoke, the token's id."),
    ] = None,
    script: Annotated[
        list[str] | None, typer.Option(help="create: what it may start: “shop/*”.")
    ] = None,
    expires: Annotated[
        str, typer.Option(help="create: how long it is valid: 90d, 12h; never.")
    ] = "90d",
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Print the token for the API and the dashboard; or create, list and revoke tokens of hooks.

    A hook token can start the scripts that it names, by POST /api/v1/hooks/NAME, and nothing else.
    """
    from k6d.web.hook_tokens import HookTokens

    loaded = load_settings(config, data=data)
    if action is None:
        _print_own(loaded)
        return
    tokens = HookTokens(open_store(loaded))
    if action == "create":
        _create(tokens, name, script or [], expires, as_json=as_json)
        say_if_unmatched(script or [], loaded, open_store(loaded), err=True)
    elif action == "list":
        _list(tokens, as_json=as_json)
    elif action == "revoke":
        if not name or not tokens.revoke(name):
            raise K6dError(f"there is no token {name or ''!r}; 'k6d token list' has their ids")
        say(f"token {name} is revoked")
    else:
        raise K6dError(f"k6d token {action}: should be create, list or revoke")


def _print_own(loaded: Settings) -> None:
    from k6d.web.token import read_token

    given = loaded.api.token
    say(given.get_secret_value() if given else read_token(loaded.data))


def _create(
    tokens: HookTokens, name: str | None, scripts: list[str], expires: str, *, as_json: bool
) -> None:
    if name is None:
        raise K6dError("k6d token create NAME: name the hook, such as deploy")
    try:
        made, text = tokens.create(name, scripts, expires=_end(expires))
    except ValueError as error:
        raise K6dError(str(error)) from error
    if as_json:
        print_json(made.shown() | {"token": text})
        return
    say(text)
    until = f"until {made.expires:%Y-%m-%d %H:%M} UTC" if made.expires else "for ever"
    say(f"It is shown this once. POST /api/v1/hooks/{name} takes it {until}.", err=True)


def _end(expires: str) -> datetime | None:
    from k6d.core.parse import LONGEST_S, parse_duration

    if expires == "never":
        return None
    try:
        seconds = parse_duration(expires)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_S:
        raise K6dError(f"--expires {expires}: should be such as 90d, a year at most, or never")
    return datetime.now(UTC) + timedelta(seconds=seconds)


def _list(tokens: HookTokens, *, as_json: bool) -> None:
    found = tokens.all()
    if as_json:
        print_json([one.shown() for one in found])
        return
    for one in found:
        end = f"expires {one.expires:%Y-%m-%d}" if one.expires else "never expires"
        end = "has expired" if one.has_expired(datetime.now(UTC)) else end
        used = f"used {one.used:%Y-%m-%d %H:%M} UTC" if one.used else "not used yet"
        say(f"{one.id}  {one.name}  {', '.join(one.scripts)}  {end}, {used}")
    if not found:
        say("no hook has a token; 'k6d token create NAME --script …' makes one")
