"""Find the receivers of each message by its tags.

A receiver may be unknown, because its URL or the Apprise file cannot be read. Messages that it may
get then wait until the receiver is known, so that it misses nothing.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from k6d.alerts.delivery import apprise_client
from k6d.alerts.delivery.planning import addressed
from k6d.alerts.outbox import NOBODY
from k6d.alerts.records import Delivery, OutboxEntry, State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from k6d.alerts.outbox import Outbox
    from k6d.alerts.records import Receiver
    from k6d.settings import Notify

logger = logging.getLogger(__name__)

ASK_AGAIN_S = 300.0  # between two helpers that list the receivers, while some are unknown
LEAST_LOOKED_S = 3600.0  # before a message is given up, because the clock may be wrong


class Addressing:
    """Enters the receivers of messages into `outbox`."""

    def __init__(self, notify: Notify, outbox: Outbox) -> None:
        self._notify = notify
        self._outbox = outbox
        self._directory: apprise_client.Directory | None = None
        self._asked_at = 0.0
        self._stamp: object = None
        self._open_since: dict[str, float] = {}

    async def address(self, entries: Sequence[OutboxEntry], now: datetime) -> list[OutboxEntry]:
        """Return the entries with a delivery for each receiver that is known now."""
        directory = await self._receivers()
        return [self._addressed(item, directory, now) for item in entries]

    def _addressed(
        self, item: OutboxEntry, directory: apprise_client.Directory, now: datetime
    ) -> OutboxEntry:
        found = _renamed(item, directory.receivers)
        if found.deliveries is None or found.problem:
            found = self._opened(found, directory, now)
        if found != item:
            self._outbox.update(found)
        if found.problem is None:
            self._open_since.pop(item.message.id, None)
        return found

    def _opened(
        self, item: OutboxEntry, directory: apprise_client.Directory, now: datetime
    ) -> OutboxEntry:
        """Return the entry with the known receivers, and the problem if some may be missing."""
        message, known = item.message, item.deliveries or {}
        chosen = [r for r in directory.receivers if addressed(r.tags, message.tags)]
        new = {r.id: Delivery(receiver=r.id, label=r.label) for r in chosen if r.id not in known}
        deliveries, problem = (
            known | new,
            _problem(message.tags, directory, somebody=bool(known | new)),
        )
        if problem and self._is_too_old(item, now):
            lost = Delivery(receiver=NOBODY, label="nobody", error=problem, at=now)
            deliveries[NOBODY] = replace(lost, state=State.UNDELIVERABLE)
            logger.error("gave up: message %s: %s; see k6d outbox", message.id, problem)
            problem = None
        elif problem and problem != item.problem:
            logger.error("message %s waits: %s", message.id, problem)
        return OutboxEntry(message=message, deliveries=deliveries or None, problem=problem)

    def _is_too_old(self, item: OutboxEntry, now: datetime) -> bool:
        horizon_s = self._notify.horizon
        looked_s = time.monotonic() - self._open_since.setdefault(item.message.id, time.monotonic())
        old = (now - item.message.at).total_seconds() > horizon_s
        return old and looked_s >= min(horizon_s, LEAST_LOOKED_S)

    async def _receivers(self) -> apprise_client.Directory:
        """Return the receivers; list them again if the Apprise file changed or some are unknown."""
        config, stamp = self._notify.config, None
        if config:
            with contextlib.suppress(OSError):
                found = config.stat()
                stamp = found.st_mtime_ns, found.st_size, found.st_ino
        known = self._directory
        late = time.monotonic() - self._asked_at > ASK_AGAIN_S
        fits = known and known.receivers and stamp == self._stamp
        if known is None or not fits or (known.problems and late):
            self._stamp, self._asked_at = stamp, time.monotonic()
            self._directory = await apprise_client.directory(
                addresses(self._notify, key=self._outbox.key())
            )
            _log(self._directory, known)
            return self._directory
        return known


def addresses(notify: Notify, *, key: str) -> apprise_client.Addresses:
    """Return the receivers of the settings for a helper; `key` is the secret of their hashes."""
    return apprise_client.Addresses(
        urls=[url.get_secret_value() for url in notify.urls],
        config=notify.config,
        key=key,
        timeout_s=notify.timeout,
    )


def _log(found: apprise_client.Directory, before: apprise_client.Directory | None) -> None:
    """Log each unknown receiver once, and once that all are known again."""
    problems = before.problems if before else []
    for label, problem in found.problems:
        if (label, problem) not in problems:
            logger.error("receiver %s: %s; messages wait for it", label, problem)
    if problems and not found.problems:
        logger.info("all receivers are understood again")


def _renamed(item: OutboxEntry, receivers: Sequence[Receiver]) -> OutboxEntry:
    """Move a waiting delivery to the new URL of its receiver: the only one with the same label."""
    known = {receiver.id for receiver in receivers}
    deliveries = dict(item.deliveries or {})
    for old, waiting in list(deliveries.items()):
        if old in known or waiting.state is not State.WAITING:
            continue
        same = [r for r in receivers if r.label == waiting.label and r.id not in deliveries]
        if len(same) == 1:
            del deliveries[old]
            deliveries[same[0].id] = replace(waiting, receiver=same[0].id)
    return replace(item, deliveries=deliveries) if deliveries != (item.deliveries or {}) else item


def _problem(
    tags: list[str] | None, directory: apprise_client.Directory, *, somebody: bool
) -> str | None:
    """Return why a receiver of the message may be unknown; None if all are known."""
    if directory.problems:
        return "; ".join(f"{label}: {problem}" for label, problem in directory.problems)
    if somebody:
        return None
    if directory.receivers and not tags:
        return "no route fits it and every receiver has a tag; see notify.routes"
    if directory.receivers:
        wanted = " or ".join(tags or ())
        return f"no receiver has the tag {wanted}; see notify.routes and notify.config"
    return "there is no receiver; name one in notify.urls or notify.config"
