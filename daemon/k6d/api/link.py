"""Calls from the process that answers HTTP to the daemon, over a pair of sockets between them.

A frame is 4 bytes of length and that much JSON. The caller sends {id, call, given} and, when it has
lost interest, {id, cancel}. What comes back of a call are items, {id, item}, as it makes them, and
at its end {id, result} or {id, mistake}. The daemon's {stop} asks the process to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from inspect import isasyncgen
from itertools import count
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

logger = logging.getLogger(__name__)

LENGTH = 4
KEPT = 100  # frames for one who takes them slowly; then the oldest are dropped

Frame = dict[str, Any]


class MistakeError(Exception):
    """The daemon could not answer for a mistake of k6d's own, which its log has."""


class Frames:
    """Frames over a stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes | None:
        """The next one's contents; None at the end."""
        try:
            length = int.from_bytes(await self._reader.readexactly(LENGTH))
            return await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            return None

    def write(self, contents: bytes) -> None:
        """Send a frame, soon."""
        self._writer.write(len(contents).to_bytes(LENGTH) + contents)

    async def send(self, frame: Frame) -> None:
        """Send a frame, no faster than the other side reads."""
        self.write(orjson.dumps(frame))
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def close(self) -> None:
        """No more in either direction."""
        self._writer.close()


async def answer(frames: Frames, calls: Mapping[str, Callable[..., Any]]) -> None:
    """Answer until the other side is gone; each call is a coroutine or an async generator."""
    under_way: dict[int, asyncio.Task[None]] = {}

    def begin(number: int, name: str, given: list[Any]) -> None:
        task = asyncio.create_task(_answered(frames, number, calls[name], given))
        under_way[number] = task
        task.add_done_callback(lambda _: under_way.pop(number))

    try:
        while (contents := await frames.read()) is not None:
            frame = orjson.loads(contents)
            if "call" in frame:
                begin(frame["id"], frame["call"], frame["given"])
            elif frame["id"] in under_way:
                under_way[frame["id"]].cancel()
    finally:
        for task in list(under_way.values()):
            task.cancel()


async def _answered(
    frames: Frames, number: int, call: Callable[..., Any], given: list[Any]
) -> None:
    try:
        made = call(*given)
        if isasyncgen(made):
            async with contextlib.aclosing(made):
                async for item in made:
                    await frames.send({"id": number, "item": item})
            result = None
        else:
            result = await made
    except Exception:
        logger.exception("a request failed for a mistake of k6d's own; please report it")
        await frames.send({"id": number, "mistake": True})
    else:
        await frames.send({"id": number, "result": result})


class Caller:
    """The side that asks; `run` takes in the answers. `on_stop`: the daemon wants an end."""

    def __init__(self, frames: Frames, *, on_stop: Callable[[], None]) -> None:
        self._frames, self._on_stop = frames, on_stop
        self._numbers = count()
        self._open: dict[int, asyncio.Queue[Frame]] = {}

    async def run(self) -> None:
        """Until the daemon is gone."""
        while (contents := await self._frames.read()) is not None:
            frame = orjson.loads(contents)
            if "stop" in frame:
                self._on_stop()
            elif frame["id"] in self._open:
                waiting = self._open[frame["id"]]
                if waiting.qsize() >= KEPT:
                    waiting.get_nowait()
                waiting.put_nowait(frame)

    async def call(self, name: str, *given: Any) -> Any:
        """What the call comes to; raises MistakeError."""
        async with self.stream(name, *given) as frames:
            return result_of(await frames.get())

    @contextlib.asynccontextmanager
    async def stream(self, name: str, *given: Any) -> AsyncIterator[asyncio.Queue[Frame]]:
        """The frames that come of a call, which is cancelled when the context ends before it."""
        number, frames = next(self._numbers), asyncio.Queue[Frame]()
        self._open[number] = frames
        try:
            await self._frames.send({"id": number, "call": name, "given": given})
            yield frames
        finally:
            del self._open[number]
            self._frames.write(orjson.dumps({"id": number, "cancel": True}))


def result_of(frame: Frame) -> Any:
    """The result in the last frame of a call; raises MistakeError."""
    if "mistake" in frame:
        raise MistakeError
    return frame["result"]
