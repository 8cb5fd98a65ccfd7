"""Shows the daemon's live events in the terminal; they are read over HTTP."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Group
from rich.live import Live
from rich.text import Text

from k6d.cli.daemon_api import asking
from k6d.cli.render.table import Listing
from k6d.core.numbers import count, ms, rate, seconds
from k6d.core.text import plural, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from k6d.settings import Settings

TIMEOUT_S = 60.0  # the daemon sends at least a keep-alive every 15 s


def follow(settings: Settings, console: Console, *, once: bool, as_json: bool) -> None:
    """Show events until the daemon stops, until Ctrl-C, or (`once`) until the current run ends."""
    events = until_over(_events(settings)) if once else _events(settings)
    try:
        if as_json:
            _print_events(events)
        else:
            _show_events(events, console)
    except KeyboardInterrupt:
        return


def until_over(events: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the events until the current job ends, with a run or without one."""
    seen: set[str] = set()
    for kind, data in events:
        if kind == "queue":
            running = {job["job"] for job in data["running"]}
            if seen - running:
                return
            seen |= running
        yield kind, data
        if kind == "run":
            return


def _print_events(events: Iterator[tuple[str, Any]]) -> None:
    for kind, data in events:
        sys.stdout.buffer.write(orjson.dumps({"event": kind, "data": data}) + b"\n")
        sys.stdout.buffer.flush()


def _show_events(events: Iterator[tuple[str, Any]], console: Console) -> None:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for kind, data in events:
            if kind == "queue":
                live.update(_table(data), refresh=True)
            elif kind == "run":
                line = f"{data['test_id']}  {data['script']}  {data['verdict']}"
                console.print(line, markup=False, soft_wrap=True)


def _table(queue: dict[str, Any]) -> Group:
    titles = ("time", "requests", "per second", "failed", "p95", "VUs")
    table = Listing(name="script", titles=titles)
    for job in queue["running"]:
        live = job["live"] or {}
        of = f" of {seconds(round(job['planned_s']))}" if job["planned_s"] else ""
        table.add(
            Text(printable(job["script"], "\ufffd")),
            f"{seconds(round(job['elapsed_s']))}{of}",
            count(live.get("requests")),
            rate(live.get("requests_per_second")),
            count(live.get("failed")),
            ms(live.get("p95_ms")),
            count(live.get("vus")),
        )
    pending = queue["pending"]
    idle = "" if queue["running"] else "nothing is under way"
    waiting = f"{plural(len(pending), 'job')} pending" if pending else ""
    caption = ", ".join(filter(None, (idle, waiting)))
    return Group(*([table] if table.rows else []), *([Text(caption, "dim")] if caption else []))


def _events(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Yield the daemon's events with their data; K6dError if no daemon answers."""
    with asking(settings, "GET", "/api/v1/live", timeout_s=TIMEOUT_S) as answer:
        kind = ""
        for line in answer:
            name, _, value = line.decode().strip().partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                yield kind, orjson.loads(value)
