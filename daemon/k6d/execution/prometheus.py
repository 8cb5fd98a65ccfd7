"""Asks a Prometheus for one series over a time, and understands each wrong answer.

No redirect is followed: another host must not get the token.
"""

from __future__ import annotations

import http.client
import math
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlencode, urlsplit

import orjson

from k6d import __version__
from k6d.core.frozen import frozen
from k6d.core.model import K6dError
from k6d.core.text import one_line, plural

if TYPE_CHECKING:
    from k6d.settings import Prometheus

MOST_BYTES = 4 << 20  # one series of 600 values has 20 KB
PIECE_BYTES = 1 << 16
MOST_SAID = 200  # characters of an error of the server
LOOK_AT = "is prometheus.url right?"
LOGIN = "prometheus.token or prometheus.headers"


class QueryError(K6dError):
    """The Prometheus has no number for this query; another query may have one."""


class UnavailableError(K6dError):
    """The Prometheus does not answer as it should; no other query would fare better."""


@frozen
class Grid:
    """The moments for which a value is asked: `count` of them, the last at `end`.

    Times are in seconds since 1970.
    """

    end: float
    step_s: float
    count: int

    @property
    def start(self) -> float:
        """The first moment."""
        return self.end - (self.count - 1) * self.step_s


@frozen
class Answer:
    """The values on the grid, None where there is none; `warning` is the server's, if any."""

    values: list[float | None]
    warning: str | None = None


def query_range(settings: Prometheus, query: str, grid: Grid, *, ends: float) -> Answer:
    """The one series that the query gives; blocks until `time.monotonic()` is `ends` at most.

    QueryError or UnavailableError with one line that says why there is none.
    """
    form = {
        "query": query,
        "start": f"{grid.start:.3f}",
        "end": f"{grid.end:.3f}",
        "step": f"{grid.step_s:.3f}",
    }
    body, kind = _posted(settings, urlencode(form).encode(), ends=ends)
    try:
        answer = orjson.loads(body)
    except ValueError:
        raise UnavailableError(f"it answers {kind}, not JSON; {LOOK_AT}") from None
    try:
        if answer["status"] != "success":
            _refused(answer)
        return Answer(values=_on_grid(answer["data"], grid), warning=_warning(answer))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UnavailableError(f"its answer is not that of a Prometheus; {LOOK_AT}") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Makes each redirect an HTTPError."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _posted(settings: Prometheus, form: bytes, *, ends: float) -> tuple[bytes, str]:
    """The body of the answer, and its content type."""
    request = urllib.request.Request(  # noqa: S310  (the setting allows http and https)
        f"{settings.url}/api/v1/query_range", data=form, headers=_headers(settings), method="POST"
    )
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=_left(ends)) as response:
            return _read(response, ends), _kind(response)
    except urllib.error.HTTPError as error:
        with error:
            _failed(error, settings, ends)
    except TimeoutError:
        raise UnavailableError(_slow(settings)) from None
    except ValueError:  # its text may have a header in it
        raise UnavailableError(f"{_host(settings)} cannot be asked: {LOOK_AT}") from None
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        if isinstance(why, TimeoutError):
            raise UnavailableError(_slow(settings)) from None
        said = getattr(why, "strerror", None) or one_line(str(why), MOST_SAID)
        raise UnavailableError(f"{_host(settings)} cannot be asked: {said}") from None


def _headers(settings: Prometheus) -> dict[str, str]:
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
        "User-Agent": f"k6d/{__version__}",
    }
    if settings.token:
        headers["Authorization"] = f"Bearer {settings.token.get_secret_value()}"
    return headers | {name: one.get_secret_value() for name, one in settings.headers.items()}


def _read(response: Any, ends: float) -> bytes:
    """The body, read in pieces: a server that sends a byte a second must end as well."""
    pieces, size = [], 0
    while piece := response.read1(PIECE_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise QueryError(
                f"the answer is larger than {MOST_BYTES >> 20} MiB: let the query give one series, "
                "with sum(…), avg(…) or max(…)"
            )
        _left(ends)
    return b"".join(pieces)


def _left(ends: float) -> float:
    """The seconds until `ends`; TimeoutError if there are none."""
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _failed(error: urllib.error.HTTPError, settings: Prometheus, ends: float) -> NoReturn:
    """Raise what an HTTP status that is no success means."""
    if error.code in (401, 403):
        raise UnavailableError(f"{_host(settings)} refuses the login ({error.code}): set {LOGIN}")
    if 300 <= error.code < 400:
        raise UnavailableError(
            f"{_host(settings)} answers {error.code}, a redirect, which is not followed; {LOOK_AT}"
        )
    try:
        answer = orjson.loads(_read(error, ends))
    except (OSError, ValueError, http.client.HTTPException):
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        _refused(answer)
    raise UnavailableError(f"{_host(settings)} answers {error.code}; {LOOK_AT}")


def _refused(answer: dict[str, Any]) -> NoReturn:
    """Raise the error that a Prometheus names."""
    raise QueryError(f"the query fails: {one_line(str(answer['error']), MOST_SAID)}")


def _on_grid(data: dict[str, Any], grid: Grid) -> list[float | None]:
    if data["resultType"] != "matrix":
        raise ValueError(data["resultType"])
    series = data["result"]
    if len(series) > 1:
        raise QueryError(
            f"the query gives {plural(len(series), 'series', 'series')}: aggregate them, with "
            "sum(…), avg(…) or max(…)"
        )
    if not series:
        raise QueryError("there is no data for this time")
    if "values" not in series[0]:
        raise QueryError("the query gives histograms, not numbers; use histogram_quantile(…)")
    values: list[float | None] = [None] * grid.count
    for at, text in series[0]["values"]:
        index = round((float(at) - grid.start) / grid.step_s)
        number = float(text)
        if 0 <= index < grid.count and math.isfinite(number):
            values[index] = number
    if all(value is None for value in values):
        raise QueryError("there is no number for this time, only NaN or infinity")
    return values


def _warning(answer: dict[str, Any]) -> str | None:
    """What the server doubts, such as a store of a Thanos that did not answer."""
    warnings = answer.get("warnings")
    return (
        one_line(str(warnings[0]), MOST_SAID) if isinstance(warnings, list) and warnings else None
    )


def _kind(response: Any) -> str:
    return one_line(response.headers.get_content_type(), 40)


def _host(settings: Prometheus) -> str:
    return urlsplit(settings.url or "").netloc


def _slow(settings: Prometheus) -> str:
    return f"{_host(settings)} does not answer within {settings.timeout:g} s (prometheus.timeout)"
