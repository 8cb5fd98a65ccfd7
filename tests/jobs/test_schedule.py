"""Schedules under a simulated clock: on time, late, busy, jumps of the clock, a year."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from k6d.jobs.schedule import CORRECTION, LATE, Entry, Plan, Step, plan_for, step, upcoming
from k6d.settings import Schedule, ScriptSchedule, parse_script_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def _plan(cron: str = "@hourly", zone: str = "UTC", **changes: object) -> Plan:
    own = ScriptSchedule(cron=cron, timezone=zone, **changes)
    plan = plan_for("cart.js", Schedule(), own)
    assert plan is not None
    return plan


def _steps(plan: Plan, moments: Iterable[datetime], *, busy: str | None = None) -> list[Step]:
    entry, found = None, []
    for moment in moments:
        found.append(step(plan, entry, now=moment, busy=busy, late="asleep"))
        entry = found[-1].entry
    return found


def test_a_new_or_edited_schedule_begins_with_its_next_time() -> None:
    """Nothing runs for times before the schedule was there."""
    first = step(_plan(), None, now=NOON + MINUTE)
    assert (first.due, first.missed, first.entry.next) == (None, None, NOON + HOUR)
    edited = step(_plan("@daily"), first.entry, now=NOON + 3 * HOUR)
    assert (edited.due, edited.missed) == (None, None)
    assert edited.entry.next == datetime(2026, 11, 23, tzinfo=UTC)


def test_a_run_starts_once_at_its_time() -> None:
    """Not a second before; asked again, not twice; a few seconds late is on time."""
    moments = [NOON - MINUTE, NOON - SECOND, NOON + 5 * SECOND, NOON + 6 * SECOND]
    assert [one.due for one in _steps(_plan(), moments)] == [None, None, NOON, None]
    assert all(one.missed is None for one in _steps(_plan(), moments))


def test_many_missed_times_make_one_run_and_are_said() -> None:
    """After five hours' sleep one run stands in for the five that were missed, with the reason."""
    caught_up = _steps(_plan(), [NOON + MINUTE, NOON + 5 * HOUR + 2 * MINUTE])[1]
    assert caught_up.due == NOON + 5 * HOUR
    assert caught_up.entry.next == NOON + 6 * HOUR
    missed = caught_up.missed
    assert missed is not None
    assert (missed.first, missed.last, missed.count) == (NOON + HOUR, NOON + 5 * HOUR, 5)
    assert (missed.reason, missed.caught_up) == ("asleep", True)


def test_catching_up_can_be_switched_off() -> None:
    """Then what was missed is said, and the next run is the next one due."""
    woken = NOON + 5 * HOUR + 2 * MINUTE
    skip, once = _plan(catch_up="skip"), _plan()
    before, skipped = _steps(skip, [NOON + MINUTE, woken])
    assert skipped.due is None
    assert upcoming(skip, before.entry, woken, limit=1) == [NOON + 6 * HOUR]
    assert upcoming(once, before.entry, woken, limit=2) == [woken, NOON + 6 * HOUR]
    assert skipped.missed is not None
    assert (skipped.missed.count, skipped.missed.caught_up) == (5, False)


def test_waking_at_a_time_that_is_due_is_on_time() -> None:
    """The run starts as usual, and those before it were missed."""
    woken = _steps(_plan(catch_up="skip"), [NOON + MINUTE, NOON + 5 * HOUR + SECOND])[1]
    assert woken.due == NOON + 5 * HOUR
    assert woken.missed is not None
    assert (woken.missed.count, woken.missed.last) == (4, NOON + 4 * HOUR)


def test_a_script_never_overlaps_itself() -> None:
    """What is due while its run is under way is missed for that reason; later ones start."""
    begun = _steps(_plan(), [NOON + MINUTE])[0].entry
    overlapping = step(_plan(), begun, now=NOON + HOUR, busy="under way")
    assert overlapping.due is None
    assert overlapping.missed is not None
    assert (overlapping.missed.count, overlapping.missed.reason) == (1, "under way")
    assert step(_plan(), overlapping.entry, now=NOON + 2 * HOUR).due == NOON + 2 * HOUR


def test_a_clock_set_back_does_not_stop_the_schedule() -> None:
    """By much: the next time is reckoned anew. By little: nothing is repeated."""
    ran = _steps(_plan(), [NOON - MINUTE, NOON])[1].entry
    corrected = step(_plan(), ran, now=NOON - 10 * SECOND)
    assert corrected.due is None
    assert step(_plan(), corrected.entry, now=NOON).due is None
    back = step(_plan(), ran, now=NOON - 9000 * HOUR + MINUTE)
    assert back.due is None
    assert back.entry.next == NOON - 8999 * HOUR


def test_a_clock_set_forward_by_years_makes_one_run() -> None:
    """And it is not counted for minutes on end."""
    jumped = _steps(_plan("* * * * *"), [NOON, NOON + 90_000 * HOUR])[1]
    assert jumped.due == NOON + 90_000 * HOUR
    assert jumped.missed is not None
    assert jumped.missed.count == 999


def test_jitter_sets_scripts_apart_and_keeps_each_in_step() -> None:
    """Every script has its own place within the jitter, the same each time."""
    spread = Schedule(scripts={"*": "@hourly"}, timezone="UTC", jitter=600)
    plans = [plan_for(f"{number}.js", spread) for number in range(200)]
    offsets = [plan.offset for plan in plans if plan]
    assert len(set(offsets)) > 150
    assert timedelta(0) <= min(offsets) < MINUTE
    assert 9 * MINUTE < max(offsets) <= 10 * MINUTE
    plan = plans[0]
    assert plan is not None
    starts = upcoming(plan, None, NOON, limit=5)
    assert {after - before for before, after in pairwise(starts)} == {HOUR}


def test_a_scripts_own_schedule_goes_before_the_patterns() -> None:
    """Own expression, else the first pattern that matches, else none; false means never."""
    patterns = Schedule(scripts={"smoke/*": "@hourly", "*": "@daily"}, timezone="UTC")
    weekly = parse_script_settings({"schedule": "@weekly"}, script="x").schedule
    never = parse_script_settings({"schedule": False}, script="x").schedule
    rules = [
        plan.cron.text if plan else None
        for plan in (
            plan_for("smoke/deep/a.js", patterns),
            plan_for("b.js", patterns),
            plan_for("smoke/a.js", patterns, weekly),
            plan_for("smoke/a.js", patterns, never),
            plan_for("b.js", Schedule()),
            plan_for("b.js", patterns.model_copy(update={"enabled": False}), weekly),
        )
    ]
    assert rules == ["@hourly", "@daily", "@weekly", None, None, None]
    assert plan_for("shop/[id].js", Schedule(scripts={"shop/[id].js": "@hourly"}))


@given(
    cron=st.sampled_from(["*/5 * * * *", "@hourly", "30 2 * * *", "0 */6 * * 1-5"]),
    gaps=st.lists(st.integers(1, 20 * 3600), min_size=1, max_size=40),
    busy=st.sets(st.integers(0, 40)),
    catch_up=st.sampled_from(["once", "skip"]),
    jitter=st.sampled_from([0, 240]),
)
@settings(max_examples=200, deadline=None)
def test_every_time_due_is_started_or_missed_and_counted_once(
    cron: str, gaps: list[int], busy: set[int], catch_up: str, jitter: int
) -> None:
    """Whatever the pauses: starts on time and missed runs add up, and nothing starts twice."""
    plan = _plan(cron, "Europe/Berlin", catch_up=catch_up, jitter=jitter)
    now = datetime(2026, 10, 23, 22, 0, tzinfo=UTC)
    begin, entry = now, step(plan, None, now=now).entry
    dues, on_time, missed = [], 0, 0
    for number, gap in enumerate(gaps):
        now += timedelta(seconds=gap)
        done = step(plan, entry, now=now, busy="busy" if number in busy else None, late="late")
        assert done.entry.next > now
        entry = done.entry
        if done.due:
            assert done.due <= now
            assert entry.last == done.due
            dues.append(done.due)
            on_time += now - done.due <= LATE
        if done.missed:
            missed += done.missed.count
            assert done.missed.caught_up == bool(done.due)
    assert len(dues) == len(set(dues))
    first, last = begin + timedelta(microseconds=1) - plan.offset, now - plan.offset
    assert on_time + missed == plan.cron.count(first, last, limit=10**6)


def test_a_year_under_a_simulated_clock() -> None:
    """Asked each quarter of an hour for a year: every run once, also where clocks change."""
    berlin = ZoneInfo("Europe/Berlin")
    plans = [_plan("30 2 * * *", "Europe/Berlin"), _plan("@hourly", "Europe/Berlin")]
    entries: dict[str, Entry] = {}
    days: Counter[object] = Counter()
    hours: set[datetime] = set()
    now = datetime(2026, 1, 1, tzinfo=berlin).astimezone(UTC) - SECOND
    end = datetime(2027, 1, 1, tzinfo=berlin).astimezone(UTC) - MINUTE
    while now < end:
        for plan in plans:
            done = step(plan, entries.get(plan.rule), now=now, late="late")
            entries[plan.rule] = done.entry
            assert done.missed is None
            if done.due and plan is plans[0]:
                days[done.due.astimezone(berlin).date()] += 1
            elif done.due:
                hours.add(done.due)
        now += timedelta(minutes=15) if now.second == 0 else SECOND
    assert len(days) == 365
    assert set(days.values()) == {1}
    assert len(hours) == 365 * 24


def test_the_tolerances_fit_together() -> None:
    """A clock that is corrected is not one that was set back."""
    assert LATE < CORRECTION
