"""Limits HTTP connections, so that slow clients cannot block the others.

uvicorn limits neither the time for a request to arrive nor the number of idle connections. Here
each part of a request has a deadline, and so does a client that does not read its response. The
number of connections that wait for a request and the number of event streams are limited. Above a
limit, the oldest connection of the peer with the most connections is closed; the new connection is
accepted. All clients on this machine, or behind one proxy, are one peer. A client that sends its
request at once is done before its connection is the oldest.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from k6d.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

SAID_EVERY_S = 60.0
STREAMS = "/api/v1/live"


@frozen
class Limits:
    """Seconds for the head of a request, for its body, and for a client that does not read.

    At most `waiting` connections may have an incomplete request, and `waiting_of_peer` of one
    peer. `streams` limits the open event streams.
    """

    head_s: float = 10.0
    body_s: float = 30.0
    stalled_s: float = 30.0
    waiting: int = 256
    waiting_of_peer: int = 64
    streams: int = 100


class _Pool:
    """A limited number of connections in the same state, oldest first."""

    def __init__(self, what: str, *, most: int, most_of_peer: int) -> None:
        self._what, self._most, self._most_of_peer = what, most, most_of_peer
        self._peers: dict[_Connection, str] = {}
        self._counts: Counter[str] = Counter()
        self._closed = 0
        self._said_at: float | None = None

    def add(self, connection: _Connection) -> None:
        """Add a connection; above the limit, close the oldest one of the peer with the most."""
        self._peers[connection] = connection.peer
        self._counts[connection.peer] += 1
        peer, held = self._counts.most_common(1)[0]
        if held > self._most_of_peer or len(self._peers) > self._most:
            oldest = next(one for one, its_peer in self._peers.items() if its_peer == peer)
            oldest.drop()
            self._closed += 1
            self._log_refusal(peer)

    def discard(self, connection: _Connection) -> None:
        """Remove a connection."""
        if peer := self._peers.pop(connection, None):
            self._counts[peer] -= 1
            self._counts += Counter()  # removes peers without connections

    def _log_refusal(self, peer: str) -> None:
        now = asyncio.get_running_loop().time()
        if self._said_at is None or now - self._said_at >= SAID_EVERY_S:
            logger.warning("too many %s: closed %d, the last of %s", self._what, self._closed, peer)
            self._closed, self._said_at = 0, now


class _Connection(H11Protocol):
    """A connection of uvicorn with a deadline for its current state."""

    def __init__(self, *given: Any, limits: Limits, pools: dict[str, _Pool], **named: Any) -> None:
        super().__init__(*given, **named)
        self.peer = ""
        self._limits = limits
        self._pools = pools
        self._state: str | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = _peer(self.client[0] if self.client else "")
        self._update_phase()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._set_phase(None)
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._update_phase()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._update_phase()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self._limits.stalled_s, self.drop)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled:
            self._stalled.cancel()

    def drop(self) -> None:
        """End the connection now."""
        self._set_phase(None)
        self.connections.discard(self)  # now, so that it no longer counts for the limit
        self.transport.abort()

    def _update_phase(self) -> None:
        """Update the state of the connection: "head", "body", "stream", or None without a limit."""
        client = self.conn.their_state
        if self.transport.is_closing():
            self._set_phase(None)
        elif client is h11.IDLE:
            self._set_phase("head")
        elif client is h11.SEND_BODY:
            self._set_phase("body")
        else:
            self._set_phase("stream" if self.scope and self.scope["path"] == STREAMS else None)

    def _set_phase(self, state: str | None) -> None:
        if state == self._state:
            return  # the deadline stays: slow single bytes must not extend it
        if self._deadline:
            self._deadline.cancel()
        if self._state:
            self._pools[self._state].discard(self)
        self._state, self._deadline = state, None
        seconds = {"head": self._limits.head_s, "body": self._limits.body_s}
        if state in seconds:
            self._deadline = self.loop.call_later(seconds[state], self.drop)
        if state:
            self._pools[state].add(self)


def protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Return the class that uvicorn uses for each connection."""
    waiting = _Pool(
        "connections without a whole request",
        most=limits.waiting,
        most_of_peer=limits.waiting_of_peer,
    )
    streams = _Pool("event streams", most=limits.streams, most_of_peer=limits.streams)
    pools = {"head": waiting, "body": waiting, "stream": streams}
    made: Callable[..., asyncio.Protocol] = partial(_Connection, limits=limits, pools=pools)
    return cast("type[asyncio.Protocol]", made)


def _peer(address: str) -> str:
    """Return the address; for IPv6 its /64 network, whose addresses one machine can all use."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
