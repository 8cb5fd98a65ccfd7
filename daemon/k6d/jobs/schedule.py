"""What a schedule wants now: pure decisions over a plan, what is known of it, and the time.

Every time that is due ends in exactly one of three ways: it starts a run, it is missed and said so,
or, after a while in which nothing could start, it is one of several that a single run catches up.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from k6d.core.model import Missed
from k6d.settings.cron import parse

if TYPE_CHECKING:
    from k6d.settings import Schedule, ScriptSchedule
    from k6d.settings.cron import Cron

# A loop that is busy is late by seconds; what is later than this did not start when it should.
LATE = timedelta(seconds=60)
# Clocks are corrected by less; when one is set back by more, what is due is reckoned anew.
CORRECTION = timedelta(minutes=10)
MOST_COUNTED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When one script is to run: `cron`, always `offset` later; `rule` is both in words."""

    script: str
    cron: Cron
    rule: str
    offset: timedelta = timedelta(0)
    catch_up: bool = True

    def after(self, moment: datetime) -> datetime:
        """The first start later than `moment`."""
        return self.cron.after(moment - self.offset) + self.offset

    def before(self, moment: datetime) -> datetime | None:
        """The last start at `moment` or earlier."""
        due = self.cron.before(moment - self.offset)
        return due + self.offset if due else None

    def count(self, first: datetime, last: datetime) -> int:
        """How many starts there are from `first` to `last`, counted up to MOST_COUNTED."""
        return self.cron.count(first - self.offset, last - self.offset, limit=MOST_COUNTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is kept of a plan: its `rule`, the `next` start, when that was reckoned (`at`), and the
    `last` start that a run was queued for."""

    rule: str
    next: datetime
    at: datetime
    last: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The entry from now on; `due`: start a run for that time; `missed`: tell of it."""

    entry: Entry
    due: datetime | None = None
    missed: Missed | None = None


def step(
    plan: Plan, entry: Entry | None, *, now: datetime, busy: str | None = None, late: str = ""
) -> Step:
    """What to do at `now`, given that this is asked at every start or soon after.

    `busy` says why the script cannot start now (it is under way); `late` says why nobody asked in
    time, if so. The steps of one script must be kept in order, and so must their entries.
    """
    if entry is None or entry.rule != plan.rule:
        return Step(entry=Entry(rule=plan.rule, next=plan.after(now), at=now))
    if now < entry.at - CORRECTION:
        return Step(entry=replace(entry, next=plan.after(now), at=now))
    if now < entry.next:
        return Step(entry=entry)
    last = plan.before(now)
    if last is None or last < entry.next:  # not reached while `entry` is of this plan
        return Step(entry=replace(entry, next=plan.after(now), at=now))
    following = replace(entry, next=plan.after(now), at=now)
    count = plan.count(entry.next, last)
    if busy:
        return Step(entry=following, missed=_missed(plan, entry.next, last, count, reason=busy))
    in_time = now - last <= LATE
    start = in_time or plan.catch_up
    missed = None
    if count > in_time:
        until = (plan.before(last - timedelta(microseconds=1)) or last) if in_time else last
        missed = _missed(plan, entry.next, until, count - in_time, reason=late)
        missed = replace(missed, caught_up=start)
    return Step(
        entry=replace(following, last=last) if start else following,
        due=last if start else None,
        missed=missed,
    )


def plan_for(script: str, settings: Schedule, own: ScriptSchedule | None = None) -> Plan | None:
    """The plan of a script: its own `ext.k6d.schedule`, else the first pattern that matches."""
    matching = (text for glob, text in settings.scripts.items() if fnmatchcase(script, glob))
    text = next(matching, "") if own is None else own.cron
    if not text or not settings.enabled:
        return None
    zone, jitter_s, catch_up = settings.timezone, settings.jitter, settings.catch_up
    if own:
        zone, catch_up = own.timezone or zone, own.catch_up or catch_up
        jitter_s = jitter_s if own.jitter is None else own.jitter
    cron = parse(text, zone)
    offset = timedelta(seconds=round(_share(script) * jitter_s))
    return Plan(
        script=script,
        cron=cron,
        rule=f"{cron.text} ({zone or 'local time'}, +{offset.total_seconds():g} s)",
        offset=offset,
        catch_up=catch_up == "once",
    )


def _missed(plan: Plan, first: datetime, last: datetime, count: int, *, reason: str) -> Missed:
    return Missed(script=plan.script, first=first, last=last, count=count, reason=reason)


def _share(script: str) -> float:
    """The script's place between 0 and 1: always the same, so that its runs are evenly apart."""
    return int.from_bytes(hashlib.sha256(script.encode()).digest()[:4]) / 2**32


def upcoming(plan: Plan, entry: Entry | None, now: datetime, *, limit: int) -> list[datetime]:
    """The next starts, as the daemon that keeps `entry` sees them."""
    done = step(plan, entry, now=now)
    starts = [now if done.due else done.entry.next]
    while len(starts) < limit:
        starts.append(plan.after(starts[-1]))
    return starts
