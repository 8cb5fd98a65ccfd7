"""Commands for newcomers: demo, demo-target, help."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003  (Typer reads the annotations)
from typing import Annotated, Any

import typer

from k6d.cli.common import say, terminal
from k6d.cli.completion import known_topics
from k6d.core.errors import K6dError, reason

commands = typer.Typer()

PORT = 8090


@commands.command()
def demo(
    keep: Annotated[bool, typer.Option(help="Keep the daemon running at the end.")] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the results.", show_default="a new one, temporary"),
    ] = None,
) -> None:
    """Show k6d at work against a built-in target, in under a minute."""
    from k6d.cli.demo import play

    asyncio.run(play(terminal(), keep=keep, data=data and data.absolute()))


@commands.command(name="demo-target")
def demo_target(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Its port on 127.0.0.1.")] = PORT,
    fail: Annotated[bool, typer.Option("--fail", help="Make the running shop's checkout fail.")] = (
        False
    ),
    slow: Annotated[bool, typer.Option("--slow", help="Make it take 0.8 s.")] = False,
    ok: Annotated[bool, typer.Option("--ok", help="Mend it.")] = False,
) -> None:
    """Run a small shop on this machine to try k6d against; it prints the alerts sent to it.

    With --fail, --slow or --ok, change the shop that runs already.
    """
    from k6d.cli.shop import Checkout, Shop, change

    wanted = [
        one
        for one, given in ((Checkout.FAIL, fail), (Checkout.SLOW, slow), (Checkout.OK, ok))
        if given
    ]
    if len(wanted) > 1:
        raise K6dError("a checkout has one state: give --fail, --slow or --ok")
    if wanted:
        change(port, wanted[0])
        return
    try:
        shop = Shop(port=port, on_alert=_print_alert)
    except OSError as error:
        raise K6dError(f"port {port} is not free ({reason(error)}): name another --port") from error
    say(f"A shop runs at http://{shop.address}/ with /products, /cart and /checkout.")
    say(f"It prints the alerts that reach json://{shop.address}/alerts.")
    try:
        shop.serve_forever()
    except KeyboardInterrupt:
        say("The shop has ended.")


def _print_alert(alert: dict[str, Any]) -> None:
    for line in f"{alert.get('title', '')}\n{alert.get('message', '')}".splitlines():
        say(f"  │ {line}")


@commands.command(name="help")
def help_(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TOPIC|WORDS]...",
            help="A page of the manual, or words to find in all pages.",
            show_default=False,
            autocompletion=known_topics,
        ),
    ] = None,
    search: Annotated[bool, typer.Option("--search", help="Find the words in all pages.")] = False,
) -> None:
    """Show a page of the manual, or find words in it; without an argument, list the pages."""
    from k6d.cli import manual

    console = terminal()
    if not words:
        if search:
            raise K6dError("--search needs words, such as: k6d help --search quiet hours")
        console.print(manual.topics_table(manual.topics()))
        return
    found = None if search or len(words) > 1 else manual.topic_named(words[0])
    console.print(manual.page(found) if found else manual.places_of(words))
