"""Queues due scripts of all schedules, and reports missed starts.

The next due times are in the state `schedule`. A job is stored in the queue before its entry moves
to the next start. So a due run is neither lost nor repeated if k6d is killed.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from k6d.core import reading
from k6d.core.job import SUITE, Job, Missed
from k6d.core.memory import trim
from k6d.core.model import K6dError, Trigger
from k6d.core.numbers import kept_time
from k6d.core.script import Kind
from k6d.core.text import plural
from k6d.jobs.schedule import CORRECTION, Entry, Step, plan_for, step, suite_plan
from k6d.scripts.disabled import Disabled
from k6d.scripts.registry import Registry
from k6d.scripts.starts import STATE
from k6d.settings import parse_script_settings
from k6d.settings.cron import parse_window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from k6d.jobs.queue import JobQueue
    from k6d.jobs.schedule import Plan
    from k6d.scripts.disabled import Disablement
    from k6d.scripts.registry import ScriptState
    from k6d.settings import Settings
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

KEPT_MISSED = 10  # for each script; `k6d schedule` shows them
STOPPED = "k6d was not running"
SET = datetime(2026, 1, 1, tzinfo=UTC)  # a machine without a clock battery boots with an older time
UNSET = "the clock is not set yet"
AWAY = "the scripts folder was away"
ASLEEP = "the machine slept, or its clock was set forward"
UNDER_WAY = "its previous run is still under way"
WAITING = "its previous run is still waiting for its turn"


@dataclass(slots=True)
class Scheduler:
    """The schedules of one daemon; call `tick` when a script is due, and at least every 15 s."""

    settings: Settings
    store: Store
    queue: JobQueue
    on_missed: Callable[[Missed], None] = lambda _missed: None
    _plans: dict[str, Plan] | None = None
    _entries: dict[str, Entry] = field(default_factory=dict)
    _late: str = STOPPED
    _away: str | None = None
    _ticked: datetime | None = None
    _disabled: list[Disablement] = field(default_factory=list)

    def changed(self) -> None:
        """Plan anew at the next tick, because the settings or the scripts have changed."""
        self._plans = None

    def tick(self, now: datetime, *, held: str | None = None) -> datetime | None:
        """Queue due scripts and return the next start.

        While `held` gives a reason, nothing starts; starts that were due meanwhile count as late
        for that reason.
        """
        disabled = Disabled(self.store).all()
        if self._plans is None or self._away or disabled != self._disabled:
            self._disabled = disabled
            self._plans = self._planned()
            trim()  # the file of scripts was read, which may have thousands; k6d may now be idle
        planned, held = self._plans, held or self._away
        if self._ticked and now < self._ticked - CORRECTION:
            logger.warning("the clock was set back to %s; schedules go by it", _clock(now))
        self._ticked = now
        if held:
            self._late = held
            return None
        for plan in planned.values():
            self._step(plan, now)
        self._late = ASLEEP
        return min((self._entries[script].next for script in planned), default=None)

    def hold(self, reason: str) -> None:
        """Note why no script can start now; starts that are due meanwhile are late for it."""
        self._late = reason

    def _planned(self) -> dict[str, Plan]:
        """Return the plans, and remove the entries of scripts that are switched off or gone.

        Removed scripts miss no starts. But if no script is left at all, the folder is probably not
        mounted; then the entries stay, and due starts are missed.
        """
        registry = Registry(self.store, self.settings.scripts)
        known = registry.without_dependencies()
        registry.free_memory()  # the daemon may be idle after this, for long
        found = plans(self.settings, known, self.store)
        self._entries = entries(self.store)
        here = any(map(self._is_there, known))
        self._away = None if here else AWAY
        # A script that was lost from the state may have its own schedule, so its entry stays.
        looked_at = {script for script, state in known.items() if state.kind}
        unknown = set(filter(self._is_there, self._entries.keys() - looked_at))
        for script in self._entries.keys() - found.keys() - unknown if here else ():
            self.store.state(STATE).delete(script)
            del self._entries[script]
        return found

    def _is_there(self, script: str) -> bool:
        if script.startswith(SUITE):
            return any(f"{SUITE}{suite.name}" == script for suite in self.settings.suites)
        return reading.is_file(self.settings.scripts / script)

    def _step(self, plan: Plan, now: datetime) -> None:
        entry = self._entries.get(plan.script)
        job = self.queue.waiting(plan.script)
        busy = None
        if plan.script in self.queue.running:
            busy = UNDER_WAY
        elif job:
            busy = WAITING
        done = step(plan, entry, now=now, busy=busy, late=self._late)
        missed = done.missed
        if job and missed:  # the pending job replaces it, even if its change is reverted
            done = replace(done, missed=replace(missed, caught_up=True))
            if not job.due:
                self.queue.put(replace(job, due=missed.last))
        if done.entry == entry:
            return
        if done.due and not self._is_there(plan.script):
            self.changed()
            return
        # If k6d was killed between both writes, the queue already has the job for this time.
        same = bool(job and entry and job.due and job.due >= entry.next)
        if not same:
            self._start(plan, done)
        self._keep(plan.script, done, missed=None if same else done.missed)

    def _start(self, plan: Plan, done: Step) -> None:
        if done.due:
            path = self.settings.scripts / plan.script
            job = Job(name=plan.script, path=path, trigger=Trigger.SCHEDULED, due=done.due)
            self.queue.put(job)
            logger.info("%s is due by its schedule %s", plan.script, plan.rule)
        if done.missed:
            logger.warning("%s", said(done.missed))
            self.on_missed(done.missed)

    def _keep(self, script: str, done: Step, *, missed: Missed | None) -> None:
        state = self.store.state(STATE)
        before = _list((state.get(script) or {}).get("missed"))
        stored = [*before, asdict(missed)][-KEPT_MISSED:] if missed else before
        self._entries[script] = done.entry
        state.put(script, asdict(done.entry) | {"missed": stored})


def held(settings: Settings, now: datetime) -> str | None:
    """Return why no script may start by itself at `now`: an unset clock or a maintenance window."""
    if now < SET:
        return UNSET
    for text in settings.schedule.maintenance:
        until = parse_window(text, settings.schedule.timezone).until(now)
        if until:
            return f"maintenance ({text}) until {_clock(until)}"
    return None


def plans(settings: Settings, known: Mapping[str, ScriptState], store: Store) -> dict[str, Plan]:
    """Return the plans of all scripts with a schedule that are not disabled, by script."""
    found: dict[str, Plan] = {}
    disabled = Disabled(store)
    for script, seen in known.items():
        raw = seen.settings
        if not settings.schedule.scripts and not (isinstance(raw, dict) and "schedule" in raw):
            continue  # the usual case; there may be thousands of scripts
        if seen.kind is Kind.LIBRARY or not reading.is_file(settings.scripts / script):
            continue
        try:
            own = parse_script_settings(raw, script=script)
        except K6dError:
            continue  # reported when the script was inspected
        plan = plan_for(script, settings.schedule, own.schedule) if own.enabled else None
        if plan and not disabled.of(script):
            found[script] = plan
    for suite in settings.suites if settings.schedule.enabled else ():
        if suite.cron:
            found[f"{SUITE}{suite.name}"] = suite_plan(suite, settings.schedule)
    return found


def entries(store: Store) -> dict[str, Entry]:
    """Return the stored entries, by script."""
    found, state = {}, store.state(STATE)
    for script, stored in state.all().items():
        rule, following, at = (
            stored.get("rule"),
            kept_time(stored.get("next")),
            kept_time(stored.get("at")),
        )
        if isinstance(rule, str) and following and at:
            last = kept_time(stored.get("last"))
            found[script] = Entry(rule=rule, next=following, at=at, last=last)
        else:
            logger.error("%s: %s begins anew: its entry does not parse", state.path, script)
    return found


def missed_by(store: Store) -> dict[str, list[Missed]]:
    """Return the latest missed starts by script, oldest first."""
    return {
        script: [one for raw in _list(stored.get("missed")) if (one := _missed(raw))]
        for script, stored in store.state(STATE).all().items()
    }


def said(missed: Missed) -> str:
    """Describe in one line which starts were missed, why, and which run replaces them."""
    span = _clock(missed.first)
    if missed.count > 1:
        span = f"from {span} to {_clock(missed.last)}"
    ending = "; one run stands in" if missed.caught_up else ""
    runs = plural(missed.count, "scheduled run")
    return f"{missed.script}: {runs} did not start in time ({span}): {missed.reason}{ending}"


def pause_s(now: datetime, following: datetime | None, *, longest_s: float) -> float:
    """Return the seconds until `following`, at most `longest_s`, because clocks can jump."""
    if following is None:
        return longest_s
    return min(max((following - now) / timedelta(seconds=1), 0.05), longest_s)


def _missed(raw: Any) -> Missed | None:
    """Parse a stored missed start; None if it is malformed."""
    try:
        first, last = kept_time(raw.get("first")), kept_time(raw.get("last"))
        missed = Missed(**raw | {"first": first, "last": last})
    except (AttributeError, TypeError):
        return None
    return missed if first and last and isinstance(missed.count, int) else None


def _list(stored: object) -> list[Any]:
    return stored if isinstance(stored, list) else []


def _clock(moment: datetime) -> str:
    """Format a time in the machine's time zone."""
    return f"{moment.astimezone(UTC).astimezone():%Y-%m-%d %H:%M:%S %Z}"
