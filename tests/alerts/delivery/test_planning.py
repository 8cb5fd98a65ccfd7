"""Who gets a message, when, and together with what."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from k6d.alerts.delivery.planning import (
    Moment,
    Patience,
    addressed,
    last_delivered,
    plan,
    quiet_until,
    tags_for,
    wait_s,
)
from k6d.alerts.records import Change, Delivery, Message, OutboxEntry, State
from k6d.core.model import Severity
from k6d.settings import QuietHours, Route
from support.records import NOON

PATIENCE = Patience(group_wait_s=10, group_interval_s=300, horizon_s=3600)


def kept(number: int, *receivers: str, at_s: float = 0, **changes: Any) -> OutboxEntry:
    """A message of an incident of its own, so many seconds after noon, waiting for receivers."""
    delivery = {k: changes.pop(k) for k in list(changes) if k in Delivery.__dataclass_fields__}
    fields: dict[str, Any] = {
        "id": f"m{number}",
        "at": NOON + timedelta(seconds=at_s),
        "change": Change.OPENED,
        "script": f"{number}.js",
        "subject": "slow",
        "severity": Severity.HIGH,
        "incident": f"i{number}",
    }
    return OutboxEntry(
        message=Message(**(fields | changes)),
        deliveries={r: Delivery(receiver=r, label=r, **delivery) for r in receivers or ("a",)},
    )


def after(seconds: float, patience: Patience = PATIENCE, **more: Any) -> Moment:
    """So many seconds after noon."""
    return Moment(now=NOON + timedelta(seconds=seconds), patience=patience, **more)


def sent(items: list[OutboxEntry], moment: Moment, **more: Any) -> dict[str, list[str]]:
    """What goes to whom."""
    return {s.receiver: s.messages for s in plan(items, moment, **more).sendings}


@pytest.mark.parametrize(
    ("has", "wants", "gets"),
    [
        ([], ["x"], True),
        (["a"], None, True),
        (["a"], [], False),
        ([], [], True),
        (["a", "b"], ["x", "b"], True),
        (["a"], ["b"], False),
        (["a", "b"], ["a b"], True),
        (["a"], ["a, b"], False),
        (["always"], ["x"], True),
    ],
)
def test_tags(has: list[str], wants: list[str] | None, gets: bool) -> None:
    """As in Apprise: a list is any of them, words together are all; no tag at all gets it all."""
    assert addressed(has, wants) is gets


def test_routes() -> None:
    """Patterns and severity choose tags; the script's own are added."""
    routes = [
        Route(tags=["team"]),
        Route(tags=["oncall", "team"], scripts=["shop/*"], min_severity=Severity.HIGH),
    ]
    assert tags_for("shop/a.js", Severity.HIGH, routes, True) == ["team", "oncall"]
    assert tags_for("shop/a.js", Severity.LOW, routes, True) == ["team"]
    assert tags_for("a.js", Severity.CRITICAL, routes, ["qa"]) == ["qa", "team"]
    assert tags_for("a.js", Severity.LOW, routes[1:], True) == [], "not for those on call"
    assert tags_for("a.js", None, [], True) is None
    own = [Route(tags=["team"], scripts=["shop/[id].js"])]
    assert tags_for("shop/[id].js", None, own, True) == ["team"], "a name is not only a pattern"


@pytest.mark.parametrize(
    ("hours", "now", "end"),
    [
        (("22:00", "07:00", "UTC"), "2026-11-22 23:30", "2026-11-23 07:00"),
        (("22:00", "07:00", "UTC"), "2026-11-22 06:59", "2026-11-22 07:00"),
        (("22:00", "07:00", "UTC"), "2026-11-22 07:00", None),
        (("12:00", "13:00", "UTC"), "2026-11-22 12:30", "2026-11-22 13:00"),
        (("22:00", "07:00", "Europe/Berlin"), "2026-11-22 21:30", "2026-11-23 06:00"),
        (("01:00", "04:00", "Europe/Berlin"), "2026-03-29 00:30", "2026-03-29 02:00"),
    ],
)
def test_quiet_hours(hours: tuple[str, str, str], now: str, end: str | None) -> None:
    """They may span midnight, in the zone that is named, and when the clock is put forward."""
    start, stop, zone = hours
    quiet = QuietHours.model_validate(f"{start}-{stop} {zone}")
    found = quiet_until(quiet, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert found == (datetime.fromisoformat(end).replace(tzinfo=UTC) if end else None)
    assert quiet.start == time.fromisoformat(start)


def test_quiet_hours_hold_back_all_but_critical() -> None:
    """What is critical goes out; the rest waits for the end."""
    quiet = Patience(quiet=QuietHours.model_validate("11:00-14:00 UTC"))
    items = [kept(1), kept(2, severity=Severity.CRITICAL)]
    assert sent(items, after(60, quiet)) == {"a": ["m2"]}
    assert plan(items[:1], after(60, quiet)).wake_at == NOON + timedelta(hours=2)


def test_one_cause_is_one_message() -> None:
    """Messages wait shortly for others of their cause; the next of a shared cause wait longer."""
    items = [kept(n, at_s=n, cause="target shop") for n in (1, 2, 3)] + [kept(4, at_s=1)]
    assert sent(items, after(5)) == {}
    assert plan(items, after(5)).wake_at == NOON + timedelta(seconds=11)
    assert sent(items, after(11)) == {"a": ["m1", "m2", "m3"]}, "others follow by themselves"
    lately = {("a", "opened target shop"): NOON}
    assert sent(items, after(13, last_delivered=lately)) == {"a": ["m4"]}
    assert sent(items[:3], after(300, last_delivered=lately)) == {"a": ["m1", "m2", "m3"]}
    over = kept(5, at_s=1, cause="target shop", change=Change.RESOLVED)
    assert sent([over], after(13, last_delivered=lately)) == {"a": ["m5"]}, "good news don't wait"
    assert sent(items, after(0, hurry=True)) == {"a": ["m1", "m2", "m3"]}


def test_a_group_is_told_with_all_its_members() -> None:
    """Six scripts on one dead port within 3 s: one message, `group_wait` after the first one."""
    items = [kept(n, at_s=n / 2, cause="target h:1") for n in range(6)]
    everybody = [f"m{n}" for n in range(6)]
    assert plan(items, after(9)).wake_at == NOON + timedelta(seconds=10)
    assert sent(items, after(10)) == {"a": everybody}
    lately = {("a", "opened target h:1"): NOON + timedelta(seconds=10)}
    follow = [kept(n, at_s=n, cause="target h:1") for n in (20, 305)]
    assert sent(follow, after(309, last_delivered=lately)) == {}
    assert sent(follow, after(310, last_delivered=lately)) == {"a": ["m20", "m305"]}


def test_a_group_is_told_whole_by_quiet_hours_and_after_a_failure() -> None:
    """The critical one takes the others along; one that is tried again takes those that came."""
    quiet = Patience(quiet=QuietHours.model_validate("11:00-14:00 UTC"))
    worst = kept(1, cause="target shop", severity=Severity.CRITICAL)
    items = [worst, *(kept(n, at_s=n, cause="target shop") for n in (2, 3)), kept(4)]
    assert sent(items, after(10, quiet)) == {"a": ["m1", "m2", "m3"]}
    later = NOON + timedelta(seconds=60)
    failed = kept(1, cause="target shop", attempts=1, at=NOON, next_at=later)
    assert sent([failed, kept(2, at_s=55, cause="target shop")], after(60)) == {"a": ["m1", "m2"]}


def test_a_group_takes_nothing_along_that_would_overtake() -> None:
    """The end of an incident whose opening may have arrived waits until that is told again."""
    unsure = kept(
        1, cause="target shop", attempts=1, bound="k", at=NOON, next_at=NOON + timedelta(seconds=90)
    )
    ends = [
        kept(n, incident=f"i{n - 2}", cause="target shop", change=Change.RESOLVED) for n in (3, 4)
    ]
    assert sent([unsure, *ends], after(60)) == {"a": ["m4"]}


def test_what_was_told_lately_is_known_after_a_restart() -> None:
    """From the messages that the outbox keeps."""
    done = kept(1, cause="target shop", state=State.DELIVERED, at=NOON)
    alone = kept(2, state=State.DELIVERED, at=NOON)
    assert last_delivered([done, alone, kept(3)]) == {("a", "opened target shop"): NOON}


BACK = NOON - timedelta(days=2)
AHEAD = NOON + timedelta(days=4)


@pytest.mark.parametrize(
    ("what", "item", "lately"),
    [
        ("a new one", kept(1), {}),
        ("one that waits for its group", kept(1, cause="x"), {("a", "opened x"): NOON}),
        (
            "one that failed",
            kept(1, attempts=3, at=NOON, next_at=NOON + timedelta(hours=1)),
            {},
        ),
        (
            "one whose receiver asked for a pause",
            kept(1, attempts=1, at=NOON, next_at=AHEAD, barred_until=AHEAD),
            {},
        ),
    ],
)
def test_a_clock_that_is_set_back_two_days_starves_no_message(
    what: str, item: OutboxEntry, lately: dict[tuple[str, str], datetime]
) -> None:
    """What was worked out by the clock that was ahead is due now: how long it waited is unknown."""
    moment = Moment(now=BACK, patience=PATIENCE, last_delivered=lately)
    assert sent([item], moment) == {"a": ["m1"]}, what


def test_a_clock_that_is_set_back_a_little_hurries_nobody() -> None:
    """Seconds are the daily work of NTP; a receiver that asked for a pause gets it."""
    moment = Moment(now=NOON - timedelta(seconds=5), patience=PATIENCE)
    pause = NOON + timedelta(seconds=60)
    asked = kept(1, attempts=1, at=NOON, next_at=pause, barred_until=pause)
    assert sent([asked, kept(2, "b")], moment) == {}
    assert plan([kept(2)], moment).wake_at == NOON + timedelta(seconds=10)


def test_a_clock_that_is_four_days_ahead_gives_up_nothing() -> None:
    """Only waits between attempts count: it is tried again, and not beyond hope if that fails."""
    hopeful = kept(1, attempts=1, at=NOON, next_at=NOON + timedelta(seconds=10), waited_s=0)
    planned = plan([hopeful], Moment(now=AHEAD, patience=PATIENCE))
    assert [s.messages for s in planned.sendings] == [["m1"]]
    assert planned.expired == []


def test_many_at_once_are_a_digest() -> None:
    """More than three causes at the same time are one message."""
    items = [kept(n) for n in range(5)]
    assert sent(items, after(60)) == {"a": [f"m{n}" for n in range(5)]}


def test_what_is_overtaken_comes_along() -> None:
    """An opening that is due takes the resolution along that would still wait."""
    items = [kept(1), kept(2, at_s=15, incident="i1", script="1.js", change=Change.RESOLVED)]
    assert sent(items, after(16)) == {"a": ["m1", "m2"]}


def test_each_receiver_by_itself() -> None:
    """One that is busy, or asked for a pause, gets nothing; the others do."""
    pause = NOON + timedelta(seconds=500)
    items = [kept(1, "a", "b"), kept(2, "c", attempts=1, barred_until=pause), kept(3, "c")]
    assert sent(items, after(60), busy={"b"}) == {"a": ["m1"]}
    assert plan(items[1:], after(60)).wake_at == pause


def test_a_failed_one_waits_for_its_time() -> None:
    """The next attempt is due when it is due, and past the horizon no more."""
    item = kept(1, attempts=2, next_at=NOON + timedelta(seconds=90))
    assert sent([item], after(60)) == {}
    assert sent([item], after(90)) == {"a": ["m1"]}
    assert plan([kept(1, attempts=9, waited_s=3601)], after(1)).expired == [("m1", "a")]
    untried = kept(2)
    assert sent([untried], after(99_999)) == {"a": ["m2"]}, "late, but never tried"


def test_what_may_have_arrived_is_sent_again_as_it_was() -> None:
    """By the same key, hence with nothing else and nothing less."""
    alone = plan([kept(1)], after(60)).sendings[0]
    unsure = kept(1, attempts=1, bound=alone.key, repeat=True, reached=["x"])
    newer = kept(2, incident="i1", script="1.js", change=Change.RESOLVED)
    again = plan([unsure, newer], after(60)).sendings[0]
    assert (again.key, again.messages, again.repeat) == (alone.key, ["m1"], True)
    assert again.reached == ["x"]


def test_delivered_ones_are_left_alone() -> None:
    """Nothing is planned for who has it."""
    assert plan([kept(1, state=State.DELIVERED)], after(60)).sendings == []


def test_waits() -> None:
    """Doubling up to an hour, spread by chance; what the receiver asks for comes first."""
    waits = [wait_s(n, first_s=10, chance=1, retry_after_s=None) for n in (1, 2, 3, 20, 1000)]
    assert waits == [10, 20, 40, 3600, 3600]
    assert wait_s(1, first_s=10, chance=0, retry_after_s=None) == 5
    assert wait_s(9, first_s=10, chance=0, retry_after_s=120) == 120
