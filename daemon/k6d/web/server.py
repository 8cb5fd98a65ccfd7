"""The process that answers HTTP. `daemon.http_supervisor` starts it.

It ends when the daemon stops it, when the daemon ends, or when it is idle. Its command line is
`python -m k6d.web.server VERSION LINK SOCKET...`: the daemon's version, then numbers of open files:
a socket to the daemon, and the listening sockets. The daemon first sends its settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import uvicorn

from k6d import __version__
from k6d.core import logs
from k6d.core.memory import give_back, one_heap, trim
from k6d.settings import redactor_of
from k6d.storage.data_folder import required
from k6d.storage.store import Store
from k6d.web.app import create
from k6d.web.connections import Limits, protocol
from k6d.web.context import Context
from k6d.web.daemon_client import DaemonClient
from k6d.web.rpc import Caller, Frames

if TYPE_CHECKING:
    from k6d.settings import Settings

MOST_REQUESTS = 200  # concurrent, with open event streams; further requests get 503
MOST_ACCEPTED = 128  # accepted at once; more could exhaust the open files before some are closed
GRACE_S = 5  # for running requests when the daemon stops
LOOK_S = 1.0
TIDY_S = 15.0
OTHER_VERSION = 3  # the exit code


def main(version: str, link: int, listening: list[int]) -> None:
    """Answer requests until the end; signals are ignored, because the daemon handles them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if version != __version__:
        print(f"k6d {version} runs, {__version__} is installed: restart k6d", file=sys.stderr)  # noqa: T201
        sys.exit(OTHER_VERSION)
    one_heap()
    asyncio.run(_serve(link, [socket.socket(fileno=number) for number in listening]))


async def _serve(link: int, listening: list[socket.socket]) -> None:
    frames = Frames(*await asyncio.open_connection(sock=socket.socket(fileno=link)))
    _, given = await frames.read() or (0, b"")
    settings: Settings
    settings, access = pickle.loads(given)  # noqa: S301  (our own parent's)
    logs.set_up(
        settings.log_level,
        form=settings.log_format,
        file=settings.log_file,
        rotate=False,
        hide=redactor_of(settings).known,
    )

    def stop() -> None:
        server.should_exit = True

    caller = Caller(frames, on_stop=stop)
    daemon = DaemonClient(caller)
    store = Store(settings.data)
    server = _server(Context(settings=settings, store=store, daemon=daemon, access=access))

    async def leave_when_idle() -> None:
        await _idle(server, settings.api.idle)
        for one in listening:
            asyncio.get_running_loop().remove_reader(one.fileno())
        await daemon.leave()  # new connections go to another process
        connected = True
        while connected:  # earlier connections are still answered
            await asyncio.sleep(LOOK_S)
            connected = bool(server.server_state.connections)
        stop()

    answering = asyncio.create_task(server.serve(sockets=listening))
    calling = asyncio.create_task(caller.run())
    leaving = asyncio.create_task(leave_when_idle())
    with required(settings.data):
        await asyncio.wait({answering, calling}, return_when=asyncio.FIRST_COMPLETED)
    if not answering.done():
        os._exit(1)  # the daemon has ended, and the next one needs the port
    leaving.cancel()
    calling.cancel()
    answering.result()


def _server(context: Context) -> uvicorn.Server:
    limits = Limits()
    config = uvicorn.Config(
        create(context),
        loop="none",
        http=protocol(limits),
        backlog=MOST_ACCEPTED,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_REQUESTS + limits.waiting,  # uvicorn counts connections
        timeout_graceful_shutdown=GRACE_S,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment]
    return server


async def _idle(server: uvicorn.Server, idle_s: float) -> None:
    """Wait until nobody was connected for `idle_s` seconds; meanwhile, free the memory of pages.

    A page is a tree with reference cycles, which Python's garbage collector would free much later.
    """
    last = tidied = time.monotonic()
    seen = 0
    while time.monotonic() - last < idle_s:
        await asyncio.sleep(LOOK_S)
        state = server.server_state
        if state.connections or state.total_requests != seen:
            last, seen = time.monotonic(), state.total_requests
            trim()
        if last - tidied > TIDY_S:
            give_back()
            tidied = last


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [int(word) for word in sys.argv[3:]])
