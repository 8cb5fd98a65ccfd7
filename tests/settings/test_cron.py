"""Cron expressions in time zones, where clocks change, and windows of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from k6d.settings import cron

BERLIN = "Europe/Berlin"
# Days around which the clocks of some of ZONES change.
DAYS = ["2026-03-07", "2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24", "2026-10-31"]
ZONES = [BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]


def _local(text: str, zone: str = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def _starts(text: str, since: str, count: int) -> list[str]:
    times = cron.parse(text, BERLIN).times(_local(since))
    return [f"{at.astimezone(ZoneInfo(BERLIN)):%d %H:%M%z}" for at in islice(times, count)]


def test_a_time_that_is_skipped_is_due_after_the_gap() -> None:
    """Clocks go from 2 to 3 on 2026-03-29: nothing due at half past two is lost."""
    found = _starts("30 2 * * *", "2026-03-28", 3)
    assert found == ["28 02:30+0100", "29 03:00+0200", "30 02:30+0200"]


def test_a_time_that_comes_twice_is_due_once() -> None:
    """Clocks go from 3 back to 2 on 2026-10-25; also when one asks during the second pass."""
    found = _starts("30 2 * * *", "2026-10-24", 3)
    assert found == ["24 02:30+0200", "25 02:30+0200", "26 02:30+0100"]
    second_pass = _local("2026-10-25T02:15").replace(fold=1)
    assert cron.parse("30 2 * * *", BERLIN).after(second_pass) == _local("2026-10-26T02:30")


def test_every_hour_goes_by_the_clock_where_clocks_change() -> None:
    """No hour is left out and none comes twice, and 25 or 23 hours make the day."""
    assert _starts("@hourly", "2026-10-25T01:30", 3) == [
        "25 02:00+0200",
        "25 02:00+0100",
        "25 03:00+0100",
    ]
    assert _starts("0 * * * *", "2026-03-29T00:30", 3) == [
        "29 01:00+0100",
        "29 03:00+0200",
        "29 04:00+0200",
    ]


@pytest.mark.parametrize("fields", ["*/20 0 * * *", "* 1 * * *", "* 2 * * 0", "*/7 1-4 * * *"])
@pytest.mark.parametrize("start", ["2026-04-04T10:00Z", "2026-10-03T10:00Z"])
def test_clocks_that_change_by_half_an_hour(fields: str, start: str) -> None:
    """On Lord Howe every minute of 40 hours in which the local clock shows it, and no other."""
    found, at = cron.parse(fields, "Australia/Lord_Howe"), datetime.fromisoformat(start)
    pattern, end, expected = cron.parse(fields, "UTC"), at + timedelta(hours=40), []
    minute = timedelta(minutes=1)
    for moment in (at + number * minute for number in range(1, 2401)):
        shown = moment.astimezone(found.zone).replace(tzinfo=UTC, fold=0)
        if pattern.after(shown - minute) == shown:
            expected.append(moment)
    assert list(takewhile(lambda due: due <= end, found.times(at))) == expected


HALF_HOURS = [
    ("40 1 * * *", "2026-04-04", ["05 01:40+1100", "06 01:40+1030"]),
    ("10,40 1-2 * * *", "2026-04-04", ["05 01:10+1100", "05 01:40+1100", "05 02:10+1030"]),
    ("15 2 * * *", "2026-10-03", ["04 02:30+1100", "05 02:15+1100"]),
    ("10,40 2 * * *", "2026-10-03", ["04 02:30+1100", "04 02:40+1100", "05 02:10+1100"]),
]


@pytest.mark.parametrize(("fields", "day", "expected"), HALF_HOURS)
def test_half_an_hour_that_comes_twice_or_is_skipped(
    fields: str, day: str, expected: list[str]
) -> None:
    """On Lord Howe clocks go from 2 back to half past one, and from 2 to half past two."""
    found, noon = cron.parse(fields, "Australia/Lord_Howe"), _local(f"{day}T12:00", "UTC")
    dues = list(islice(found.times(noon), len(expected)))
    assert [f"{due.astimezone(found.zone):%d %H:%M%z}" for due in dues] == expected
    moment = noon
    while moment < dues[-1]:
        assert found.after(moment) == next(due for due in dues if due > moment)
        moment += timedelta(minutes=5)


@given(
    minute=st.sampled_from(["0", "30", "40", "15,45", "10,40", "*/20", "5-10/5", "*"]),
    hour=st.sampled_from(["*", "0", "1", "2", "3", "*/6", "0-4", "1-4", "23"]),
    day=st.sampled_from(["* * *", "1 * *", "L * *", "* * 0", "* * 1-5"]),
    zone=st.sampled_from(ZONES),
    start=st.sampled_from(DAYS),
    seconds=st.tuples(st.integers(0, 3 * 86_400), st.integers(0, 2 * 86_400)),
)
@example(
    minute="0",
    hour="*/6",
    day="* * *",
    zone="Australia/Lord_Howe",
    start="2026-04-04",
    seconds=(0, 54_000),
)
@settings(max_examples=150, deadline=None)
def test_what_is_due_does_not_depend_on_when_one_asks(
    minute: str, hour: str, day: str, zone: str, start: str, seconds: tuple[int, int]
) -> None:
    """Counted from anywhere, the times are the same, in order, and `before` agrees with `after`."""
    found = cron.parse(f"{minute} {hour} {day}", zone)
    early = datetime.fromisoformat(start).replace(tzinfo=UTC) + timedelta(seconds=seconds[0])
    late = early + timedelta(seconds=seconds[1])
    following = found.after(late)
    assert following > late
    assert next(at for at in found.times(early) if at > late) == following
    before = found.before(late)
    assert before is None or (before <= late and found.after(before) == following)


@pytest.mark.parametrize(
    ("text", "zone", "part"),
    [
        ("61 * * * *", "", "bad minute"),
        ("* * * * * *", "", "no cron expression"),
        ("@reboot", "", "no cron expression"),
        ("0 0 30 2 *", "", "bad day-of-month"),
        ("@daily", "Mars/Olympus", "no time zone 'Mars/Olympus'"),
        ("@daily", "../../etc/passwd", "no time zone"),
    ],
)
def test_a_mistake_says_what_is_allowed(text: str, zone: str, part: str) -> None:
    """The message names the text and what it should be."""
    with pytest.raises(ValueError, match="should be") as caught:
        cron.parse(text, zone)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("tz", "hour"),
    [
        (":America/New_York", 16),
        (f"{TZPATH[0]}/America/New_York", 16),
        (f":{TZPATH[0]}/America/New_York", 16),
        ("", 12),
        (":", 12),
    ],
)
def test_the_machines_own_time_zone_is_the_default(
    tz: str, hour: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TZ decides, as for everything on the machine: a name, a file, or nothing for UTC."""
    monkeypatch.setenv("TZ", tz)
    noon = cron.parse("0 12 * * *").after(datetime(2026, 7, 1, tzinfo=UTC))
    assert noon == datetime(2026, 7, 1, hour, tzinfo=UTC)


def test_without_tz_the_file_of_the_machine_decides(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where there is none, as in containers, it is UTC."""
    monkeypatch.delenv("TZ", raising=False)
    monkeypatch.setattr(cron, "LOCALTIME", Path(TZPATH[0]) / "America/New_York")
    assert cron.parse("0 12 * * *").after(datetime(2026, 7, 1, tzinfo=UTC)).hour == 16
    monkeypatch.setattr(cron, "LOCALTIME", tmp_path / "none")
    assert cron.machine_zone() is UTC


def test_a_window_knows_its_end() -> None:
    """Inside it gives when it ends; its start belongs to it, its end doesn't."""
    window = cron.parse_window("0 22 * * 6 for 4h", BERLIN)
    end = _local("2026-11-22T02:00")
    assert window.until(_local("2026-11-21T21:59")) is None
    assert window.until(_local("2026-11-21T22:00")) == end
    assert window.until(_local("2026-11-22T01:59")) == end
    assert window.until(end) is None


@pytest.mark.parametrize("text", ["0 22 * * 6", "0 22 * * 6 for", "for 4h", "0 22 * * 6 for 0s"])
def test_a_window_needs_both_halves(text: str) -> None:
    """A start without a length, or the other way round, is a mistake."""
    with pytest.raises(ValueError, match="should be"):
        cron.parse_window(text)


@pytest.mark.parametrize("days", ["367", "9999999", "99999999999999", 400 * "9"])
def test_a_window_has_a_longest_length(days: str) -> None:
    """Nothing that a clock could not count; a year of maintenance is one."""
    assert cron.parse_window("0 22 * * 6 for 366d").length == timedelta(days=366)
    text = f"0 22 * * 6 for {days}d"
    with pytest.raises(ValueError, match="should be"):
        cron.parse_window(text)
