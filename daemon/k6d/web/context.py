"""The objects that the routes use; a route gets them as a parameter of type `K6d`."""

from dataclasses import field
from typing import Annotated

import orjson
from fastapi import Depends, Request, Response

from k6d.core.frozen import frozen
from k6d.settings import Settings
from k6d.storage.store import Store
from k6d.web.access import Access
from k6d.web.daemon_client import DaemonClient


@frozen
class Context:
    """What the routes may use; `daemon` asks the daemon about its queue and jobs."""

    settings: Settings
    store: Store
    daemon: DaemonClient
    access: Access
    cache: dict[str, object] = field(default_factory=dict)


async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


K6d = Annotated[Context, Depends(_context)]


def as_json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return `value` as a JSON response."""
    return Response(
        orjson.dumps(value), status_code=status, media_type="application/json", headers=headers
    )
