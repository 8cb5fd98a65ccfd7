"""The helper process that sends one request to Gemini; `explainer` starts it.

The SDKs need more memory than the whole daemon, and a call may hang. The daemon therefore imports
no SDK and kills this process at its deadline. Each of the two adapters takes a request and returns
the text of the answer, or raises `RefusalError`. Neither retries; the daemon decides about retries.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import re
import sys
import warnings
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from k6d.core import fork_server
from k6d.core.frozen import frozen
from k6d.core.parse import retry_after_s
from k6d.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

# Enough for six issues, six recommendations and the model's thoughts before them.
MAX_OUTPUT_TOKENS = 8192
MAX_DETAIL = 200
MAX_TEXT = 100_000  # characters, more than a valid answer has; limits the daemon's memory


class Failure(StrEnum):
    """Why there is no answer; the values are shown to users."""

    NO_SDK = "no Gemini SDK is installed"
    UNREACHABLE = "Gemini could not be reached"
    TIMED_OUT = "Gemini did not answer in time"
    BUSY = "Gemini refused for now"
    SERVER = "Gemini failed"
    REFUSED = "Gemini refused the request"
    BLOCKED = "Gemini blocked the answer"
    CUT_OFF = "Gemini's answer was cut off"
    EMPTY = "Gemini's answer was empty"
    MALFORMED = "Gemini's answer was malformed"
    HELPER = "the helper process failed"


@frozen
class Request:
    """One request to Gemini; `sdk` is "auto", "google-generativeai" or "google-genai"."""

    sdk: str
    api_key: str
    endpoint: str | None
    model: str
    temperature: float
    system: str
    data: str
    schema: dict[str, Any]
    timeout_s: float


@frozen
class Reply:
    """The result of a request: `text`, or `failure` with `detail`.

    `retry_after_s` is the wait in seconds that the server asked for, None if it did not.
    """

    sdk: str
    text: str | None = None
    failure: str | None = None
    detail: str = ""
    retry_after_s: float | None = None


class RefusalError(Exception):
    """The server answered, but without a usable text."""

    def __init__(self, failure: Failure, detail: str = "") -> None:
        super().__init__(detail)
        self.failure = failure


def main() -> None:
    """Load the SDK that the second argument names, and answer requests."""
    if sdk := choose(sys.argv[2]):
        with contextlib.suppress(Exception):  # the request meets the same error, and tells of it
            importlib.import_module(MODULES[sdk])
    fork_server.serve(lambda request: asdict(ask(Request(**request))))


def ask(request: Request) -> Reply:
    """Send one request once; never raises."""
    sdk = choose(request.sdk)
    if sdk is None:
        wanted = "google-generativeai" if request.sdk == "auto" else request.sdk
        return Reply(sdk="", failure=Failure.NO_SDK, detail=f"pip install {wanted}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # google-generativeai warns that it is deprecated
            text = ADAPTERS[sdk](request)
    except Exception as error:  # noqa: BLE001  (each SDK and transport has its own exceptions)
        return _reply(error, sdk=sdk, secret=request.api_key)
    if not text.strip():
        return Reply(sdk=sdk, failure=Failure.EMPTY)
    return Reply(sdk=sdk, text=text[:MAX_TEXT])


def choose(wanted: str) -> str | None:
    """The wanted SDK if it is installed; for "auto" the first installed one; None without one."""
    for sdk, module in MODULES.items():
        if wanted in {"auto", sdk} and _installed(module):
            return sdk
    return None


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is not installed
        return False


def _generativeai(request: Request) -> str:
    """Ask by google-generativeai over REST; gRPC would ignore proxies and the endpoint's scheme."""
    from google.generativeai.client import configure
    from google.generativeai.generative_models import GenerativeModel
    from requests import Session

    # The SDK does not expose its session. This process uses requests for nothing else.
    Session.get_redirect_target = _refuse_redirect  # type: ignore[assignment, method-assign]
    options = {"api_endpoint": request.endpoint} if request.endpoint else None
    configure(api_key=request.api_key, transport="rest", client_options=options)
    model = GenerativeModel(request.model, system_instruction=request.system)
    response = model.generate_content(
        request.data,
        generation_config={
            "temperature": request.temperature,
            "max_output_tokens": MAX_OUTPUT_TOKENS,
            "response_mime_type": "application/json",
            "response_schema": request.schema,
        },
        # Without `retry: None` the SDK retries over a hundred times in ten minutes.
        request_options={"retry": None, "timeout": request.timeout_s},  # type: ignore[arg-type]  # None is allowed
    )
    return _text(response)


def _genai(request: Request) -> str:
    """Ask by google-genai, which does not retry by default."""
    from google import genai
    from google.genai import types

    client = genai.Client(
        vertexai=False,
        api_key=request.api_key,
        http_options=types.HttpOptions(
            base_url=request.endpoint,
            api_version="v1beta",  # as in the other SDK; the default differs between versions
            timeout=math.ceil(request.timeout_s * 1000),
            client_args={"follow_redirects": False},  # the SDK's own default is to follow
        ),
    )
    response = client.models.generate_content(
        model=request.model,
        contents=request.data,
        config=types.GenerateContentConfig(
            system_instruction=request.system,
            temperature=request.temperature,
            max_output_tokens=MAX_OUTPUT_TOKENS,
            response_mime_type="application/json",
            response_schema=request.schema,
        ),
    )
    return _text(response)


def _refuse_redirect(_session: Any, response: Any) -> str | None:
    """Replaces a method of requests: RefusalError for a redirect, which would get the API key."""
    if response.is_redirect:
        raise RefusalError(Failure.REFUSED, _redirect(response.status_code, response))
    return None


def _redirect(code: int, response: Any) -> str:
    """The message about a redirect, with its target's host; the path could hold a secret."""
    leads_to = urlsplit(str((getattr(response, "headers", None) or {}).get("Location") or ""))
    host = leads_to.netloc.rpartition("@")[2]
    where = f"{leads_to.scheme}://{host}" if host else "another address"
    return f"HTTP {code}: it redirects to {where}, which k6d does not follow; set ai.endpoint"


# In the order in which "auto" looks for them.
ADAPTERS: dict[str, Callable[[Request], str]] = {
    "google-generativeai": _generativeai,
    "google-genai": _genai,
}
MODULES = {"google-generativeai": "google.generativeai", "google-genai": "google.genai"}


def _text(response: Any) -> str:
    """The text of the first candidate of either SDK's response; raises RefusalError."""
    candidates = response.candidates or ()
    if not candidates:
        reason = _name(getattr(response.prompt_feedback, "block_reason", None))
        raise RefusalError(Failure.BLOCKED if reason else Failure.EMPTY, reason)
    candidate = candidates[0]
    reason = _name(candidate.finish_reason)
    if reason == "MAX_TOKENS":
        raise RefusalError(Failure.CUT_OFF, reason)
    if reason not in {"STOP", ""}:
        raise RefusalError(Failure.BLOCKED, reason)
    parts = candidate.content.parts if candidate.content else None
    thoughts = (getattr(part, "thought", False) for part in parts or ())
    return "".join(
        part.text or "" for part, thought in zip(parts or (), thoughts, strict=True) if not thought
    )


def _name(reason: Any) -> str:
    """The name of an enum's value; "" for None and for "unspecified"."""
    name = getattr(reason, "name", None) or str(reason or "")
    return "" if name.endswith("UNSPECIFIED") else name


def _reply(error: Exception, *, sdk: str, secret: str) -> Reply:
    """The reply for an error of either SDK or of its HTTP library."""
    code, response = getattr(error, "code", None), getattr(error, "response", None)
    retry_after_s = None
    if isinstance(error, RefusalError):
        failure, detail = error.failure, str(error)
    elif isinstance(code, int):
        failure = _failure_of_status(code)
        message = _server_message(response) or getattr(error, "message", None) or error
        detail = _redirect(code, response) if 300 <= code < 400 else f"HTTP {int(code)}: {message}"
        retry_after_s = _retry_after_s(response)
    else:
        failure, detail = _failure_of_error(error), f"{type(error).__name__}: {error}"
        if system := re.search(r"\[Errno [^\]]*\][^')]*", detail):  # the rest names internals
            detail = system.group()
    return Reply(
        sdk=sdk,
        failure=failure,
        detail=_one_line_without(detail, secret),
        retry_after_s=retry_after_s,
    )


def _failure_of_status(code: int) -> Failure:
    if code in {408, 504}:
        return Failure.TIMED_OUT
    if code == 429:
        return Failure.BUSY
    return Failure.SERVER if code >= 500 else Failure.REFUSED


def _failure_of_error(error: Exception) -> Failure:
    """The failure by the names of the error's classes, so that no HTTP library is imported."""
    names = " ".join(kind.__name__ for kind in type(error).__mro__)
    if "Timeout" in names:
        return Failure.TIMED_OUT
    if re.search(r"Connect|Network|Transport|Protocol|ChunkedEncoding|RequestException", names):
        return Failure.UNREACHABLE
    if re.search(r"Decode|Parse|Validation|UnknownApiResponse", names):
        return Failure.MALFORMED
    return Failure.HELPER


def _server_message(response: Any) -> str:
    """The server's message in the response's JSON; "" when there is none."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""


def _retry_after_s(response: Any) -> float | None:
    """Seconds from the header Retry-After, else from Google's RetryInfo.

    None when the response has neither.
    """
    headers = getattr(response, "headers", None) or {}
    if (header_s := retry_after_s(headers.get("Retry-After"))) is not None:
        return header_s
    try:
        details = response.json()["error"]["details"]
        delays = (str(entry["retryDelay"]) for entry in details if "retryDelay" in entry)
        return max(float(delay.removesuffix("s")) for delay in delays)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _one_line_without(text: str, secret: str) -> str:
    """The text as one short line, without the API key, which a server may repeat."""
    return one_line(text.replace(secret, "[redacted]"), MAX_DETAIL)


if __name__ == "__main__":
    main()
