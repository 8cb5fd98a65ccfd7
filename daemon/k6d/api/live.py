"""Server-sent events: the queue whenever it changes and every second of a run, runs as they end."""

from collections.abc import AsyncIterator

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from k6d.api.context import Context, K6d
from k6d.board import Event

router = APIRouter(prefix="/api/v1", tags=["jobs"])

REFRESH_S = 1.0
IDLE_S = 15.0  # a comment that often keeps proxies from closing the connection
EVENTS = "text/event-stream"


@router.get(
    "/live",
    responses={200: {"description": "Events “queue” and “run”", "content": {EVENTS: {}}}},
)
async def live(k6d: K6d, request: Request) -> Response:
    """Events until the client leaves; their data is JSON."""
    return StreamingResponse(
        _events(k6d, request), media_type=EVENTS, headers={"X-Accel-Buffering": "no"}
    )


async def _events(k6d: Context, request: Request) -> AsyncIterator[bytes]:
    with k6d.board.reader() as reader:
        if reader is None:
            yield _sse(Event("full", {"detail": "too many listen already"}))
            return
        yield _sse(Event("queue", k6d.board.queue()))
        while not reader.closed:
            busy = k6d.board.busy
            events = await reader.take(REFRESH_S if busy else IDLE_S)
            if await request.is_disconnected():
                return
            for event in events:
                yield _sse(event)
            if not events:
                yield _sse(Event("queue", k6d.board.queue())) if busy else b": idle\n\n"


def _sse(event: Event) -> bytes:
    return b"event: " + event.kind.encode() + b"\ndata: " + orjson.dumps(event.data) + b"\n\n"
