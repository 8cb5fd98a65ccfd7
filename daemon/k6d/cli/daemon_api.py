"""Asks the running daemon over its HTTP API."""

from __future__ import annotations

import contextlib
import http.client
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.errors import K6dError
from k6d.storage.locks import daemon_of
from k6d.web.token import read_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k6d.settings import Settings

TIMEOUT_S = 30.0  # the first request starts the process that answers


def ask(settings: Settings, method: str, path: str) -> Any:
    """Return the JSON of the daemon's answer; None for 404. K6dError if no daemon answers."""
    with asking(settings, method, path, timeout_s=TIMEOUT_S, or_404=True) as answer:
        return None if answer.status == http.client.NOT_FOUND else orjson.loads(answer.read())


@contextlib.contextmanager
def asking(
    settings: Settings, method: str, path: str, *, timeout_s: float, or_404: bool = False
) -> Iterator[http.client.HTTPResponse]:
    """Yield the daemon's answer. K6dError if no daemon answers, or not with success."""
    running = daemon_of(settings.data)
    if running and running.no_api:  # then another program answers at its port
        raise K6dError(f"the daemon of {settings.data} has no API: {running.no_api}")
    api = settings.api
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(api.host, api.host)  # noqa: S104
    connection = http.client.HTTPConnection(host.strip("[]"), api.port, timeout=timeout_s)
    try:
        connection.request(method, path, headers=_headers(settings))
        answer = connection.getresponse()
        if answer.status == http.client.UNAUTHORIZED:
            raise K6dError(
                f"the daemon at {host}:{api.port} refuses the token of {settings.data}: name the "
                "data folder or the settings that it has"
            )
        missing = or_404 and answer.status == http.client.NOT_FOUND
        if not (200 <= answer.status < 300 or missing):
            raise K6dError(f"{host}:{api.port} answers {answer.status}; is it k6d's?")
        yield answer
    except (OSError, http.client.HTTPException, orjson.JSONDecodeError) as error:
        raise K6dError(
            f"no daemon answers at http://{host}:{api.port}/ ({error}): start 'k6d serve', or name "
            "the settings it has with --config or K6D_API__PORT"
        ) from error
    finally:
        connection.close()


def _headers(settings: Settings) -> dict[str, str]:
    """Return a header with the token, if it is readable; on loopback, reading needs none."""
    given = settings.api.token
    try:
        token = given.get_secret_value() if given else read_token(settings.data)
    except K6dError:
        return {}
    return {"Authorization": f"Bearer {token}"}
