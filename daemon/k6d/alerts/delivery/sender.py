"""The sender: sends due messages of the outbox to each receiver until all are delivered.

One process sends for a data folder: the daemon, or `k6d run` when there is no daemon. After a
failure the sender tries again with growing waits, or after the time that the receiver asked for. A
message that cannot be delivered within the horizon is kept as undeliverable.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from k6d.alerts.delivery import apprise_client
from k6d.alerts.delivery.addressing import Addressing, addresses
from k6d.alerts.delivery.planning import (
    CLOCK_SLACK,
    Moment,
    Patience,
    last_delivered,
    plan,
    shared_cause,
    wait_s,
)
from k6d.alerts.delivery.render import render
from k6d.alerts.records import LONGEST_RETRY_AFTER_S, Delivery, OutboxEntry, Outcome, State
from k6d.core.model import K6dError
from k6d.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from k6d.alerts.outbox import Outbox
    from k6d.alerts.records import Sending
    from k6d.settings import Notify

logger = logging.getLogger(__name__)

POLL_S = 1.0  # how soon a message of another process is noticed
REPAIR_S = 86_400.0  # how often what was delivered long ago is removed
AGAIN_S = 30.0  # after a disk that refused, or a helper that could not name the receivers
LONGEST_SLEEP_S = 3600.0
DRAIN_S = 10.0  # for helpers under way when the daemon stops


class Sender:
    """Sends the messages in `outbox` according to the settings."""

    def __init__(self, notify: Notify, outbox: Outbox) -> None:
        self._notify = notify
        self._outbox = outbox
        self._patience = Patience(
            group_wait_s=notify.group_wait,
            group_interval_s=notify.group_interval,
            horizon_s=notify.horizon,
            quiet=notify.quiet_hours,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._seen = 0
        self._addressing = Addressing(notify, outbox)
        self._last_delivered: dict[tuple[str, str], datetime] = {}
        self._failing: set[str] = set()
        self._repair_at = datetime.min.replace(tzinfo=UTC)

    async def run(self) -> None:
        """Send until cancelled; then running helpers get DRAIN_S seconds to finish."""
        with await self._sender_lock():
            try:
                while True:
                    await self._sleep(await self._safe_tick())
            finally:
                await self._drain()

    async def _sender_lock(self) -> TextIO:
        """Wait for the sender's lock and return it; a disk error is logged and retried."""
        while True:
            pause_s = POLL_S
            try:
                if lock := self._outbox.sender(daemon=True):
                    return lock
            except K6dError as error:
                logger.error("messages wait: %s", error)
                pause_s = AGAIN_S
            await asyncio.sleep(pause_s)

    async def _drain(self) -> None:
        """Wait up to DRAIN_S for running helpers; the next start sends cut-off messages again."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=DRAIN_S)
            for task in late:
                logger.warning("the delivery to a receiver that hangs is left for the next start")
                task.cancel()
            if late:
                await asyncio.wait(late)
        with contextlib.suppress(K6dError):
            self._enter_finished(datetime.now(UTC))

    async def flush(self) -> bool:
        """Try all due messages once, unless a daemon sends them; returns whether none is left."""
        patience_s = apprise_client.START_S + self._notify.timeout
        deadline = asyncio.get_running_loop().time() + patience_s
        while (lock := self._outbox.sender(daemon=False)) is None:
            if self._outbox.daemon_sends() or asyncio.get_running_loop().time() > deadline:
                return True
            await asyncio.sleep(0.1)
        with lock:
            self._outbox.repair(datetime.now(UTC))
            await self._tick(hurry=True)
            while self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                await self._tick(hurry=True)
        return not self._outbox.waiting()

    async def _safe_tick(self) -> datetime:
        """One pass over the outbox; errors are logged and never raised."""
        now = datetime.now(UTC)
        try:
            if now >= self._repair_at:
                self._outbox.repair(now)
                known = [*self._outbox.waiting(), *self._outbox.done()]
                self._last_delivered = last_delivered(known)
                self._repair_at = now + timedelta(seconds=REPAIR_S)
            return await self._tick() or now + timedelta(seconds=3600)
        except K6dError as error:
            logger.error("messages wait: %s", error)
        except Exception:
            logger.exception("messages wait, for a mistake of k6d's own; please report it")
        self._seen = self._outbox.changed()  # a write that failed has changed the folder, too
        return now + timedelta(seconds=AGAIN_S)

    async def _tick(self, *, hurry: bool = False) -> datetime | None:
        """Enter finished sendings, start due ones; returns when to look again, None for never."""
        now = datetime.now(UTC)
        self._seen = self._outbox.changed()
        busy = self._enter_finished(now)
        entries = self._outbox.waiting()
        if not entries:
            return now + timedelta(seconds=POLL_S) if busy else None
        entries = await self._addressing.address(entries, now)
        moment = Moment(
            now=now, patience=self._patience, last_delivered=self._last_delivered, hurry=hurry
        )
        planned = plan(entries, moment, busy=busy)
        self._give_up(entries, planned.expired, now)
        for sending in planned.sendings:
            self._start(sending, entries, now)
        times = [planned.wake_at] if planned.wake_at else []
        if busy - {task.get_name() for task in self._tasks}:  # helpers of a dead daemon
            times.append(now + timedelta(seconds=POLL_S))
        if any(item.deliveries is None or item.problem for item in entries):
            times.append(now + timedelta(seconds=AGAIN_S))
        return min(times, default=None)

    def _start(self, sending: Sending, entries: list[OutboxEntry], now: datetime) -> None:
        lock = self._outbox.begin(sending)
        if lock is None:
            return
        messages = [item.message for item in entries if item.message.id in sending.messages]
        rendered = render(messages, now=now, repeat=sending.repeat)
        logger.debug("sending to %s: %s", sending.label, rendered.title)
        helper = apprise_client.send(
            sending,
            rendered,
            addresses=addresses(self._notify, key=self._outbox.key()),
            path=self._outbox.sending_path(sending.key),
            lock=lock,
        )
        task = asyncio.create_task(helper, name=sending.receiver)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("a delivery helper could not be started: %s", error)
        self._wake.set()

    def _enter_finished(self, now: datetime) -> set[str]:
        """Enter the outcomes of finished sendings; returns the receivers of unfinished ones."""
        busy = set()
        for sending, active in self._outbox.sendings():
            if active:
                busy.add(sending.receiver)
                continue
            outcome = sending.outcome or Outcome(
                at=now,
                delivered=False,
                error=f"no answer before its helper ended, {self._notify.timeout:g} s at most"
                if sending.begun
                else "its helper ended before it spoke to it",
                unsure=sending.begun,
                reached=sending.reached,
            )
            self._enter(sending, outcome)
            self._outbox.end(sending)
        return busy

    def _enter(self, sending: Sending, outcome: Outcome) -> None:
        entries = self._outbox.waiting()
        for item in entries:
            found = (item.deliveries or {}).get(sending.receiver)
            if found is None or found.state is not State.WAITING:
                continue
            if item.message.id in sending.messages:
                entered = self._delivery_after(found, sending, outcome)
                if outcome.delivered and (shared := shared_cause(item.message)):
                    self._last_delivered[sending.receiver, shared] = outcome.at
            elif outcome.delivered and found.attempts and found.next_at:
                entered = replace(found, next_at=outcome.at)  # the receiver is back
            else:
                continue
            self._put(item, entered)
        self._log(sending, outcome)

    def _delivery_after(self, found: Delivery, sending: Sending, outcome: Outcome) -> Delivery:
        if outcome.delivered:
            return replace(found, state=State.DELIVERED, at=outcome.at, error=None)
        again_s = wait_s(
            found.attempts + 1,
            first_s=self._notify.retry,
            chance=random.random(),  # noqa: S311  (spreads load, guards nothing)
            retry_after_s=outcome.retry_after_s,
        )
        again = outcome.at + timedelta(seconds=again_s)
        return replace(
            found,
            attempts=found.attempts + 1,
            waited_s=found.waited_s + _last_wait_s(found),
            next_at=again,
            barred_until=again if outcome.retry_after_s is not None else None,
            error=outcome.error,
            at=outcome.at,
            bound=sending.key if outcome.unsure or outcome.reached else found.bound,
            repeat=found.repeat or outcome.unsure,
            reached=outcome.reached,
        )

    def _put(self, item: OutboxEntry, delivery_: Delivery) -> None:
        deliveries = {**(item.deliveries or {}), delivery_.receiver: delivery_}
        self._outbox.update(replace(item, deliveries=deliveries))

    def _log(self, sending: Sending, outcome: Outcome) -> None:
        """Log one line for each delivery and for the first failure of a receiver."""
        count = plural(len(sending.messages), "message")
        if outcome.delivered:
            logger.info("delivered %s to %s", count, sending.label)
            self._failing.discard(sending.receiver)
        elif sending.receiver not in self._failing:
            self._failing.add(sending.receiver)
            logger.error(
                "could not deliver %s to %s: %s; k6d tries again",
                *(count, sending.label, outcome.error),
            )

    def _give_up(
        self, entries: list[OutboxEntry], expired: Iterable[tuple[str, str]], now: datetime
    ) -> None:
        items = {item.message.id: item for item in entries}
        for message, receiver in expired:
            item = self._current(items[message])
            found = (item.deliveries or {})[receiver]
            self._put(item, replace(found, state=State.UNDELIVERABLE, at=now))
            logger.error(
                "gave up: message %s cannot be delivered to %s: %s; see k6d outbox",
                *(message, found.label, found.error),
            )

    def _current(self, item: OutboxEntry) -> OutboxEntry:
        """Return the entry from the disk; an expiry at another receiver may have changed it."""
        return next((i for i in self._outbox.waiting() if i.message.id == item.message.id), item)

    async def _sleep(self, until: datetime) -> None:
        """Sleep until `until`, the end of a helper, a new message, or a change of the clock."""
        loop = asyncio.get_running_loop()
        left_s = (until - datetime.now(UTC)).total_seconds()
        end, offset_s = loop.time() + min(left_s, LONGEST_SLEEP_S), _clock_offset_s()
        while not self._wake.is_set() and self._outbox.changed() == self._seen:
            left_s = end - loop.time()
            if left_s <= 0 or abs(_clock_offset_s() - offset_s) > CLOCK_SLACK.total_seconds():
                break
            # Not `wait_for`: up to Python 3.11 it loses a cancellation that comes with the news.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, POLL_S)):
                    await self._wake.wait()
        self._wake.clear()


def _last_wait_s(found: Delivery) -> float:
    """Return the planned wait after the last attempt, in seconds; clock changes do not count."""
    if not found.attempts or found.at is None or found.next_at is None:
        return 0.0
    return min(max((found.next_at - found.at).total_seconds(), 0.0), LONGEST_RETRY_AFTER_S)


def _clock_offset_s() -> float:
    """System clock minus monotonic clock, in seconds; it changes when the system clock is set."""
    return time.time() - time.monotonic()
