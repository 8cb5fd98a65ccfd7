"""Calls from the process that answers HTTP to the daemon, over a pair of sockets between them.

A frame is 4 bytes of length, 4 bytes with the number of a call, and that much JSON. The caller
sends {call, given} and, when it has lost interest, {cancel}. What comes back of a call are items,
{item}, as it makes them, and at its end {result} or {mistake}. Number 0 is no call: the daemon's
asks the process to end, the caller's says that it is alive.
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
KEPT = 8  # frames for one who takes them slowly; then the oldest are dropped
ALIVE_S = 10.0
SILENCE_S = 60.0  # a caller that was not heard of for so long is stuck

Frame = dict[str, Any]


class MistakeError(Exception):
    """The daemon could not answer for a mistake of k6d's own, which its log has."""


class Frames:
    """Frames over a stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> tuple[int, bytes] | None:
        """The next one's number and contents; None at the end."""
        try:
            head = await self._reader.readexactly(2 * BYTES)
            contents = await self._reader.readexactly(int.from_bytes(head[:BYTES]))
        except (asyncio.IncompleteReadError, OSError):
            return None
        return int.from_bytes(head[BYTES:]), contents

    def write(self, number: int, contents: bytes = b"") -> None:
        """Send a frame, soon."""
        head = len(contents).to_bytes(BYTES) + number.to_bytes(BYTES)
        self._writer.write(head + contents)

    async def send(self, number: int, frame: Frame) -> None:
        """Send a frame, no faster than the other side reads; raises TypeError if it is no JSON."""
        self.write(number, orjson.dumps(frame))
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def close(self) -> None:
        """No more in either direction."""
        self._writer.close()


async def answer(frames: Frames, calls: Mapping[str, Callable[..., Any]]) -> None:
    """Answer until the other side is gone or stuck; a call is a coroutine or an async generator."""
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
    """The side that asks; `run` takes in the answers. `on_stop`: the daemon wants an end."""

    def __init__(self, frames: Frames, *, on_stop: Callable[[], None]) -> None:
        self._frames, self._on_stop = frames, on_stop
        self._numbers = count(1)
        self._open: dict[int, asyncio.Queue[bytes]] = {}

    async def run(self) -> None:
        """Until the daemon is gone."""
        alive = asyncio.create_task(self._be_alive())
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

    async def _be_alive(self) -> None:
        while True:
            self._frames.write(0)
            await asyncio.sleep(ALIVE_S)

    async def call(self, name: str, *given: Any) -> Any:
        """What the call comes to; raises MistakeError."""
        async with self.stream(name, *given) as stream:
            return result_of(await stream.get())

    def stream(self, name: str, *given: Any) -> Stream:
        """A call whose frames are taken one by one."""
        return Stream(self._frames, self._open, next(self._numbers), name, given)


class Stream:
    """What comes of one call, which is cancelled when the context ends before it."""

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
        """Call."""
        self._streams[self._number] = self._queue
        await self._frames.send(self._number, self._call)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Be done with it."""
        self._streams.pop(self._number, None)
        self._frames.write(self._number, b'{"cancel":true}')

    async def get(self) -> Frame:
        """The next frame."""
        frame: Frame = orjson.loads(await self._queue.get())
        return frame


def result_of(frame: Frame) -> Any:
    """The result in the last frame of a call; raises MistakeError."""
    if "mistake" in frame:
        raise MistakeError
    return frame["result"]
