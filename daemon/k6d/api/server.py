"""The HTTP server in the daemon's event loop: bound at the start, gone before the daemon is.

A port that is taken is an error in the log and no reason not to run load tests: it is tried again.
The libraries that answer are a quarter of the daemon's memory: they are imported when the first
connection waits in the backlog, so that who never looks doesn't pay for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
from typing import TYPE_CHECKING

from k6d.api.access import Access
from k6d.memory import give_back
from k6d.model import reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import uvicorn

    from k6d.api.context import Context
    from k6d.board import Board
    from k6d.queue import JobQueue
    from k6d.settings import Api, Settings
    from k6d.store import Store

logger = logging.getLogger(__name__)

BACKLOG = 128
MOST_REQUESTS = 200  # at once; more get 503
GRACE_S = 5  # for requests under way when the daemon stops
RETRY_S = 15.0
TIDY_S = 20.0


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, store: Store, queue: JobQueue, board: Board
) -> AsyncIterator[None]:
    """Answer requests while the context is open."""
    shutil.rmtree(settings.data / "one-off", ignore_errors=True)
    access = Access.of(settings.api, settings.data)

    def make() -> uvicorn.Server:
        from k6d.api.context import Context

        return _server(
            Context(settings=settings, store=store, queue=queue, board=board, access=access)
        )

    task = asyncio.create_task(_serve(make, settings.api, store, _bind(settings.api)))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _server(context: Context) -> uvicorn.Server:
    import uvicorn

    from k6d.api.app import create

    config = uvicorn.Config(
        create(context),
        loop="none",
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_REQUESTS,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment]  # the daemon's
    return server


async def _serve(
    make: Callable[[], uvicorn.Server], api: Api, store: Store, bound: list[socket.socket]
) -> None:
    while not bound:
        await asyncio.sleep(RETRY_S)
        bound = _bind(api)
    try:
        await _first_connection(bound)
        server = await asyncio.to_thread(make)
        await _answer(server, bound, store)
    finally:
        for one in bound:
            one.close()


async def _answer(server: uvicorn.Server, bound: list[socket.socket], store: Store) -> None:
    """Until cancelled; what is under way then gets its grace period."""
    answering = asyncio.create_task(server.serve(sockets=bound))
    tidying = asyncio.create_task(_tidy(server, store))
    try:
        await asyncio.shield(answering)
    finally:
        tidying.cancel()
        server.should_exit = True
        await answering


async def _first_connection(bound: list[socket.socket]) -> None:
    """Until somebody has connected; the connection stays in the backlog for the server."""
    loop, knocked = asyncio.get_running_loop(), asyncio.Event()
    for one in bound:
        loop.add_reader(one.fileno(), knocked.set)
    try:
        await knocked.wait()
    finally:
        for one in bound:
            loop.remove_reader(one.fileno())


async def _tidy(server: uvicorn.Server, store: Store) -> None:
    """Give memory back when there were requests and now are none."""
    seen = 0
    while True:
        await asyncio.sleep(TIDY_S)
        requests = server.server_state.total_requests
        if requests != seen and not server.server_state.tasks:
            seen = requests
            store.rest()
            await asyncio.to_thread(give_back)


def _bind(api: Api) -> list[socket.socket]:
    """A socket for each address of the host; none, and a line in the log, when that fails.

    Not by socket.create_server, whose sockets don't say that they are TCP: asyncio then leaves
    Nagle's algorithm on, and every answer takes 40 ms longer.
    """
    bound: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(
            api.host.strip("[]"), api.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            bound.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen(BACKLOG)
    except OSError as error:
        for one in bound:
            one.close()
        logger.error(
            "no API and no dashboard: cannot listen on %s port %d: %s; choose another api.port, "
            "or api.enabled = false; trying again",
            api.host,
            api.port,
            reason(error),
        )
        return []
    logger.info("dashboard and API at http://%s:%d/", _in_url(api.host), api.port)
    return bound


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
