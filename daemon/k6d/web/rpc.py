"""Calls from the web process to the daemon over a socket pair.

A frame is 4 bytes of length, 4 bytes with the number of a call, and JSON of that length. The caller
sends {call, given}, and {cancel} to cancel a call. The daemon sends {item} for each item of a call,
and at its end {result} or {mistake}. Frames with number 0 belong to no call: one from the daemon
asks the web process to end; one from the web process says that it is alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from inspect import isasyncgen
from itertools import count
from typing import TYPE_CHECKING, Any, Self

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

BYTES = 4
KEPT = 8  # frames that wait for a slow reader; above it, the oldest are dropped
ALIVE_S = 10.0
SILENCE_S = 60.0  # a caller that is silent for longer hangs

Frame = dict[str, Any]


class MistakeError(Exception):
    """The daemon could not answer because of a bug in k6d; its log has the details."""


class Frames:
    """Frames over a stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> tuple[int, bytes] | None:
        """Return the number and contents of the next frame; None at the end."""
        try:
            head = await self._reader.readexactly(2 * BYTES)
            contents = await self._reader.readexactly(int.from_bytes(head[:BYTES]))
        except (asyncio.IncompleteReadError, OSError):
            return None
        return int.from_bytes(head[BYTES:]), contents

    def write(self, number: int, contents: bytes = b"") -> None:
        """Queue a frame for sending, without waiting."""
        head = len(contents).to_bytes(BYTES) + number.to_bytes(BYTES)
        self._writer.write(head + contents)

    async def send(self, number: int, frame: Frame) -> None:
        """Send a frame, and wait while the other side is slow; TypeError if it is not JSON."""
        self.write(number, orjson.dumps(frame))
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def close(self) -> None:
        """Close both directions."""
        self._writer.close()


async def answer(frames: Frames, calls: Mapping[str, Callable[..., Any]]) -> None:
    """Answer until the other side ends or hangs; a call is a coroutine or an async generator."""
    under_way: dict[int, asyncio.Task[None]] = {}

    def take(number: int, frame: Frame) -> None:
        if "call" in frame:
            task = asyncio.create_task(_answered(frames, number, calls, frame))
            under_way[number] = task
            task.add_done_callback(lambda _: under_way.pop(number))
        elif number in under_way:
            under_way[number].cancel()

    try:
        while True:
            async with asyncio.timeout(SILENCE_S):
                read = await frames.read()
            if read is None:
                return
            if read[0]:
                take(read[0], orjson.loads(read[1]))
    except TimeoutError:
        logger.error("the process that answers requests was silent for %g s", SILENCE_S)
    finally:
        for task in list(under_way.values()):
            task.cancel()


async def _answered(
    frames: Frames, number: int, calls: Mapping[str, Callable[..., Any]], frame: Frame
) -> None:
    try:
        made, result = calls[frame["call"]](*frame["given"]), None
        if isasyncgen(made):
            async with contextlib.aclosing(made):
                async for item in made:
                    await frames.send(number, {"item": item})
        else:
            result = await made
        await frames.send(number, {"result": result})
    except Exception:
        logger.exception("a request failed for a mistake of k6d's own; please report it")
        await frames.send(number, {"mistake": True})


class Caller:
    """The calling side. `run` reads the answers; `on_stop` is called when the daemon stops it."""

    def __init__(self, frames: Frames, *, on_stop: Callable[[], None]) -> None:
        self._frames, self._on_stop = frames, on_stop
        self._numbers = count(1)
        self._open: dict[int, asyncio.Queue[bytes]] = {}

    async def run(self) -> None:
        """Read answers until the daemon closes the connection."""
        alive = asyncio.create_task(self._send_heartbeats())
        try:
            while read := await self._frames.read():
                number, contents = read
                if number == 0:
                    self._on_stop()
                elif number in self._open:
                    waiting = self._open[number]
                    if waiting.qsize() >= KEPT:
                        waiting.get_nowait()
                    waiting.put_nowait(contents)
        finally:
            alive.cancel()

    async def _send_heartbeats(self) -> None:
        while True:
            self._frames.write(0)
            await asyncio.sleep(ALIVE_S)

    async def call(self, name: str, *given: Any) -> Any:
        """Return the result of a call; raises MistakeError."""
        async with self.stream(name, *given) as stream:
            return result_of(await stream.get())

    def stream(self, name: str, *given: Any) -> Stream:
        """Return a call whose frames are read one by one."""
        return Stream(self._frames, self._open, next(self._numbers), name, given)


class Stream:
    """The frames of one call; leaving the context cancels the call."""

    def __init__(
        self,
        frames: Frames,
        streams: dict[int, asyncio.Queue[bytes]],
        number: int,
        name: str,
        given: tuple[Any, ...],
    ) -> None:
        self._frames, self._streams, self._number = frames, streams, number
        self._call = {"call": name, "given": given}
        self._queue = asyncio.Queue[bytes]()

    async def __aenter__(self) -> Self:
        """Send the call."""
        self._streams[self._number] = self._queue
        await self._frames.send(self._number, self._call)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cancel the call."""
        self._streams.pop(self._number, None)
        self._frames.write(self._number, b'{"cancel":true}')

    async def get(self) -> Frame:
        """Return the next frame."""
        frame: Frame = orjson.loads(await self._queue.get())
        return frame


def result_of(frame: Frame) -> Any:
    """Return the result in the last frame of a call; raises MistakeError."""
    if "mistake" in frame:
        raise MistakeError
    return frame["result"]
