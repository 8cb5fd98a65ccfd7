"""The HTTP server in the daemon's event loop: bound at the start, gone before the daemon is.

A port that is taken is an error in the log and no reason not to run load tests: it is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
from typing import TYPE_CHECKING

import uvicorn

from k6d.api.access import Access
from k6d.api.app import create
from k6d.api.context import Context
from k6d.memory import give_back

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

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


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the daemon's."""
        yield


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, store: Store, queue: JobQueue, board: Board
) -> AsyncIterator[None]:
    """Answer requests while the context is open."""
    shutil.rmtree(settings.data / "one-off", ignore_errors=True)
    context = Context(
        settings=settings,
        store=store,
        queue=queue,
        board=board,
        access=Access.of(settings.api, settings.data),
    )
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
    server = _Server(config)
    bound = _bind(settings.api)
    task = asyncio.create_task(_serve(server, settings.api, bound))
    tidying = asyncio.create_task(_tidy(server, store))
    try:
        yield
    finally:
        tidying.cancel()
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            if not server.started:
                task.cancel()
            await task


async def _serve(server: _Server, api: Api, bound: list[socket.socket]) -> None:
    while not bound:
        await asyncio.sleep(RETRY_S)
        bound = _bind(api)
    try:
        await server.serve(sockets=bound)
    finally:
        for one in bound:
            one.close()


async def _tidy(server: _Server, store: Store) -> None:
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
        reason = (error.strerror or str(error)).lower()
        logger.error(
            "no API and no dashboard: cannot listen on %s port %d: %s; choose another api.port, "
            "or api.enabled = false; trying again",
            api.host,
            api.port,
            reason,
        )
        return []
    logger.info("dashboard and API at http://%s:%d/", _in_url(api.host), api.port)
    return bound


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
