"""A sender at work, messages for it, and the URLs of its receivers."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from k6d.alerts.delivery.sender import Sender
from k6d.alerts.records import Change, Message
from k6d.core.model import Severity
from k6d.settings import Notify
from support.receivers import (
    PASSWORD,
    USER,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from k6d.alerts.outbox import Outbox

PATIENCE_S = 120.0
TOKEN = "path-hunter2-token"
SLACK = "slack://T1JJ3T3L2/B1HUNTER2/aaaaaaaaHUNTER2aaaaaaaa1"


def message(number: int = 1, **changes: Any) -> Message:
    """A message about an incident of its own."""
    made = Message(
        id=f"m-{number}",
        at=datetime.now(UTC),
        change=Change.OPENED,
        script=f"shop/{number}.js",
        subject="p95 412 ms, was 268 ms (+54 %) <b>&amp; @channel",
        severity=Severity.HIGH,
        incident=f"i-{number}",
        findings=["p95 of GET /cart is 412 ms, <!channel> *was* 268 ms"],
        facts=[("Where", "GET /cart?a=1&b=<2>")],
        commands=[("Look closer", f"k6d show m-{number}")],
    )
    return replace(made, **changes)


def notify(*urls: str, **more: Any) -> Notify:
    """Settings without waiting."""
    fast = {"retry": 0.2, "group_wait": 0, "timeout": 20}
    return Notify(urls=list(urls), **{**fast, **more})


@asynccontextmanager
async def sending(settings: Notify, outbox: Outbox) -> AsyncIterator[None]:
    """A sender at work, as in the daemon."""
    task = asyncio.create_task(Sender(settings, outbox).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(happened: Callable[[], object], what: str) -> None:
    """Wait for it, with a deadline."""
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.05)


def json_url(port: int) -> str:
    """The Apprise URL of the receiver, with secrets in all places that can hold one."""
    return f"json://user:{PASSWORD}@127.0.0.1:{port}/{TOKEN}?+X-Key=header-hunter2"


def mail_url(port: int, password: str = PASSWORD, to: str = "oncall@localhost") -> str:
    """The Apprise URL of the receiver."""
    where = f"{USER}:{password}@localhost:{port}"
    return f"mailtos://{where}?mode=starttls&from=k6d@localhost&to={to}"


def error(outbox: Outbox) -> str | None:
    """Why the oldest message waits."""
    found = [d for kept in outbox.waiting() for d in (kept.deliveries or {}).values()]
    return found[0].error if found else None
