"""Messages go out through Apprise, in a short-lived helper process.

Apprise and its plugins weigh more than the whole daemon, and a receiver may hang: each has a thread
of its own, so it keeps no other from its message, and the helper is killed if all else fails. URLs
hold secrets: they travel by standard input, and what comes back names each receiver as Apprise
redacts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from k6d.message import Message

logger = logging.getLogger(__name__)

START_S = 15.0  # to start Python and to import Apprise, on a machine under load
SHORTEST_SECRET = 5  # shorter parts of a URL are words such as "no" and "POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of a message at one receiver; `receiver` is redacted, `error` says why not."""

    receiver: str
    delivered: bool
    error: str | None = None


async def send(
    message: Message, *, urls: Sequence[str], config: Path | None, timeout_s: float
) -> list[Delivery]:
    """Send to every URL and every entry of the Apprise file `config`; never raises."""
    request = {"urls": list(urls), "config": str(config) if config else None} | asdict(message)
    return await _helper(request, timeout_s=timeout_s)


async def check(*, urls: Sequence[str], config: Path | None, timeout_s: float) -> list[Delivery]:
    """Whether Apprise understands each URL; nothing is sent."""
    request = {"urls": list(urls), "config": str(config) if config else None, "check": True}
    return await _helper(request, timeout_s=timeout_s)


async def _helper(request: dict[str, Any], *, timeout_s: float) -> list[Delivery]:
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "k6d.delivery"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # Apprise's own log can hold a URL whole
        )
    except OSError as problem:
        error = f"the delivery helper cannot be started: {problem.strerror}"
        return [Delivery(receiver="all receivers", delivered=False, error=error)]
    try:
        async with asyncio.timeout(START_S + timeout_s):
            answer, _ = await process.communicate(orjson.dumps(request | {"timeout_s": timeout_s}))
        return [Delivery(**entry) for entry in orjson.loads(answer)]
    except TimeoutError:
        error = f"no answer within {timeout_s:g} s"
    except orjson.JSONDecodeError:
        error = f"the delivery helper failed, exit {process.returncode}"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return [Delivery(receiver="all receivers", delivered=False, error=error)]


def main() -> None:
    """The helper: a request on standard input, one entry for each receiver on standard output."""
    request = orjson.loads(sys.stdin.buffer.read())
    sys.stdout.buffer.write(orjson.dumps([asdict(d) for d in _deliver(request)]))
    sys.stdout.buffer.flush()
    os._exit(0)  # a receiver that hangs has a thread that would keep us


def _deliver(request: dict[str, Any]) -> list[Delivery]:
    import apprise

    logging.getLogger("apprise").setLevel(logging.WARNING)  # what its results can quote
    results, receivers = [], []
    for number, url in enumerate(request["urls"], 1):
        plugin = apprise.Apprise.instantiate(url)
        if plugin is None:
            scheme = scheme_of(url)
            error = f"Apprise does not understand it (schema {scheme}://)"
            results.append(Delivery(receiver=f"URL {number}", delivered=False, error=error))
        else:
            receivers.append(plugin)
    if request["config"]:
        found = list(apprise.AppriseConfig(paths=request["config"]).services())
        receivers += found
        if not found:
            error = "holds no URL that Apprise understands"
            results.append(Delivery(receiver=request["config"], delivered=False, error=error))
    if not receivers:
        return results
    threads = ThreadPoolExecutor(len(receivers))
    return results + list(threads.map(lambda plugin: _one(plugin, request), receivers))


def _one(plugin: Any, request: dict[str, Any]) -> Delivery:
    import apprise

    receiver = _redacted(plugin)
    if request.get("check"):
        return Delivery(receiver=receiver, delivered=True)
    target = apprise.Apprise()
    target.add(plugin)
    formats = plugin.notify_format  # one, or all that the service takes, the preferred one first
    preferred = formats[0] if isinstance(formats, tuple) else formats
    as_html = preferred == apprise.NotifyFormat.HTML
    outcome = target.notify(
        title=request["title"],
        body=request["html" if as_html else "text"],
        notify_type=request["level"],
        body_format=apprise.NotifyFormat.HTML if as_html else apprise.NotifyFormat.TEXT,
        timeout=request["timeout_s"],
    )
    error = None if outcome else _why(outcome, plugin) or "the receiver did not take it"
    return Delivery(receiver=receiver, delivered=bool(outcome), error=error)


def _why(outcome: Any, plugin: Any) -> str:
    """The warnings that Apprise's plugin gave, without anything that only the URL knows."""
    said = " ".join(entry.message for result in outcome for entry in result.logs())
    known = _redacted(plugin)
    for part in re.split(r"[/?&=:@,]+", unquote(plugin.url(privacy=False))):
        if len(part) >= SHORTEST_SECRET and part not in known:
            said = said.replace(part, "****")
    return " ".join(said.split())[:300]


def _redacted(plugin: Any) -> str:
    """Scheme and host as Apprise masks them; a path or a query may hold a token it doesn't mask."""
    scheme, _, rest = str(plugin.url(privacy=True)).partition("://")
    host, *more = re.split(r"[/?]", rest, maxsplit=1)
    return f"{scheme}://{host}/…" if more and more[0] else f"{scheme}://{host}"


def scheme_of(url: str) -> str:
    """The schema of a URL, which is no secret: "slack" of "slack://…"."""
    match = re.match(r"\s*([a-zA-Z0-9+.-]{1,20})://", url)
    return match.group(1) if match else "?"


if __name__ == "__main__":
    main()
