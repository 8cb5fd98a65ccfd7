"""Commands for incidents and messages: incidents, ack, mute, notify-test, outbox."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from k6d.cli.common import (
    ANOMALOUS,
    HEALTHY,
    AsJson,
    Config,
    Data,
    OneScript,
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
from k6d.core.text import one_line, plural

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k6d.alerts.records import Incident, OutboxEntry

commands = typer.Typer()


@commands.command(name="incidents")
def incidents(
    everything: Annotated[
        bool, typer.Option("--all", help="Also list the last resolved incident of each script.")
    ] = False,
    end: Annotated[
        str | None,
        typer.Option(metavar="SCRIPT", help="End its incident now, without a message."),
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """List open incidents, worst first, and mutes. Exit code 1: there is an open incident."""
    from k6d.alerts.alerting import Alerts
    from k6d.alerts.outbox import Outbox
    from k6d.cli.render.alerts import incidents_table

    loaded = load_settings(config, data=data)
    store = open_store(loaded)
    alerts = Alerts(loaded, store)
    if end is not None:
        name = known_script(end, loaded)
        say(f"the incident of {name} is over" if alerts.end(name) else f"{name} has none")
        return
    now = datetime.now(UTC)
    states = alerts.incident_states().values()
    open_ = [state.incident for state in states if state.incident]
    resolved = [state.last for state in states if state.last] if everything else []
    shown = sorted(open_, key=_badness) + sorted(resolved, key=_badness)
    mutes = alerts.mutes.active(now)
    if as_json:
        print_json({"incidents": shown, "mutes": mutes})
    elif shown:
        waiting = {kept.message.incident or "" for kept in Outbox(loaded.data).waiting()}
        gone = {i.script for i in shown if alerts.is_gone(i.script)}
        console = terminal()
        table = incidents_table(
            shown, mutes, now=now, width=console.width, waiting=waiting, gone=gone
        )
        console.print(table)
    elif store.last():
        say("no open incident")
    else:
        say(f"no open incident, and no run in {loaded.data} yet")
    if not as_json:
        for known in (one for one in open_ if one.acknowledged and one.comment):
            say(f"acknowledged: {known.script}: {one_line(known.comment, 300)}")
        for pattern, until in mutes.items():
            say(f"muted: {pattern} until {until:%Y-%m-%d %H:%M} UTC")
        for outage in alerts.outages():
            say(f"outage: {outage.line}; run again automatically")
    if open_:
        sys.exit(ANOMALOUS)


@commands.command()
def ack(
    script: OneScript,
    comment: Annotated[str, typer.Option("--comment", "-m", help="For the others.")] = "",
    off: Annotated[bool, typer.Option("--off", help="Take it back.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Acknowledge a script's open incident: no reminders until it gets worse, or is resolved."""
    from k6d.alerts.alerting import Alerts

    loaded = load_settings(config, data=data)
    name = known_script(script, loaded)
    if Alerts(loaded, open_store(loaded)).acknowledge(name, comment, off=off) is None:
        raise K6dError(f"{name} has no open incident; 'k6d incidents' lists them")
    say(f"the incident of {name} is {'not acknowledged any more' if off else 'acknowledged'}")


@commands.command(name="mute")
def mute(
    script: Annotated[
        str,
        typer.Argument(
            help="A script or a pattern, such as “shop/*”.", autocompletion=known_scripts
        ),
    ],
    for_: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="How long: 30m, 2h, 7d.")
    ] = "2h",
    off: Annotated[bool, typer.Option("--off", help="End the mute.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Send no notifications about a script for a while; its runs and incidents are still stored.

    An incident that is still open when the mute ends is reported then.
    """
    from k6d.alerts.mutes import Mutes

    loaded = load_settings(config, data=data)
    store = open_store(loaded)
    mutes = Mutes(store)
    try:
        pattern = known_script(script, loaded)
    except K6dError:  # a pattern, or a script that does not exist yet
        pattern = script_name(script, loaded)
    muted = pattern in mutes.active(datetime.now(UTC))
    try:
        until = mutes.put(pattern, "0s" if off else for_)
    except ValueError as error:
        raise K6dError(
            f"--for {for_}: should be a duration such as 30m, 2h or 7d, a year at most"
        ) from error
    if until is None:
        others = ", ".join(mutes.of(pattern, datetime.now(UTC)))
        if not muted and not others:
            raise K6dError(f"{pattern} is not muted; 'k6d incidents' lists the mutes")
        say(f"{pattern} is {f'still muted by {others}' if others else 'not muted any more'}")
        return
    say(f"{pattern} is muted until {until:%Y-%m-%d %H:%M} UTC")
    say_if_unmatched([pattern], loaded, store)


@commands.command(name="notify-test")
def notify_test(
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="Only receivers with this tag.")
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Send a test message to every receiver; say which accepted it, and why others did not."""
    from k6d.alerts.delivery.notify_test import try_all

    results = asyncio.run(try_all(load_settings(config, data=data), tags=tag or []))
    if as_json:
        print_json(results)
    for result in results if not as_json else ():
        mark, why = ("✓", "") if result["delivered"] else ("✗", f": {result['error']}")
        say(f"{mark} {result['receiver']}{why}")
    sys.exit(HEALTHY if all(result["delivered"] for result in results) else ANOMALOUS)


@commands.command(name="outbox")
def outbox(
    retry: Annotated[bool, typer.Option("--retry", help="Retry failed messages.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Remove failed messages.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also list delivered messages.")
    ] = False,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """List the messages that are waiting, or that could not be delivered."""
    from k6d.alerts.delivery.planning import quiet_until
    from k6d.alerts.outbox import Outbox
    from k6d.cli.render.alerts import outbox_table

    settings = load_settings(config, data=data)
    kept = Outbox(settings.data)
    if retry or forget:
        count = kept.retry() if retry else kept.forget()
        done = "will be tried again" if retry else "removed"
        say(f"{plural(count, 'message')} {done}")
        return
    found = kept.waiting() + (kept.done() if everything else kept.undeliverable())
    rows = [row for item in found for row in _rows(item)]
    if as_json:
        print_json(rows)
    elif rows:
        console = terminal()
        quiet = quiet_until(settings.notify.quiet_hours, datetime.now(UTC))
        console.print(outbox_table(rows, width=console.width, quiet_until=quiet))
    else:
        say("nothing waits, nothing was given up")
    for path in kept.unreadable() if not as_json else ():
        say(f"{path} did not read and will not be delivered; see k6d incidents")


def _rows(item: OutboxEntry) -> Iterable[dict[str, Any]]:
    message = item.message
    base = {
        "id": message.id,
        "at": message.at,
        "script": message.script,
        "change": message.change,
        "severity": message.severity,
        "subject": message.subject,
        "cause": message.cause,
    }
    for found in (item.deliveries or {}).values():
        yield base | {
            "receiver": found.label,
            "state": found.state,
            "attempts": found.attempts,
            "next_at": found.next_at if found.state == "waiting" else None,
            "error": found.error,
        }
    if item.deliveries is None or item.problem:
        yield base | {
            "receiver": None,
            "state": "waiting",
            "attempts": 0,
            "next_at": None,
            "error": item.problem,
        }


def _badness(incident: Incident) -> tuple[bool, int, str]:
    return incident.resolved_at is not None, -incident.severity.rank, incident.script
