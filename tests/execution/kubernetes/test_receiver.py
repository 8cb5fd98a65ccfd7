"""The receiver of pushes outside loopback: a token for each run, bounds, and nothing else."""

from __future__ import annotations

import http.client
import re
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from k6d.core.model import K6dError
from k6d.execution.capture import Capture
from k6d.execution.kubernetes import receiver
from k6d.execution.kubernetes.captures import Captures
from k6d.execution.kubernetes.receiver import Guest, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def _receiver(guest: Guest) -> Iterator[http.client.HTTPConnection]:
    with receiving(guest, bind="127.0.0.1", port=0) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        yield connection
        connection.close()


def _ask(
    connection: http.client.HTTPConnection,
    method: str = "POST",
    path: str = "/write",
    *,
    token: str | None = None,
    body: bytes = b"x",
) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request(method, path, body if method == "POST" else None, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_only_the_runners_of_a_run_may_push(tmp_path: Path) -> None:
    """Without the run's token there is 401; other paths, methods and runs get nothing."""
    archive = tmp_path / "archive.tar"
    archive.write_bytes(b"tar" * 100_000)
    got: list[bytes] = []
    guest = Guest(push=got.append, runners=2, archive=archive)
    small = Guest(push=got.append, runners=2, archive=None)
    with _receiver(guest) as connection, receiving(small, bind="127.0.0.1", port=0):
        assert _ask(connection, token=guest.token, body=b"push") == (204, b"")
        assert _ask(connection)[0] == 401
        assert _ask(connection, token="x" * 43)[0] == 401
        assert _ask(connection, path="/", token=guest.token)[0] == 404
        assert _ask(connection, "GET", "/archive.tar", token=guest.token) == (200, b"tar" * 100_000)
        assert _ask(connection, "GET", "/archive.tar")[0] == 401
        assert _ask(connection, "GET", "/write", token=guest.token)[0] == 404
        assert _ask(connection, "GET", "/archive.tar", token=small.token)[0] in {401, 404}
        assert _ask(connection, "DELETE", token=guest.token)[0] == 501
        assert got == [b"push"]


def test_pushes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A push that is too large is not read; those that come too fast get 429."""
    monkeypatch.setattr(receiver, "MAX_BODY_BYTES", 1000)
    monkeypatch.setattr(receiver, "BURST_S", 2.0)
    got: list[bytes] = []
    guest = Guest(push=got.append, runners=1, archive=None)
    with _receiver(guest) as connection:
        assert _ask(connection, token=guest.token, body=b"x" * 1001)[0] == 413
        answers = [_ask(connection, token=guest.token)[0] for _ in range(40)]
        assert answers[:8] == [204] * 8
        assert 429 in answers
        assert guest.refused == answers.count(429)
        connection.putrequest("POST", "/write")
        connection.putheader("Authorization", f"Bearer {guest.token}")
        connection.endheaders()
        assert connection.getresponse().status == 411


def test_who_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a request is closed soon; a runner's stays open."""
    monkeypatch.setattr(receiver._Handler, "timeout", 0.3)
    guest = Guest(push=lambda _body: None, runners=1, archive=None)
    with _receiver(guest) as connection:
        assert _ask(connection, token=guest.token)[0] == 204
        with socket.create_connection((connection.host, connection.port), timeout=10) as silent:
            assert silent.recv(1) == b""
        assert _ask(connection, token=guest.token)[0] == 204


def test_a_push_that_is_no_push() -> None:
    """Rubbish gets 400 and counts nothing."""
    captures = Captures(2, make=lambda _most: Capture(), wanted=())
    guest = Guest(push=captures.push, runners=2, archive=None)
    with _receiver(guest) as connection:
        assert _ask(connection, token=guest.token, body=b"rubbish")[0] == 400
    assert captures.numbers() == []


def test_the_port_closes_with_the_last_run_and_may_be_taken() -> None:
    """Two runs share it; a port of somebody else is said in one line."""
    first, second = (Guest(push=lambda _body: None, runners=1, archive=None) for _ in range(2))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(K6dError, match=rf"127.0.0.1:{port}: address already in use"):
            receiving(first, bind="127.0.0.1", port=port).__enter__()
    with receiving(first, bind="127.0.0.1", port=port):
        with receiving(second, bind="127.0.0.1", port=port) as again:
            assert again == port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        assert _ask(connection, token=first.token)[0] == 204
        assert _ask(connection, token=second.token)[0] == 401
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_a_token_cannot_be_guessed() -> None:
    """256 bits by chance."""
    assert re.fullmatch(r"[\w-]{43}", Guest(push=lambda _: None, runners=1, archive=None).token)
