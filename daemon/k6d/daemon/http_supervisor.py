"""Listens for HTTP in the daemon, and starts the web process when a client connects.

The libraries for HTTP take more memory than the rest of the daemon. So they run in a process of
their own, which ends after a while without requests. An error in a request cannot disturb a run.
The daemon keeps the sockets, so no connection is refused between two web processes. If the port is
taken, the daemon logs an error, says so in its lock, runs load tests and tries the port again.
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

    from k6d.jobs.activity import Activity
    from k6d.jobs.queue import JobQueue
    from k6d.settings import Api, Settings
    from k6d.storage.locks import DaemonLock

logger = logging.getLogger(__name__)

BACKLOG = 1024  # connections that wait for the web process; the kernel drops further ones
RETRY_S = 15.0
AGAIN_S, LONGEST_AGAIN_S = 2.0, 300.0  # from a failure to the next start
HEALTHY_S = 30.0  # a process that answered for this long was healthy
GRACE_S = 7.0  # for the web process to end; it gives running requests 5 s


@contextlib.asynccontextmanager
async def serving(
    settings: Callable[[], Settings], queue: JobQueue, activity: Activity, lock: DaemonLock
) -> AsyncIterator[None]:
    """Answer requests while the context is open; a new process gets the current settings.

    While nothing listens, `lock` says why.
    """
    now = settings()
    for left in removable(now.data / "one-off"):
        remove_folder(left, root=now.data)
    try:
        access = Access.of(now.api, now.data)  # makes the token, which commands read
    except K6dError as error:
        why = f"{error}; then restart k6d"
        logger.error("no API and no dashboard: %s", why)
        lock.say(no_api=why)
        yield
        return
    control = Control(queue, activity)
    ports = _Ports(now.api, lock)
    ports.listen()
    task = asyncio.create_task(
        _stand_by(lambda: pickle.dumps((settings(), access)), control, ports)
    )
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _stand_by(given: Callable[[], bytes], control: Control, ports: _Ports) -> None:
    while not ports.bound:
        await asyncio.sleep(RETRY_S)
        ports.listen(failure=logging.DEBUG)
    bound, waits = ports.bound, Waits()
    try:
        async with asyncio.TaskGroup() as processes:  # a process that leaves finishes its requests
            while True:
                await _first_connection(bound)
                left, started = asyncio.Event(), time.monotonic()
                leaving = processes.create_task(left.wait())
                answering = processes.create_task(_answered(given, control, bound, left))
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
    """The waits before a failed process is started again.

    Each wait is twice the previous one, at most `LONGEST_AGAIN_S`. After a process has answered for
    `HEALTHY_S`, the next wait is `AGAIN_S` again.
    """

    def __init__(self) -> None:
        self._next_s = AGAIN_S

    def after(self, answered_s: float) -> float:
        """Return the seconds to wait after a process that answered for `answered_s` has failed."""
        wait_s = AGAIN_S if answered_s >= HEALTHY_S else self._next_s
        self._next_s = min(2 * wait_s, LONGEST_AGAIN_S)
        return wait_s


def _turn_away(bound: list[socket.socket]) -> None:
    """Close waiting connections, since each would start another process that fails."""
    for one in bound:
        with contextlib.suppress(OSError):
            while True:
                one.accept()[0].close()


async def _first_connection(bound: list[socket.socket]) -> None:
    """Wait until a client connects; the connection stays in the backlog for the web process."""
    loop, knocked = asyncio.get_running_loop(), asyncio.Event()
    for one in bound:
        loop.add_reader(one.fileno(), knocked.set)
    try:
        await knocked.wait()
    finally:
        for one in bound:
            loop.remove_reader(one.fileno())


async def _answered(
    given: Callable[[], bytes], control: Control, bound: list[socket.socket], left: asyncio.Event
) -> bool:
    """Run a web process until it ends; if it failed, log that and return False.

    `left` is set when the process accepts no more connections. On cancellation, the process is
    asked to end.
    """

    async def leave() -> None:
        left.set()

    try:
        process, frames = await _started(bound)
    except OSError as error:
        logger.error("nothing answers requests: %s; trying again", reason(error))
        return False
    frames.write(0, given())
    answering = asyncio.create_task(answer(frames, control.calls() | {"leave": leave}))
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
    """Start the process, out of reach of a terminal's signals; return it and the link to it."""
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
    """Return the exit code; kill a process that does not end by itself."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE_S):
            return await process.wait()
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    return await process.wait()


class _Ports:
    """The sockets of the API, one for each address of its host.

    Another program may have the port. Then there are none, and the daemon's lock says why.
    """

    def __init__(self, api: Api, lock: DaemonLock) -> None:
        self.bound: list[socket.socket] = []
        self._api = api
        self._lock = lock

    def listen(self, *, failure: int = logging.ERROR) -> None:
        """Bind the sockets; a failure is logged at the level `failure`."""
        host, port = self._api.host, self._api.port
        try:
            self.bound = _bind(host.strip("[]"), port)
        except (OSError, UnicodeError) as error:
            detail = reason(error) if isinstance(error, OSError) else error
            why = f"cannot listen on {host} port {port}: {detail}; "
            why += "choose another api.port, or api.enabled = false"
            text = "no API and no dashboard: %s; k6d tries again every %g s"
            logger.log(failure, text, why, RETRY_S)
            self._lock.say(no_api=why)
            return
        self._lock.say()
        logger.info("dashboard and API at http://%s:%d/", _in_url(host), port)


def _bind(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of the host; OSError or UnicodeError if one fails.

    This does not use socket.create_server, because its sockets don't state that they are TCP. Then
    asyncio leaves Nagle's algorithm on, and every response takes 40 ms longer.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as failed:
        bound = []
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = failed.enter_context(socket.socket(family, kind, protocol))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen(BACKLOG)
            one.setblocking(False)
            bound.append(one)
        failed.pop_all()
    return bound


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
