"""The daemon's side of HTTP: listens, and starts a process that answers when somebody connects.

The libraries that answer take more memory than the rest of the daemon. So they live in a process of
their own, which ends when nobody has asked for a while: who never looks doesn't pay for it, and
what goes wrong in a request is far from the runs. The sockets stay here, so nobody is turned away.
A port that is taken is an error in the log and no reason not to run load tests: it is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson

from k6d.api.access import Access
from k6d.api.desk import Desk
from k6d.api.link import Frames, answer
from k6d.model import reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from k6d.board import Board
    from k6d.queue import JobQueue
    from k6d.settings import Api, Settings

logger = logging.getLogger(__name__)

BACKLOG = 128
RETRY_S = 15.0
AGAIN_S = 2.0  # until a process that failed is started once more
GRACE_S = 7.0  # for it to end when the daemon stops; it gives requests under way 5


@contextlib.asynccontextmanager
async def serving(settings: Settings, queue: JobQueue, board: Board) -> AsyncIterator[None]:
    """Have requests answered while the context is open."""
    shutil.rmtree(settings.data / "one-off", ignore_errors=True)
    Access.of(settings.api, settings.data)  # makes the token, which commands ask for
    task = asyncio.create_task(_stand_by(settings, Desk(queue, board), _bind(settings.api)))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _stand_by(settings: Settings, desk: Desk, bound: list[socket.socket]) -> None:
    while not bound:
        await asyncio.sleep(RETRY_S)
        bound = _bind(settings.api)
    try:
        while True:
            await _first_connection(bound)
            try:
                code = await _answered(settings, desk, bound)
            except OSError as error:
                logger.error("nothing answers requests: %s; trying again", reason(error))
                code = None
            if code:
                logger.error("the process that answers requests ended with code %d", code)
            if code != 0:
                await asyncio.sleep(AGAIN_S)
    finally:
        for one in bound:
            one.close()


async def _first_connection(bound: list[socket.socket]) -> None:
    """Until somebody has connected; the connection stays in the backlog for who will answer."""
    loop, knocked = asyncio.get_running_loop(), asyncio.Event()
    for one in bound:
        loop.add_reader(one.fileno(), knocked.set)
    try:
        await knocked.wait()
    finally:
        for one in bound:
            loop.remove_reader(one.fileno())


async def _answered(settings: Settings, desk: Desk, bound: list[socket.socket]) -> int:
    """Have a process answer until it ends, and its exit code; cancelled, it is asked to end."""
    ours, theirs = socket.socketpair()
    with theirs:
        given = [theirs.fileno(), *(one.fileno() for one in bound)]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "k6d.api.server", *map(str, given)),
            stdin=subprocess.DEVNULL,
            pass_fds=given,
        )
    frames = Frames(*await asyncio.open_connection(sock=ours))
    frames.write(pickle.dumps(settings))
    answering = asyncio.create_task(answer(frames, desk.calls()))
    try:
        await asyncio.wait({answering})
    finally:
        if not answering.done():
            frames.write(orjson.dumps({"stop": True}))
            await asyncio.wait({answering}, timeout=GRACE_S)
        answering.cancel()
        frames.close()
        code = await _end_of(process)
    return code


async def _end_of(process: asyncio.subprocess.Process) -> int:
    """Its exit code; one that does not end by itself is killed."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE_S):
            return await process.wait()
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    return await process.wait()


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
