"""The link between the daemon and the process that answers: calls, streams, their ends."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from k6d.web import rpc
from k6d.web.rpc import KEPT, Caller, Frames, MistakeError, answer
from support.daemon import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@asynccontextmanager
async def _linked(**calls: Callable[..., Any]) -> AsyncIterator[Caller]:
    """A caller whose other end answers these calls."""
    sockets = socket.socketpair()
    ours, theirs = [Frames(*await asyncio.open_connection(sock=one)) for one in sockets]
    caller = Caller(ours, on_stop=lambda: None)
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        answering = tasks.create_task(answer(theirs, calls))
        calling = tasks.create_task(caller.run())
        yield caller
        ours.close()
        await answering
        theirs.close()
        calling.cancel()


async def test_calls_overlap_and_each_gets_its_own_answer() -> None:
    """The last that was asked is answered first; large answers come whole."""
    gates = [asyncio.Event() for _ in range(3)]

    async def big(number: int) -> dict[str, Any]:
        await gates[number].wait()
        if number:
            gates[number - 1].set()
        return {"number": number, "text": "é" * 1_000_000}

    async with _linked(big=big) as caller:
        asked = [asyncio.create_task(caller.call("big", number)) for number in range(3)]
        gates[2].set()
        assert [(await one)["number"] for one in asked] == [0, 1, 2]


async def test_a_mistake_is_told_as_one(caplog: pytest.LogCaptureFixture) -> None:
    """It ends one call and is in the daemon's log, not in the answer; the next one works."""

    async def call(divisor: int) -> float:
        return 1 / divisor

    async with _linked(call=call) as caller:
        with pytest.raises(MistakeError):
            await caller.call("call", 0)
        assert await caller.call("call", 2) == 0.5
    assert "division by zero" in caplog.text


async def test_who_leaves_a_stream_ends_it() -> None:
    """The other end's generator is closed; so is a call that nobody waits for any more."""
    ended, begun = asyncio.Queue[str](), asyncio.Event()

    async def stream() -> AsyncIterator[int]:
        try:
            for number in range(10**9):
                yield number
                await asyncio.sleep(0)
        finally:
            ended.put_nowait("stream")

    async def never() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.put_nowait("call")

    async with _linked(stream=stream, never=never) as caller:
        async with caller.stream("stream") as stream:
            assert (await stream.get())["item"] == 0
        assert await ended.get() == "stream"
        waiting = asyncio.create_task(caller.call("never"))
        await begun.wait()
        waiting.cancel()
        assert await ended.get() == "call"


async def test_a_slow_listener_keeps_the_newest() -> None:
    """What he doesn't take is dropped, the oldest first; the end is not."""

    over = asyncio.Event()

    async def stream() -> AsyncIterator[int]:
        for number in range(10 * KEPT):
            yield number
        over.set()

    async def none() -> None:
        pass

    async with _linked(stream=stream, none=none) as caller, caller.stream("stream") as taken:
        await over.wait()
        await caller.call("none")  # its answer comes after all of the stream
        last = [await taken.get() for _ in range(KEPT)]
        assert [frame["item"] for frame in last[:-1]] == list(range(9 * KEPT + 1, 10 * KEPT))
        assert last[-1] == {"result": None}


async def test_what_cannot_be_called_or_sent_is_a_mistake(caplog: pytest.LogCaptureFixture) -> None:
    """An unknown name, too many arguments, a result that is no JSON: the link goes on."""

    async def call() -> str:
        return "\ud800"

    async with _linked(call=call) as caller:
        for name, given in (("unknown", ()), ("call", (1, 2)), ("call", ())):
            with pytest.raises(MistakeError):
                await caller.call(name, *given)
    assert "surrogates" in caplog.text


async def test_a_caller_that_is_stuck_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that says nothing for too long, though its sockets are open."""
    monkeypatch.setattr(rpc, "SILENCE_S", 0.2)
    ours, theirs = socket.socketpair()
    with theirs:
        frames = Frames(*await asyncio.open_connection(sock=ours))
        async with asyncio.timeout(PATIENCE_S):
            await answer(frames, {})
        frames.close()
        await asyncio.sleep(0)
    assert "the process that answers requests was silent for 0.2 s" in caplog.text
