"""Cron expressions: the times at which they are due in a time zone, and time windows.

This is the only module that imports cronsim, which follows Debian's cron. When clocks go forward, a
job whose time is skipped is due right after the gap. When clocks go back, a job whose time comes
twice is due the first time. Jobs with `*` as the minute or hour are due by elapsed time.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from dataclasses import field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from k6d.core.frozen import frozen
from k6d.core.parse import LONGEST_S, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
ALLOWED = 'should be five cron fields such as "30 2 * * 1-5", or a name such as @hourly'
WINDOW_ALLOWED = (
    'should be a cron expression and a duration up to 366d, such as "0 22 * * 6 for 4h"'
)
LOCALTIME = Path("/etc/localtime")
_MINUTE = timedelta(minutes=1)
_SECOND, _HOUR = timedelta(seconds=1), timedelta(hours=1)
# `before` looks back in growing steps, so that a frequent schedule never yields a long list.
_LOOK_BACK = [timedelta(hours=1), *(timedelta(days=days) for days in (1, 32, 367, 3_000, 18_000))]


@frozen
class Cron:
    """A valid expression in a time zone; takes aware moments and returns moments in UTC."""

    text: str
    fields: str
    zone: tzinfo = field(repr=False)

    def after(self, moment: datetime) -> datetime:
        """The first time due later than `moment`."""
        return next(self.times(moment))

    def before(self, moment: datetime) -> datetime | None:
        """The last time due at `moment` or earlier; None when there was none in 18,000 days."""
        for back in _LOOK_BACK:
            due = list(takewhile(lambda at: at <= moment, self.times(moment - back)))
            if due:
                return due[-1]
        return None

    def count(self, first: datetime, last: datetime, *, limit: int) -> int:
        """The number of times due from `first` to `last`, both included, but at most `limit`."""
        times = self.times(first - timedelta(microseconds=1))
        return sum(1 for _ in islice(takewhile(lambda at: at <= last, times), limit))

    def times(self, moment: datetime) -> Iterator[datetime]:
        """Every time due later than `moment`, in order."""
        latest = moment.astimezone(UTC)
        elapsed = any(part.startswith("*") for part in self.fields.split()[:2])
        # cronsim that begins between such a change and the next full hour loses times, too.
        change = self._odd_change(latest - _HOUR, latest) if elapsed else None
        if change is not None and latest < self._full_hour_after(change) - _SECOND:
            yield from self._past(change, latest)
            return
        # At a change of clocks cronsim may return a time twice, or a time of the hour before.
        for at in self._from(latest):
            if at > latest:
                change = self._odd_change(latest, at) if elapsed else None
                if change is not None:
                    yield from self._past(change, latest)
                    return
                latest = at
                yield at

    def _from(self, moment: datetime) -> Iterator[datetime]:
        for due in CronSim(self.fields, moment.astimezone(self.zone)):
            yield due.astimezone(UTC)

    def _past(self, change: datetime, latest: datetime) -> Iterator[datetime]:
        """Times due from a change of clocks on that is not a multiple of an hour (Lord Howe).

        cronsim 2.8 loses times after it: of "*/20 0 * * *" those at 0:00 and 0:20 of the next day.
        Until the next full hour this method counts with the new offset from UTC; from there
        cronsim, begun anew, is right.
        """
        local = change.astimezone(timezone(self._offset(change)))
        hour = self._full_hour_after(change)
        for due in takewhile(lambda at: at < hour, CronSim(self.fields, local - _MINUTE)):
            if due > latest:
                yield due.astimezone(UTC)
        yield from self.times(hour - _SECOND)

    def _full_hour_after(self, change: datetime) -> datetime:
        local = change.astimezone(timezone(self._offset(change)))
        return local.replace(minute=0) + _HOUR

    def _offset(self, moment: datetime) -> timedelta:
        return moment.astimezone(self.zone).utcoffset() or timedelta()

    def _odd_change(self, start: datetime, end: datetime) -> datetime | None:
        """The minute between `start` and `end` in which clocks change by no whole hours.

        None when the offsets at `start` and `end` differ by whole hours or not at all.
        """
        old = self._offset(start)
        if not (self._offset(end) - old) % timedelta(hours=1):
            return None
        low = start
        while self._offset(min(low + timedelta(days=1), end)) == old:
            low += timedelta(days=1)
        low = low.replace(second=0, microsecond=0)
        steps = bisect_left(range(1441), True, key=lambda n: self._offset(low + n * _MINUTE) != old)
        return low + steps * _MINUTE


@frozen
class Window:
    """A period of `length` that begins each time `cron` is due."""

    cron: Cron
    length: timedelta

    def until(self, moment: datetime) -> datetime | None:
        """The end of the window that contains `moment`; None outside of every window."""
        began = self.cron.before(moment)
        return began + self.length if began and moment < began + self.length else None


def parse(text: str, zone: str = "") -> Cron:
    """The cron expression `text` in the named time zone; "" is the machine's zone.

    ValueError says what is allowed, or that the expression is never due.
    """
    where = zone_of(zone)
    fields = NAMES.get(text.strip().lower(), text).strip()
    if len(fields.split()) != 5:
        raise ValueError(f"{text!r} is no cron expression: {ALLOWED}")
    cron = Cron(text=" ".join(text.split()), fields=fields, zone=where)
    try:
        cron.after(datetime.now(UTC))
    except CronSimError as error:
        raise ValueError(f"{text!r}: {str(error).lower()}: {ALLOWED}") from None
    except (StopIteration, RuntimeError, OverflowError):
        raise ValueError(f"{text!r} is never due: {ALLOWED}") from None
    return cron


def zone_of(name: str) -> tzinfo:
    """The time zone of that name; "" is the machine's. ValueError when there is none."""
    if name.upper() == "UTC":
        return UTC
    if not name:
        return machine_zone() or UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"no time zone {name!r}; should be a name such as Europe/Berlin or UTC"
        ) from None


def parse_window(text: str, zone: str = "") -> Window:
    """A window such as "0 22 * * 6 for 4h"; ValueError says what is allowed."""
    expression, word, length = text.rpartition(" for ")
    try:
        length_s = parse_duration(length.strip())
    except ValueError:
        length_s = 0.0
    if not word or not 0 < length_s <= LONGEST_S:
        raise ValueError(f"{text!r} {WINDOW_ALLOWED}")
    return Window(cron=parse(expression, zone), length=timedelta(seconds=length_s))


def machine_zone() -> tzinfo | None:
    """The time zone of TZ, read as the C library does, or else of LOCALTIME.

    None when Python cannot read TZ, such as the rule CET-1CEST,M3.5.0,M10.5.0/3.
    """
    given = os.environ.get("TZ", str(LOCALTIME)).removeprefix(":")
    try:
        if not given.startswith("/"):
            return ZoneInfo(given) if given else UTC
        with Path(given).open("rb") as file:
            return ZoneInfo.from_file(file, key="local time")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None if "TZ" in os.environ else UTC
