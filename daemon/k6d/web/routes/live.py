"""Sends server-sent events: each change of the queue, each second of a run, each finished run."""

from collections.abc import AsyncIterator

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from k6d.web.context import Context, K6d
from k6d.web.local_paths import without_folder

router = APIRouter(prefix="/api/v1", tags=["jobs"])

IDLE_S = 15.0  # a comment this often keeps proxies from closing the connection
EVENTS = "text/event-stream"


@router.get(
    "/live",
    responses={200: {"description": "Events “queue” and “run”", "content": {EVENTS: {}}}},
)
async def live(k6d: K6d, request: Request) -> Response:
    """Events until the client disconnects; their data is JSON."""
    return StreamingResponse(
        _events(k6d, request), media_type=EVENTS, headers={"X-Accel-Buffering": "no"}
    )


async def _events(k6d: Context, request: Request) -> AsyncIterator[bytes]:
    async with k6d.daemon.events() as events:
        while not events.over:
            event = await events.take(IDLE_S)
            if await request.is_disconnected():
                return
            if event:
                data = orjson.dumps(without_folder(event["data"], k6d.settings.data))
                yield b"event: " + event["kind"].encode() + b"\ndata: " + data + b"\n\n"
            elif not events.over:
                yield b": idle\n\n"
