"""The records of alerting: incidents, announcements, messages and deliveries.

All are stored as JSON with these field names. Times are aware and in UTC.
"""

from __future__ import annotations

from dataclasses import field
from datetime import datetime  # noqa: TC003  (pydantic reads the annotations at run time)
from enum import StrEnum

from k6d.core.frozen import frozen
from k6d.core.model import Severity  # noqa: TC001

LONGEST_RETRY_AFTER_S = 86_400.0  # the longest wait that a receiver may ask for


class Change(StrEnum):
    """The kind of a message; NOTICE is about k6d itself or about a run that did not happen."""

    OPENED = "opened"
    WORSENED = "worsened"
    CHANGED = "changed"
    IMPROVED = "improved"
    RESOLVED = "resolved"
    REMINDER = "still open"
    NOTICE = "notice"


@frozen
class Observation:
    """The result of one run: anomalous (with a severity), healthy, or neither.

    `problems` maps keys, which stay the same from run to run, to texts. `cause` names a common
    cause for several scripts, None for a problem of this script alone. `deliberate`: the run
    followed an edit, a manual start, or the return of k6. `edited`: it followed an edit. `series`
    maps each measured series to whether it was judged against earlier runs. `unsettled`: re-runs
    are still to come, and the run is recorded again after them. `first` is the first run with the
    problem: this run, or an earlier one that a lasting regression names; `began` is its start.
    """

    run: str
    at: datetime
    script: str
    severity: Severity | None = None
    healthy: bool = False
    problems: dict[str, str] = field(default_factory=dict)
    cause: str | None = None
    deliberate: bool = False
    edited: bool = False
    series: dict[str, bool] = field(default_factory=dict)
    unsettled: bool = False
    overrides: dict[str, str] = field(default_factory=dict)
    first: str = ""
    began: datetime | None = None


@frozen
class Incident:
    """A problem of one script, from its first failing run to the run that resolved it.

    `told` is the severity of the last notification, None before the first. `told_peak` is the worst
    notified severity; `told_problems` are the notified problems. `healthy`, `milder` and `graver`
    (than `told`) count runs in a row. `silent` counts healthy runs that could not judge the
    problem. `returns` counts how often the incident worsened again after it had improved.
    `acknowledged` is when a person took it on, with a `comment`: no reminder is sent until it
    changes for the worse.
    """

    id: str
    script: str
    since: datetime
    severity: Severity
    peak: Severity
    problems: dict[str, str]
    first_run: str
    last_run: str
    last_seen: datetime
    cause: str | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    runs: int = 1
    healthy: int = 0
    milder: int = 0
    graver: int = 0
    silent: int = 0
    returns: int = 0
    told: Severity | None = None
    told_peak: Severity | None = None
    told_at: datetime | None = None
    told_problems: list[str] = field(default_factory=list)
    changes: int = 0
    resolved_at: datetime | None = None
    acknowledged: datetime | None = None
    comment: str = ""


@frozen
class Announcement:
    """One change of an incident, to notify once; `key` identifies it for ever.

    `accepted` is the reason why a person accepted the change as normal, None if nobody did.
    """

    key: str
    change: Change
    at: datetime
    incident: Incident
    run: str
    before: Severity | None = None
    accepted: str | None = None


@frozen
class IncidentState:
    """The stored incident state of a script.

    `outgoing` holds announcements that are not in the outbox yet. `seen` lists recorded runs, the
    newest last. `last` is the incident that was resolved last. `notify` is the script's own
    setting. `expected` lists runs that are to be recorded. `gone_since` is the time when the file
    of a script with an open incident was first found missing. `first_failing` is the first of the
    failing runs in a row; `failing_since` is its start.
    """

    script: str
    failures: int = 0
    failing_since: datetime | None = None
    first_failing: str | None = None
    incident: Incident | None = None
    last: Incident | None = None
    seen: list[str] = field(default_factory=list)
    outgoing: list[Announcement] = field(default_factory=list)
    notify: bool | list[str] = True
    expected: list[str] = field(default_factory=list)
    gone_since: datetime | None = None


@frozen
class Point:
    """One run in a chart."""

    at: datetime
    value: float
    bad: bool = False


@frozen
class Chart:
    """The history of one metric, oldest run first; values in `unit`."""

    title: str
    unit: str
    points: list[Point]


@frozen
class Message:
    """A message in parts; `delivery.render` formats it.

    `id` is the idempotency key and safe as a file name. `subject` follows the severity and the
    script in the title. `hidden` counts findings that were left out. `facts`, `commands`, `link`
    and `links` are pairs of a label and a text. `tags` select receivers; None means all.
    """

    id: str
    at: datetime
    change: Change
    script: str
    subject: str
    severity: Severity | None = None
    incident: str | None = None
    since: datetime | None = None
    cause: str | None = None
    findings: list[str] = field(default_factory=list)
    hidden: int = 0
    facts: list[tuple[str, str]] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)
    link: tuple[str, str] | None = None
    links: list[tuple[str, str]] = field(default_factory=list)
    chart: Chart | None = None
    tags: list[str] | None = None


@frozen
class Receiver:
    """One Apprise URL: `id` is a keyed hash of it, `label` its redacted form, `tags` its tags."""

    id: str
    label: str
    tags: list[str] = field(default_factory=list)


class State(StrEnum):
    """The state of a message at one receiver."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    UNDELIVERABLE = "undeliverable"


@frozen
class Delivery:
    """The delivery of a message to one receiver.

    `next_at` is the time of the next attempt. `barred_until` is the time that the receiver asked
    for (Retry-After). `waited_s` is the sum of the waits between attempts. `reached` holds keyed
    hashes of the addresses behind the URL that have the message. `bound` is the key of a sending
    that may have arrived: it is repeated unchanged, without other messages.
    """

    receiver: str
    label: str
    state: State = State.WAITING
    attempts: int = 0
    next_at: datetime | None = None
    barred_until: datetime | None = None
    waited_s: float = 0.0
    error: str | None = None
    at: datetime | None = None
    bound: str | None = None
    repeat: bool = False
    reached: list[str] = field(default_factory=list)


@frozen
class OutboxEntry:
    """A message in the outbox; `deliveries` is None until its receivers are known.

    `problem` says why a receiver may be unknown, for example a broken Apprise file. The message
    waits until the problem is solved, even when all known receivers have it.
    """

    message: Message
    deliveries: dict[str, Delivery] | None = None
    problem: str | None = None


@frozen
class Outcome:
    """The result of one sending; `unsure`: it may have arrived although it was not confirmed."""

    at: datetime
    delivered: bool
    error: str | None = None
    unsure: bool = False
    retry_after_s: float | None = None
    reached: list[str] = field(default_factory=list)


@frozen
class Sending:
    """Messages that go to one receiver together; `begun` is set before the helper connects."""

    key: str
    receiver: str
    label: str
    messages: list[str]
    repeat: bool = False
    begun: bool = False
    reached: list[str] = field(default_factory=list)
    outcome: Outcome | None = None
