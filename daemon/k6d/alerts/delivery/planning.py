"""Decide who gets a message, when, and together with which others; pure functions.

Tags work as in Apprise. A message with tags goes to the receivers that have one of them. Receivers
without tags, or with the tag "always", get every message. A message that matches no route goes only
to these. Without routes every receiver gets every message.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from k6d.alerts.records import LONGEST_RETRY_AFTER_S, Change, Sending, State
from k6d.core.frozen import frozen
from k6d.core.model import Severity
from k6d.core.text import covers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from k6d.alerts.records import Delivery, Message, OutboxEntry
    from k6d.settings import QuietHours, Route

    Pair = tuple[OutboxEntry, Delivery]

ALWAYS = "always"
MAX_MESSAGES = 3  # more than these at once for one receiver are one digest
MAX_WAIT_S = 3600.0
# A time that is further in the future than it can be was written before the clock was set back.
CLOCK_SLACK = timedelta(minutes=1)


@frozen
class Patience:
    """How long messages wait, in seconds."""

    group_wait_s: float = 10.0
    group_interval_s: float = 300.0
    horizon_s: float = 259_200.0
    quiet: QuietHours | None = None


@frozen
class Moment:
    """The time of planning and its circumstances.

    `last_delivered` holds the time of the last delivery by (receiver, `shared_cause`). `hurry`
    sends messages that would only wait to be grouped.
    """

    now: datetime
    patience: Patience
    last_delivered: dict[tuple[str, str], datetime] = field(default_factory=dict)
    hurry: bool = False


@frozen
class Plan:
    """What to send now, which deliveries have passed the horizon, and when to look again."""

    sendings: list[Sending] = field(default_factory=list)
    expired: list[tuple[str, str]] = field(default_factory=list)
    wake_at: datetime | None = None


def tags_for(
    script: str, severity: Severity | None, routes: Sequence[Route], own: bool | Collection[str]
) -> list[str] | None:
    """Return the tags of a message about `script`: those of all matching routes and its own.

    None means all receivers. An empty list means that there are routes, but none matches.
    """
    if not routes and isinstance(own, bool):
        return None
    tags = [] if isinstance(own, bool) else list(own)
    for route in routes:
        fits = any(covers(pattern, script) for pattern in route.scripts)
        if fits and (severity or Severity.LOW).rank >= route.min_severity.rank:
            tags += route.tags
    return list(dict.fromkeys(tags))


def addressed(receiver_tags: Collection[str], tags: Iterable[str] | None) -> bool:
    """Return whether a receiver with these tags gets the message; a tag "a b" means both."""
    given = set(receiver_tags)
    if not given or tags is None or ALWAYS in given:
        return True
    return any(set(re.split(r"[ ,]+", tag)) <= given for tag in tags)


def shared_cause(message: Message) -> str | None:
    """Return the key that the message shares with those of other scripts with the same cause.

    None for a message about one script alone or about an incident that was notified before.
    """
    if message.cause is None or message.change not in (Change.OPENED, Change.RESOLVED):
        return None
    return f"{message.change} {message.cause}"


def last_delivered(entries: Iterable[OutboxEntry]) -> dict[tuple[str, str], datetime]:
    """Return the time of the last delivery by (receiver, `shared_cause`)."""
    latest: dict[tuple[str, str], datetime] = {}
    for item in entries:
        shared = shared_cause(item.message)
        for receiver, found in (item.deliveries or {}).items():
            if shared and found.state is State.DELIVERED and found.at:
                latest[receiver, shared] = max(found.at, latest.get((receiver, shared), found.at))
    return latest


def quiet_until(quiet: QuietHours | None, now: datetime) -> datetime | None:
    """Return the end of the quiet hours that contain `now`, in UTC; None outside of them."""
    if quiet is None:
        return None
    local = now.astimezone(ZoneInfo(quiet.zone) if quiet.zone else None)
    clock = local.time().replace(tzinfo=None)
    if quiet.start < quiet.end:
        inside, tomorrow = quiet.start <= clock < quiet.end, False
    else:
        inside, tomorrow = clock >= quiet.start or clock < quiet.end, clock >= quiet.start
    if not inside:
        return None
    day = local.date() + timedelta(days=1) if tomorrow else local.date()
    end = datetime.combine(day, quiet.end)
    if quiet.zone:
        return end.replace(tzinfo=ZoneInfo(quiet.zone)).astimezone(UTC)
    return end.astimezone(UTC)  # a naive time is the machine's own


def wait_s(attempts: int, *, first_s: float, chance: float, retry_after_s: float | None) -> float:
    """Return the seconds until the next attempt: as the receiver asks, else doubling up to an hour.

    `chance` (0 to 1) spreads the wait over its upper half, so that waiting messages do not arrive
    all at once.
    """
    if retry_after_s is not None:
        return min(retry_after_s, LONGEST_RETRY_AFTER_S) + chance * min(first_s, 1.0)
    longest = min(first_s * 2.0 ** min(attempts - 1, 20), max(MAX_WAIT_S, first_s))
    return longest * (0.5 + chance / 2)


def plan(entries: Sequence[OutboxEntry], moment: Moment, *, busy: Collection[str] = ()) -> Plan:
    """Return what to do at `moment`; receivers that are `busy` get no second sending."""
    receivers = dict.fromkeys(
        r
        for item in entries
        for r, d in (item.deliveries or {}).items()
        if d.state is State.WAITING
    )
    sendings: list[Sending] = []
    expired: list[tuple[str, str]] = []
    wakes: list[datetime] = []
    for receiver in receivers:
        if receiver in busy:
            continue
        waiting, late = _waiting(entries, receiver, moment)
        expired += [(item.message.id, receiver) for item in late]
        barred = [d.barred_until for _, d in waiting if d.barred_until and not _ahead(d.at, moment)]
        if barred and max(barred) > moment.now:
            wakes.append(max(barred))
            continue
        due = [
            (_due_at(item.message, delivery, moment), item, delivery) for item, delivery in waiting
        ]
        later = [(at, item, delivery) for at, item, delivery in due if at > moment.now]
        # A sending that may have arrived is repeated alone, before newer messages of its incident.
        held = {item.message.incident for _, item, delivery in later if delivery.bound} - {None}
        ready = [
            (item, delivery)
            for at, item, delivery in due
            if at <= moment.now and (delivery.bound or item.message.incident not in held)
        ]
        if ready:
            free = [(i, d) for i, d in waiting if d.bound or i.message.incident not in held]
            sendings.append(_sending(receiver, _together(ready, free)))
        else:
            wakes += [at for at, _, _ in later]
    return Plan(sendings=sendings, expired=expired, wake_at=min(wakes, default=None))


def _waiting(
    entries: Sequence[OutboxEntry], receiver: str, moment: Moment
) -> tuple[list[Pair], list[OutboxEntry]]:
    """Return what waits for the receiver, oldest first, and what has passed the horizon.

    The horizon counts the waits between attempts, since the clock may have been set or the machine
    switched off.
    """
    waiting, late = [], []
    for item in entries:
        delivery = (item.deliveries or {}).get(receiver)
        if delivery is None or delivery.state is not State.WAITING:
            continue
        if delivery.waited_s > moment.patience.horizon_s:
            late.append(item)
        else:
            waiting.append((item, delivery))
    return sorted(waiting, key=lambda pair: (pair[0].message.at, pair[0].message.id)), late


def _ahead(at: datetime | None, moment: Moment) -> bool:
    """Return whether the time is in the future, because the clock was set back since."""
    return at is not None and at > moment.now + CLOCK_SLACK


def _due_at(message: Message, delivery: Delivery, moment: Moment) -> datetime:
    """Return when the message is due; a due time from a clock that was ahead counts as now."""
    patience, now = moment.patience, moment.now
    made = now if _ahead(message.at, moment) else message.at
    due = min(made, now)
    if delivery.next_at and not _ahead(delivery.at, moment):
        due = delivery.next_at
    if not delivery.attempts and not moment.hurry:
        if made is message.at:
            due = max(due, made + timedelta(seconds=patience.group_wait_s))
        last = moment.last_delivered.get((delivery.receiver, shared_cause(message) or ""))
        if last is not None and not _ahead(last, moment):
            due = max(due, last + timedelta(seconds=patience.group_interval_s))
    if message.severity is not Severity.CRITICAL:
        due = max(due, quiet_until(patience.quiet, max(due, now)) or due)
    return due


def _together(ready: list[Pair], waiting: list[Pair]) -> list[Pair]:
    """Return the messages to send as one: those with the cause of the oldest; if many, all.

    Waiting messages with the same shared cause are added, so that one message names all scripts.
    Waiting messages about the same incidents are added, so that none arrives after its resolution.
    """
    if bound := ready[0][1].bound:
        return [pair for pair in waiting if pair[1].bound == bound]
    groups: dict[str, list[Pair]] = {}
    for item, delivery in ready:
        if delivery.bound is None:
            key = item.message.cause or item.message.script
            groups.setdefault(key, []).append((item, delivery))
    many = len(groups) > MAX_MESSAGES
    chosen = (
        [pair for group in groups.values() for pair in group]
        if many
        else next(iter(groups.values()))
    )
    shared_causes = {shared_cause(item.message) for item, _ in chosen} - {None}
    free = [pair for pair in waiting if pair[1].bound is None]
    chosen += [pair for pair in free if shared_cause(pair[0].message) in shared_causes]
    incidents = {item.message.incident for item, _ in chosen} - {None}
    ids = {item.message.id for item, _ in chosen}
    return [
        pair for pair in free if pair[0].message.id in ids or pair[0].message.incident in incidents
    ]


def _sending(receiver: str, pairs: list[Pair]) -> Sending:
    messages = [item.message.id for item, _ in pairs]
    key = hashlib.sha256("\n".join([receiver, *messages]).encode()).hexdigest()[:32]
    return Sending(
        key=key,
        receiver=receiver,
        label=pairs[0][1].label,
        messages=messages,
        repeat=any(delivery.repeat for _, delivery in pairs),
        reached=list(pairs[0][1].reached),  # of a bound sending all have the same
    )
