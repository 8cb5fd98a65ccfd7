"""The records of alerting: incidents, what is told of them, and what became of the messages.

All of them are kept as JSON under these field names; times are aware, in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003  (pydantic reads the annotations at run time)
from enum import StrEnum

from k6d.core.model import Severity  # noqa: TC001

LONGEST_RETRY_AFTER_S = 86_400.0  # what a receiver may ask for


class Change(StrEnum):
    """What is told of an incident; a notice is about k6d itself or about what did not happen."""

    OPENED = "opened"
    WORSENED = "worsened"
    CHANGED = "changed"
    IMPROVED = "improved"
    RESOLVED = "resolved"
    REMINDER = "still open"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one run says about its script: anomalous (a severity), healthy, or nothing at all.

    `problems` maps what is wrong, as a key that stays the same from run to run, to its words.
    `cause` names what scripts that fail together have in common; None when it is the script alone.
    `deliberate` is a run after an edit, by hand, or because k6 is back; `edited` one after an edit.
    `series` maps what the run measured to whether that was judged against earlier runs. `unsettled`
    is a run whose re-runs are not done, so that it will be taken in again when they are. `first` is
    the run since which it is so, this one or an earlier one that a lasting regression names;
    `began` is when that run began.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something wrong with one script, from the first failing run to the run that resolved it.

    `told` is the severity that people know of, None while nobody was told, `told_peak` the worst
    that they were ever told of, `told_problems` what they were told is wrong. `healthy`, `milder`
    and `graver` (than told) count runs in a row, `silent` healthy ones that could not judge what is
    wrong, `returns` how often it got as bad again as it was before.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One change of an incident, to be told once: `key` names it for good.

    `accepted` is why somebody took what was wrong for normal; None when nobody did.
    """

    key: str
    change: Change
    at: datetime
    incident: Incident
    run: str
    before: Severity | None = None
    accepted: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is remembered of a script between its runs.

    `outgoing` holds announcements that are decided but not in the outbox yet; `seen` the runs that
    were taken in, the newest last; `last` the incident resolved last; `notify` is what the script
    itself says of who is to be told; `expected` are runs to be taken in; `gone_since` is when the
    script, whose incident is open, was first found to be away since its last run. `failing_since`
    is when the run `first_failing` began, the first of the failing runs in a row.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run in a chart."""

    at: datetime
    value: float
    bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The history of one metric, oldest run first; values in `unit`."""

    title: str
    unit: str
    points: list[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is to be told, in parts; how it looks is the receiver's business.

    `id` is the idempotency key and safe as a file name. `subject` is what the title says after the
    mark and the script. `hidden` counts findings left out. `facts`, `commands` and `link` are
    pairs of a label and a text. `tags` choose receivers; None means all.
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
    chart: Chart | None = None
    tags: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """One Apprise URL: `id` is a keyed hash of it, `label` its redacted form, `tags` its tags."""

    id: str
    label: str
    tags: list[str] = field(default_factory=list)


class State(StrEnum):
    """Where a message stands at one receiver."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    UNDELIVERABLE = "undeliverable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message on its way to one receiver.

    `next_at` is when to try again, `barred_until` when the receiver itself allows it (Retry-After);
    `waited_s` adds up the waits between its attempts; `reached` are keyed hashes of those behind
    the URL who have it already. `bound` names a sending that may have arrived in part or whole: it
    is sent again as it was, and with nothing else.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A message in the outbox; `deliveries` is None while nobody is known who gets it.

    `problem` is why somebody who should get it may not be known: a broken receiver file, say. As
    long as there is one, the message waits, also when all who are known have it.
    """

    message: Message
    deliveries: dict[str, Delivery] | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a helper found out about one sending.

    `unsure` when the receiver may have taken it although it did not say so.
    """

    at: datetime
    delivered: bool
    error: str | None = None
    unsure: bool = False
    retry_after_s: float | None = None
    reached: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """Messages that go to one receiver as one, now; `begun` before the receiver is spoken to."""

    key: str
    receiver: str
    label: str
    messages: list[str]
    repeat: bool = False
    begun: bool = False
    reached: list[str] = field(default_factory=list)
    outcome: Outcome | None = None
