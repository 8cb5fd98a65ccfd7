"""Send a test message to every receiver, without the outbox, and report errors."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from k6d.alerts.delivery import apprise_client
from k6d.alerts.delivery.addressing import addresses
from k6d.alerts.delivery.planning import addressed
from k6d.alerts.delivery.render import render
from k6d.alerts.message import notice
from k6d.alerts.records import Sending
from k6d.core.model import K6dError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k6d.settings import Settings

AT_ONCE = 4  # helpers; each weighs 40 MiB


async def try_all(settings: Settings, *, tags: Sequence[str]) -> list[dict[str, Any]]:
    """Send to each receiver with the tags; returns label, success and error of each."""
    given = addresses(settings.notify, key="trial")
    directory = await apprise_client.directory(given)
    chosen = [r for r in directory.receivers if addressed(r.tags, tags or None)]
    if not chosen and not directory.problems:
        which = f" with the tag {' or '.join(tags)}" if tags else ""
        raise K6dError(f"there is no receiver{which}; name one in notify.urls or notify.config")
    now = datetime.now(UTC)
    message = notice(
        key=f"test-{now:%Y%m%d-%H%M%S-%f}",
        at=now,
        script="k6d notify-test",
        subject=f"a test from {socket.gethostname()}; alerts of k6d arrive here",
        facts=[("Sent", f"{now:%Y-%m-%d %H:%M:%S} UTC")],
    )
    rendered = render([message], now=now)
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(receiver: str, label: str) -> dict[str, Any]:
        sending = Sending(
            key=f"{message.id}-{receiver}", receiver=receiver, label=label, messages=[message.id]
        )
        async with turns:
            outcome = await apprise_client.trial(sending, rendered, addresses=given)
        return {"receiver": label, "delivered": outcome.delivered, "error": outcome.error}

    results = await asyncio.gather(*(one(r.id, r.label) for r in chosen))
    return list(results) + [
        {"receiver": label, "delivered": False, "error": problem}
        for label, problem in directory.problems
    ]
