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
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from k6d import __version__
from k6d.core.model import K6dError, reason
from k6d.daemon.control import Control
from k6d.storage.data_folder import removable, remove_folder
from k6d.web.access import Access
from k6d.web.rpc import Frames, answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from k6d.jobs.activity import Board
    from k6d.jobs.queue import JobQueue
    from k6d.settings import Api, Settings

logger = logging.getLogger(__name__)

BACKLOG = 1024  # connections that wait while nobody answers; the kernel drops more
RETRY_S = 15.0
AGAIN_S, LONGEST_AGAIN_S = 2.0, 300.0  # from a failure to the next start
HEALTHY_S = 30.0  # a process that answered for so long was in good health
GRACE_S = 7.0  # for it to end when the daemon stops; it gives requests under way 5


@contextlib.asynccontextmanager
async def serving(
    settings: Callable[[], Settings], queue: JobQueue, board: Board
) -> AsyncIterator[None]:
    """Have requests answered while the context is open; a new process has the settings of then."""
    now = settings()
    for left in removable(now.data / "one-off"):
        remove_folder(left, root=now.data)
    try:
        access = Access.of(now.api, now.data)  # makes the token, which commands ask for
    except K6dError as error:
        logger.error("no API and no dashboard: %s; then restart k6d", error)
        yield
        return
    desk = Control(queue, board)
    task = asyncio.create_task(
        _stand_by(lambda: pickle.dumps((settings(), access)), desk, now.api, _bind(now.api))
    )
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _stand_by(
    given: Callable[[], bytes], desk: Control, api: Api, bound: list[socket.socket]
) -> None:
    while not bound:
        await asyncio.sleep(RETRY_S)
        bound = _bind(api)
    waits = Waits()
    try:
        async with asyncio.TaskGroup() as processes:  # those that leave end what they have begun
            while True:
                await _first_connection(bound)
                left, started = asyncio.Event(), time.monotonic()
                leaving = processes.create_task(left.wait())
                answering = processes.create_task(_answered(given, desk, bound, left))
                await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
                leaving.cancel()
                if left.is_set() or answering.result():
                    waits = Waits()
                    continue
                _turn_away(bound)
                await asyncio.sleep(waits.after(time.monotonic() - started))
    finally:
        for one in bound:
            one.close()


class Waits:
    """The waits before a process that failed is started again.

    Each is twice the one before, up to `LONGEST_AGAIN_S`. After `HEALTHY_S` of good health the next
    one is `AGAIN_S` again.
    """

    def __init__(self) -> None:
        self._next_s = AGAIN_S

    def after(self, answered_s: float) -> float:
        """Seconds to wait when the process failed after it had answered for `answered_s`."""
        wait_s = AGAIN_S if answered_s >= HEALTHY_S else self._next_s
        self._next_s = min(2 * wait_s, LONGEST_AGAIN_S)
        return wait_s


def _turn_away(bound: list[socket.socket]) -> None:
    """Close what waits: nobody will answer it, and it would have one start after the other."""
    for one in bound:
        with contextlib.suppress(OSError):
            while True:
                one.accept()[0].close()


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


async def _answered(
    given: Callable[[], bytes], desk: Control, bound: list[socket.socket], left: asyncio.Event
) -> bool:
    """Have a process answer until it ends; False, with a line in the log, when that went wrong.

    `left` is set when it takes no more connections. Cancelled, it is asked to end.
    """

    async def leave() -> None:
        left.set()

    try:
        process, frames = await _started(bound)
    except OSError as error:
        logger.error("nothing answers requests: %s; trying again", reason(error))
        return False
    frames.write(0, given())
    answering = asyncio.create_task(answer(frames, desk.calls() | {"leave": leave}))
    try:
        await asyncio.wait({answering})
    finally:
        if not answering.done():
            frames.write(0)
            await asyncio.wait({answering}, timeout=GRACE_S)
        answering.cancel()
        frames.close()
        code = await _end_of(process)
    if code:
        logger.error("the process that answers requests ended with code %d", code)
    return code == 0


async def _started(bound: list[socket.socket]) -> tuple[asyncio.subprocess.Process, Frames]:
    """The process, out of reach of a terminal's signals, and the link to it."""
    ours, theirs = socket.socketpair()
    with theirs:
        numbers = [theirs.fileno(), *(one.fileno() for one in bound)]
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "k6d.web.server", __version__, *map(str, numbers)),
                stdin=subprocess.DEVNULL,
                pass_fds=numbers,
                process_group=0,
            )
        except OSError:
            ours.close()
            raise
    return process, Frames(*await asyncio.open_connection(sock=ours))


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
            one.setblocking(False)
    except (OSError, UnicodeError) as error:
        for one in bound:
            one.close()
        logger.error(
            "no API and no dashboard: cannot listen on %s port %d: %s; choose another api.port, "
            "or api.enabled = false; trying again",
            api.host,
            api.port,
            reason(error) if isinstance(error, OSError) else error,
        )
        return []
    logger.info("dashboard and API at http://%s:%d/", _in_url(api.host), api.port)
    return bound


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
