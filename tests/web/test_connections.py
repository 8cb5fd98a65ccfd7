"""Slow and greedy clients of the API: they are cut off, and the others are answered meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
import uvicorn

from k6d.web.connections import STREAMS, Limits, protocol
from support.daemon import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

    from support.serving import Served

HISTORY = "/api/v1/test/history"
BIG = 50_000_000
HALF = b"POST /body HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nhalf of it"
OPENINGS = {
    "silent": b"",
    "half a line": b"GET / HT",
    "half a head": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b\r\n",
    "half a body": HALF,
}


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body, if there is one to read; answers shortly, at length, or without end."""
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    body = b"x" * (BIG if scope["path"] == "/big" else 2)
    streams = scope["path"] == STREAMS
    await send({"type": "http.response.body", "body": body, "more_body": streams})
    if streams:
        while (await receive())["type"] != "http.disconnect":
            pass
        return


@contextlib.contextmanager
def _serving(limits: Limits) -> Iterator[int]:
    """A real uvicorn with these limits; gives its port."""
    config = uvicorn.Config(
        _app, port=0, http=protocol(limits), ws="none", lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join(PATIENCE_S)


def _connect(port: int, sent: bytes = b"") -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    one.sendall(sent)
    return one


def _is_closed(one: socket.socket) -> bool:
    """Whether the server has closed the connection."""
    try:
        one.settimeout(0.01)
        return one.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def _status(port: int, path: str = "/") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@pytest.mark.parametrize("opening", OPENINGS.values(), ids=OPENINGS)
def test_a_request_must_arrive_in_time(opening: bytes) -> None:
    """A head or a body that never comes, or drips in, ends with its deadline."""
    with _serving(Limits(head_s=0.3, body_s=0.3)) as port, _connect(port, opening) as slow:
        deadline = time.monotonic() + PATIENCE_S
        with contextlib.suppress(OSError):  # it was closed while something dripped in
            while not _is_closed(slow):
                assert time.monotonic() < deadline
                slow.sendall(b"x" if opening else b"")
        assert _status(port) == 200


def test_a_second_request_must_arrive_in_time_too() -> None:
    """A connection that is kept alive has the deadline of the head again, from the answer on."""
    with _serving(Limits(head_s=0.3)) as port, _connect(port) as kept:
        for _ in range(3):
            kept.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            kept.settimeout(PATIENCE_S)
            while b"0\r\n\r\n" not in (got := kept.recv(4096)) and b"xx" not in got:
                assert got
        deadline = time.monotonic() + PATIENCE_S
        while not _is_closed(kept):
            assert time.monotonic() < deadline


def test_who_reads_nothing_of_the_answer_is_cut_off() -> None:
    """The answer is not kept in memory for a client that takes none of it."""
    with _serving(Limits(stalled_s=0.3)) as port, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(PATIENCE_S)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(b"GET /big HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        time.sleep(1.5)  # the limit is part of what is tested
        got = 0
        with contextlib.suppress(OSError):
            while more := deaf.recv(1 << 20):
                got += len(more)
        assert got < BIG


def test_the_oldest_that_waits_is_closed_for_the_newest() -> None:
    """Nobody is refused for the connections that others hold open; the newest of them stay."""
    limits = Limits(head_s=PATIENCE_S, body_s=PATIENCE_S, waiting_of_peer=10)
    openings = list(OPENINGS.values()) * 8
    with _serving(limits) as port, contextlib.ExitStack() as held:
        ones = [held.enter_context(_connect(port, opening)) for opening in openings]
        assert [_status(port) for _ in range(3)] == [200] * 3
        deadline = time.monotonic() + PATIENCE_S
        while not all(_is_closed(one) for one in ones[: -limits.waiting_of_peer - 1]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not any(_is_closed(one) for one in ones[-5:])


def test_the_oldest_event_stream_ends_for_the_newest() -> None:
    """Streams that are held open take no place from others."""
    opening = f"GET {STREAMS} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with _serving(Limits(streams=5)) as port, contextlib.ExitStack() as held:
        ones = [held.enter_context(_connect(port, opening)) for _ in range(8)]
        assert _status(port) == 200
        assert [_ended(one) for one in ones] == [True] * 3 + [False] * 5


def _ended(one: socket.socket) -> bool:
    """Whether nothing more comes; what had come is read."""
    one.settimeout(0.2)
    try:
        while one.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_three_hundred_half_open_connections(served: Served) -> None:
    """The API of the daemon answers all the while, at its first start and later; all is said."""
    served.start()
    with contextlib.ExitStack() as held:
        for _ in range(2):
            for opening in list(OPENINGS.values()) * 75:
                held.enter_context(_connect(served.port, opening))
            assert served.get(HISTORY).status == 200
            assert served.post("/api/v1/test/run", {"script": "no"}).status == 422
    assert "too many connections without a whole request: closed" in served.log
    assert "Traceback" not in served.log
