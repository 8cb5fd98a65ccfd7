"""Decides what a schedule does now; pure functions of its plan, its stored entry and the time.

Each due time has exactly one of three results: it starts a run; it is reported as missed; or, after
a time in which nothing could start, one run catches up on several due times.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.core.job import SUITE, Missed
from k6d.core.text import covers
from k6d.settings.cron import parse

if TYPE_CHECKING:
    from k6d.settings import Schedule, ScriptSchedule
    from k6d.settings.cron import Cron
    from k6d.settings.suites import Suite

# A busy event loop is late by seconds; a start that is later than this is missed.
LATE = timedelta(seconds=60)
# Clock corrections are smaller; if the clock is set back by more, the next start is recalculated.
CORRECTION = timedelta(minutes=10)
MOST_COUNTED = 1_000


@frozen
class Plan:
    """The schedule of one script: `cron`, always `offset` later; `rule` is both as text."""

    script: str
    cron: Cron
    rule: str
    offset: timedelta = timedelta(0)
    catch_up: bool = True

    def after(self, moment: datetime) -> datetime:
        """Return the first start after `moment`."""
        return self.cron.after(moment - self.offset) + self.offset

    def before(self, moment: datetime) -> datetime | None:
        """Return the last start at `moment` or before."""
        due = self.cron.before(moment - self.offset)
        return due + self.offset if due else None

    def count(self, first: datetime, last: datetime) -> int:
        """Return the number of starts from `first` to `last`, at most MOST_COUNTED."""
        return self.cron.count(first - self.offset, last - self.offset, limit=MOST_COUNTED)


@frozen
class Entry:
    """The stored data of a plan: its `rule`, the `next` start, when that was calculated (`at`),
    and the `last` start that a run was queued for."""

    rule: str
    next: datetime
    at: datetime
    last: datetime | None = None


@frozen
class Step:
    """The new entry; `due`: start a run for that time; `missed`: report it."""

    entry: Entry
    due: datetime | None = None
    missed: Missed | None = None


def step(
    plan: Plan, entry: Entry | None, *, now: datetime, busy: str | None = None, late: str = ""
) -> Step:
    """Return what to do at `now`; call it at every start or soon after.

    `busy` says why the script cannot start now (it is running). `late` says why the call is late,
    if it is. Store the entries of one script in the order of the calls.
    """
    if entry is None or entry.rule != plan.rule:
        return Step(entry=Entry(rule=plan.rule, next=plan.after(now), at=now))
    if now < entry.at - CORRECTION:
        return Step(entry=replace(entry, next=plan.after(now), at=now))
    if now < entry.next:
        return Step(entry=entry)
    last = plan.before(now)
    if last is None or last < entry.next:  # impossible if `entry` belongs to this plan
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
    """Return the plan of a script: from its `ext.k6d.schedule`, else the first matching pattern."""
    matching = (text for glob, text in settings.scripts.items() if covers(glob, script))
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


def suite_plan(suite: Suite, settings: Schedule) -> Plan:
    """Return the plan of a suite; it starts exactly when its cron expression says."""
    zone = settings.timezone
    cron = parse(suite.cron, zone)
    rule = f"{cron.text} ({zone or 'local time'})"
    name, catch_up = f"{SUITE}{suite.name}", settings.catch_up == "once"
    return Plan(script=name, cron=cron, rule=rule, catch_up=catch_up)


def _missed(plan: Plan, first: datetime, last: datetime, count: int, *, reason: str) -> Missed:
    return Missed(script=plan.script, first=first, last=last, count=count, reason=reason)


def _share(script: str) -> float:
    """Return a fixed number from 0 to 1 for the script, so that its runs have equal intervals."""
    return int.from_bytes(hashlib.sha256(script.encode()).digest()[:4]) / 2**32


def upcoming(plan: Plan, entry: Entry | None, now: datetime, *, limit: int) -> list[datetime]:
    """Return the next starts for the stored `entry`."""
    done = step(plan, entry, now=now)
    starts = [now if done.due else done.entry.next]
    while len(starts) < limit:
        starts.append(plan.after(starts[-1]))
    return starts
