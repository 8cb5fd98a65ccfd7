"""Messages go out through Apprise, in a short-lived helper process.

Apprise and its plugins weigh more than the whole daemon, and a receiver may hang: the helper is
killed at its time-out and blocks nobody. URLs hold secrets: they travel by standard input, and what
comes back names each receiver as Apprise redacts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from k6d.message import Message

logger = logging.getLogger(__name__)


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
    return await _helper(
        {"urls": list(urls), "config": str(config) if config else None} | asdict(message),
        timeout_s=timeout_s,
    )


async def check(*, urls: Sequence[str], config: Path | None, timeout_s: float) -> list[Delivery]:
    """Whether Apprise understands each URL; nothing is sent."""
    request = {"urls": list(urls), "config": str(config) if config else None, "check": True}
    return await _helper(request, timeout_s=timeout_s)


async def _helper(request: dict[str, Any], *, timeout_s: float) -> list[Delivery]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "k6d.delivery"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # Apprise's own log can hold a URL whole
    )
    try:
        async with asyncio.timeout(timeout_s):
            answer, _ = await process.communicate(orjson.dumps(request))
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


def _deliver(request: dict[str, Any]) -> list[Delivery]:
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)
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
    return results + [_one(plugin, request) for plugin in receivers]


def _one(plugin: Any, request: dict[str, Any]) -> Delivery:
    import apprise

    receiver = plugin.url(privacy=True)
    if request.get("check"):
        return Delivery(receiver=receiver, delivered=True)
    target = apprise.Apprise()
    target.add(plugin)
    as_html = plugin.notify_format == apprise.NotifyFormat.HTML
    outcome = target.notify(
        title=request["title"],
        body=request["html" if as_html else "text"],
        notify_type=request["level"],
        body_format=apprise.NotifyFormat.HTML if as_html else apprise.NotifyFormat.TEXT,
    )
    error = None if outcome else _why(outcome) or "the receiver did not take it"
    return Delivery(receiver=receiver, delivered=bool(outcome), error=error)


def _why(outcome: Any) -> str:
    """The warnings that Apprise's plugin gave; its own logger redacts at that level."""
    said = [entry.message for result in outcome for entry in result.logs()]
    return " ".join(" ".join(said).split())[:300]


def scheme_of(url: str) -> str:
    """The schema of a URL, which is no secret: "slack" of "slack://…"."""
    match = re.match(r"\s*([a-zA-Z0-9+.-]{1,20})://", url)
    return match.group(1) if match else "?"


if __name__ == "__main__":
    main()
