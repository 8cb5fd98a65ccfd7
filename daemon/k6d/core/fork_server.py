"""Helper processes that fork from one that has loaded its libraries.

A helper is a module that is run as a program. `ask` starts its server, which imports what the
module needs, and sends it a request.
The server forks a process for each request. That process answers and ends. The server ends `WARM_S`
seconds after the last answer, or when the process that asks ends; processes under way go on then.

A request travels over a pair of sockets of its own. The process writes its pid, reads the
environment and the request, and writes the answer; the server adds the exit code. Each is a line,
JSON where it is no number. So no secret of a request shows in a list of processes, and the server
never reads one.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import math
import os
import selectors
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn, TextIO

WARM_S = 5.0
REAP_S = 0.1
EXIT_S = 1.0  # for an idle server when this process exits
END_S = 10.0  # for a process that was killed; a busy machine needs a while


class WorkerError(Exception):
    """The helper did not start, or ended without an answer."""


@dataclass(slots=True)
class _Server:
    """A server; `asked` counts all requests, `asking` those under way."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    asked: int = 0
    asking: int = 0


_servers: dict[tuple[str, ...], _Server] = {}
_ending: list[subprocess.Popen[bytes]] = []


async def ask(
    program: tuple[str, ...],
    request: Mapping[str, Any],
    *,
    timeout_s: float,
    lock: TextIO | None = None,
) -> dict[str, Any]:
    """Return the answer of the helper; TimeoutError or WorkerError if there is none.

    `program` is the helper's module with its arguments; each program has a server. The process that
    answers is killed after `timeout_s` and on cancellation. It inherits `lock` and holds it until
    it ends, even if this process dies before; here it is closed. A Ctrl-C for this process does
    not reach it.
    """
    with lock or contextlib.nullcontext():
        server, ours = _connected(program, [lock.fileno()] if lock else [])
    server.asked += 1
    server.asking += 1
    try:
        received = await _received(server, ours, request, timeout_s)
    except TimeoutError:
        raise
    except OSError as error:
        raise WorkerError("killed") from error
    finally:
        server.asking -= 1
        _end_later(program, server)
    return _answer_in(received)


async def _received(
    server: _Server, ours: socket.socket, request: Mapping[str, Any], timeout_s: float
) -> bytes:
    """Send the request and return what comes back up to the end; leaves no process."""
    reader, writer = await asyncio.open_connection(sock=ours)
    pid, ended = b"", False
    try:
        async with asyncio.timeout(timeout_s):
            # Not orjson: it refuses variables that are not UTF-8.
            writer.write(json.dumps(dict(os.environ)).encode() + b"\n" + orjson.dumps(request))
            writer.write_eof()
            pid = await reader.readline()
            received = await reader.read()
            ended = True
            return received
    finally:
        if not ended:
            await _kill(server, pid, reader)
        writer.close()


def _answer_in(received: bytes) -> dict[str, Any]:
    """Return the answer; what was received is the answer, a newline and the exit code."""
    answer, _, code = received.rpartition(b"\n")
    exit_code = int(code) if code.lstrip(b"-").isdigit() else None
    if exit_code == -signal.SIGALRM:
        raise TimeoutError
    try:
        found: dict[str, Any] = orjson.loads(answer if exit_code is not None else received)
    except orjson.JSONDecodeError as error:
        raise WorkerError("killed" if exit_code is None else f"exit {exit_code}") from error
    return found


def _connected(program: tuple[str, ...], inherited: list[int]) -> tuple[_Server, socket.socket]:
    """Return the server, and a socket to the process that it forks; WorkerError without room."""
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise WorkerError(f"it did not start: {error.strerror}") from error
    try:
        with theirs:
            return _given(program, [theirs.fileno(), *inherited]), ours
    except OSError as error:
        ours.close()
        raise WorkerError(f"it did not start: {error.strerror}") from error


def _given(program: tuple[str, ...], numbers: list[int]) -> _Server:
    """Give the files to the program's server; start one if there is none, or if it is dead."""
    if server := _servers.get(program):
        with contextlib.suppress(OSError):
            socket.send_fds(server.control, [b"?"], numbers)
            return server
        _retire(program, server)
    server = _servers[program] = _started(*program)
    socket.send_fds(server.control, [b"?"], numbers)
    return server


def _started(module: str, *arguments: str) -> _Server:
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what foreign libraries log can hold secrets
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
    except OSError:
        ours.close()
        raise
    return _Server(process, ours)


async def _kill(server: _Server, pid: bytes, reader: asyncio.StreamReader) -> None:
    """Kill the process that answers; the server, too, if that has not started the process yet."""
    if not pid:
        server.process.kill()
    with contextlib.suppress(OSError):  # a time-out, and the reset by a process that did not read
        async with asyncio.timeout(END_S):
            pid = pid or await reader.readline()
            # It may have ended, even before it wrote its pid; then the line is empty.
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(pid), signal.SIGKILL)
            await reader.read()


def _end_later(program: tuple[str, ...], server: _Server) -> None:
    """Let the server end when nobody has asked it for `WARM_S`."""
    asked = server.asked

    def end() -> None:
        if server.asked == asked and not server.asking:
            _retire(program, server)

    asyncio.get_running_loop().call_later(WARM_S, end)


def _retire(program: tuple[str, ...], server: _Server) -> None:
    """Let the server end, and reap it; requests under way are still answered."""
    if _servers.get(program) is server:
        del _servers[program]
    server.control.close()
    _ending.append(server.process)
    _reap_servers()


def _reap_servers() -> None:
    """Reap the servers that have ended; look again while there are others."""
    _ending[:] = [process for process in _ending if process.poll() is None]
    if _ending:
        asyncio.get_running_loop().call_later(REAP_S, _reap_servers)


@atexit.register
def _end_all() -> None:
    for server in _servers.values():
        server.control.close()
    for process in [*_ending, *(server.process for server in _servers.values())]:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(EXIT_S)


def serve(answer: Callable[[dict[str, Any]], Any]) -> NoReturn:
    """Answer requests; for the helper's side, whose first argument is the number of the socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    # The time-out ends a process, and the end of its parent the server; no signal in mid-message.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    woken, wakes = socket.socketpair()
    woken.setblocking(False)
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    selector = selectors.DefaultSelector()
    for one in (control, woken):
        selector.register(one, selectors.EVENT_READ)
    running: dict[int, socket.socket] = {}
    while True:
        ready = [key.fileobj for key, _ in selector.select()]
        if woken in ready:
            woken.recv(4096)
            _reap(running)
        if control in ready:
            _, numbers, _, _ = socket.recv_fds(control, 1, 2)
            if not numbers:  # the other end is closed
                os._exit(0)
            connection = socket.socket(fileno=numbers[0])
            pid = os.fork()
            if pid == 0:
                selector.close()
                _become(answer, connection, [control, woken, wakes, *running.values()])
            running[pid] = connection
            for inherited in numbers[1:]:
                os.close(inherited)


def _reap(running: dict[int, socket.socket]) -> None:
    """Write the exit code of each process that has ended."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            with running.pop(pid) as connection, contextlib.suppress(OSError):
                connection.sendall(b"\n%d" % os.waitstatus_to_exitcode(status))


def _become(
    answer: Callable[[dict[str, Any]], Any],
    connection: socket.socket,
    others: list[socket.socket],
) -> NoReturn:
    """Answer the request in the forked process, which ends then.

    It ends after the request's `timeout_s`, even if nobody waits for it. Its memory is limited,
    because foreign servers decide what it reads.
    """
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in others:
            other.close()
        os.setsid()
        memory.limit()
        connection.sendall(b"%d\n" % os.getpid())
        with connection.makefile("rb") as file:
            environment, request = json.loads(file.readline()), orjson.loads(file.read())
        os.environ.clear()
        os.environ.update(environment)
        signal.alarm(max(1, math.ceil(request["timeout_s"])))
        connection.sendall(orjson.dumps(answer(request)))
    except BaseException:  # noqa: BLE001  (the forked process must not go on as the server)
        os._exit(1)
    os._exit(0)
