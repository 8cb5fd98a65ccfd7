"""Runs a load test from the command line: progress line, Ctrl-C, report and exit code."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, TypeVar

from k6d.cli.batch import code_of
from k6d.cli.common import NOT_RUN, open_store, print_raw, print_run, terminal
from k6d.core.errors import K6dError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from k6d.core.model import Run
    from k6d.core.terms import Severity
    from k6d.jobs.pipeline import Pipeline
    from k6d.jobs.stages import Watching
    from k6d.settings import Settings

T = TypeVar("T")


def under_way(
    loaded: Settings, work: Callable[[Pipeline, Watching], Coroutine[None, None, T]]
) -> T:
    """Return the result of `work`. Ctrl-C stops k6 gracefully; a second Ctrl-C kills it."""
    return asyncio.run(_under_way(loaded, work))


async def _under_way(
    loaded: Settings, work: Callable[[Pipeline, Watching], Coroutine[None, None, T]]
) -> T:
    from k6d.jobs.pipeline import Pipeline
    from k6d.jobs.stages import Watching
    from k6d.storage.disk import free_mib, no_room

    if full := no_room(loaded, free_mib(loaded.data)):
        raise K6dError(full)

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked_to_stop() -> None:
        if stop.is_set():
            sys.exit(NOT_RUN)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop)
    pipeline = Pipeline(loaded, open_store(loaded), stop=stop)
    if sys.stderr.isatty():
        from k6d.cli.progress import LiveLine

        line = LiveLine(terminal(stderr=True))
        async with line.shown():
            result = await work(pipeline, line.watching)
    else:
        result = await work(pipeline, Watching())
    await _deliver(loaded)
    return result


async def _deliver(loaded: Settings) -> None:
    """Send the messages in the outbox and a heartbeat, as the daemon does after a run."""
    from k6d.alerts.outbox import Outbox

    outbox = Outbox(loaded.data)
    if outbox.waiting():
        from k6d.alerts.delivery.sender import Sender

        if not await Sender(loaded.notify, outbox).flush():
            print("k6d: messages wait in the outbox, see k6d outbox", file=sys.stderr)  # noqa: T201
    if url := loaded.notify.heartbeat:
        from k6d.alerts.delivery.heartbeat import Heartbeat

        await Heartbeat(url.get_secret_value()).beat()


def finish(result: Run, loaded: Settings, *, as_json: bool, fail_on: Severity | None = None) -> int:
    """Print the run and return its exit code."""
    if as_json:
        print_raw(open_store(loaded).load_raw(result.test_id))
    else:
        print_run(result, terminal())
    return code_of(result, fail_on)
