"""What is known of parts of the index, so that queries need not read their documents.

    index/generation-…/facts/2026-11.traits.json  traits of the whole month
    index/generation-…/facts/2026-11.json         counts of the whole month, once it is over
    index/generation-…/facts/2026-11.days.json    counts of each day that is over
    index/generation-…/facts/2026-11.parts.json   traits of each partition

A writer adds the traits of runs to those of the month before it writes their documents. So no run
has traits that its month lacks, also after a crash. The traits of removed runs stay.

Each other fact holds the state of the files from which it was made, and is used only while they are
the same. Without facts, queries read the documents. `update` makes those that are missing. A change
of their form needs a new `_VERSION` of the index.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.errors import K6dError
from k6d.storage.checked import Stamp, settled_ns, stamps
from k6d.storage.checksum import Checksum
from k6d.storage.data_folder import NotAFileError, read_file
from k6d.storage.files import YOUNG_NS, modified_ns, write_atomic
from k6d.storage.partitions import spans
from k6d.storage.record import month_of
from k6d.storage.tally import Tally, merged, traits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from k6d.storage.months import Months
    from k6d.storage.tally import Traits

FOLDER = "facts"
LAST_DAY = 31
_CHECKSUM = Checksum(b'"crc32":', b"}\n")


class Facts:
    """The facts of one generation; each file is read when it is needed."""

    def __init__(self, months: Months) -> None:
        self._months = months

    def tally(self, name: str) -> Tally | None:
        """The counts of a whole month; None when they are not known."""
        found = self._month(name)
        return Tally.from_json(found["tally"]) if found else None

    def traits(self, name: str) -> Traits | None:
        """The traits of a whole month, and perhaps more; None when they are not known."""
        return self._read(f"{name}.traits").get("traits")

    def enter(self, name: str, documents: Sequence[dict[str, Any]]) -> None:
        """Add the traits of documents that are about to be written to the month. Lock held.

        Traits that were lost are left to `mend`. K6dError when the disk refuses.
        """
        known = self.traits(name)
        if known is None and self._months.partitions(name).starts():
            return
        now = merged(filter(None, [known, traits(documents)]))
        if now != known:
            self._write(f"{name}.traits", {"traits": now})

    def lost(self) -> list[str]:
        """The months whose traits are not known."""
        return [name for name in self._months.names() if self.traits(name) is None]

    def mend(self, name: str) -> None:
        """Make the traits of a month anew; reads all of its documents. Lock held."""
        month = self._months.partitions(name)
        found = merged(traits(month.within(*span)) for span in month.spans())
        self._note(f"{name}.traits", {"traits": found})

    def _month(self, name: str) -> dict[str, Any] | None:
        found = self._read(name)
        same = found and found["changed"] == modified_ns(self._months.partitions(name).folder)
        return found if same else None

    def days(self, name: str, now: Mapping[str, Stamp], *, after: str = "") -> dict[str, Tally]:
        """The counts of each day of a month for which they are known, such as 20261103.

        Only days later than `after` are looked for.

        `now` are the partitions of the month.
        """
        known = self._read(f"{name}.days")
        return {
            day: Tally.from_json(tally)
            for day, (state, tally) in known.items()
            if day > after and state == _state_of(day, now)
        }

    def tally_since(self, first: str, lists: Callable[..., list[str]]) -> Tally:
        """The counts of all runs from the id `first` on.

        `lists` notes the names in a folder, so that the caller knows when it has to ask again.
        """
        total = Tally()
        day_of_first, month_of_first = first[:8], month_of(first)
        for name in lists(self._months.names):
            if name < month_of_first:
                continue
            if name > month_of_first and (whole := self.tally(name)):
                total.merge(whole)
                continue
            month = self._months.partitions(name)
            lists(month.starts)
            now = stamps(month.folder)
            known = self.days(name, now, after=day_of_first)
            for tally in known.values():
                total.merge(tally)
            for start, end in spans(list(now)):
                if all(d in known or d < day_of_first for d in days_of(name, start, end)):
                    continue
                for document in month.within(start, end):
                    if document["test_id"] >= first and document["test_id"][:8] not in known:
                        total.add(document)
        return total

    def parts(self, name: str, now: Mapping[str, Stamp]) -> dict[str, Traits]:
        """The traits of each partition of a month for which they are known."""
        known = self._read(f"{name}.parts")
        return {start: one[1] for start, one in known.items() if one[0] == now.get(start)}

    def update(self) -> None:
        """Make the facts that are missing; reads the documents of what has changed."""
        months = self._months.names()
        for name in months:
            if self._month(name) is None:
                self._update(name, newest=name == months[-1])

    def _update(self, name: str, *, newest: bool) -> None:
        month = self._months.partitions(name)
        changed, now = settled_ns(month.folder), stamps(month.folder)
        latest = time.time_ns() - YOUNG_NS
        parts, days = self.parts(name, now), self.days(name, now)
        ending = max(now, default="")[:8] if newest else f"{name.replace('-', '')}99"
        wanted = [day for day in _days(name) if day not in days and day < ending]
        fresh: dict[str, Tally] = {day: Tally() for day in wanted}
        for start, end in spans(list(now)):
            needs_traits = start not in parts
            if not needs_traits and not any(day in fresh for day in days_of(name, start, end)):
                continue
            documents = month.within(start, end)
            if needs_traits:
                parts[start] = traits(documents)
            for document in documents:
                if (tally := fresh.get(document["test_id"][:8])) is not None:
                    tally.add(document)
        days |= fresh
        old = {start: stamp for start, stamp in now.items() if stamp[0] < latest}
        self._note(f"{name}.parts", {s: [old[s], one] for s, one in parts.items() if s in old})
        settled = {
            day: [_state_of(day, now), tally.to_json()]
            for day, tally in days.items()
            if all(start in old for start in _overlapping(day, list(now)))
        }
        self._note(f"{name}.days", settled)
        if not newest and changed:
            total = Tally()
            for tally in days.values():
                total.merge(tally)
            self._note(name, {"changed": changed, "tally": total.to_json()})

    def _read(self, name: str) -> dict[str, Any]:
        path = self._months.folder / FOLDER / f"{name}.json"
        try:
            data = read_file(path)
            contents = _CHECKSUM.verified(data)
            return {} if contents is data else dict(orjson.loads(contents))
        except (OSError, ValueError, NotAFileError):
            return {}

    def _note(self, name: str, record: dict[str, Any]) -> None:
        if record != self._read(name):
            with suppress(K6dError):  # on a full disk; queries then read the documents
                self._write(name, record)

    def _write(self, name: str, record: dict[str, Any]) -> None:
        months, data = self._months, _CHECKSUM.append(orjson.dumps(record))
        path = months.folder / FOLDER / f"{name}.json"
        write_atomic(path, data, root=months.root, durable=months.durable)


def days_of(month: str, start: str, end: str | None) -> list[str]:
    """The days of the month to which the ids of a partition may belong."""
    return [day for day in _days(month) if day >= start[:8] and (end is None or day <= end[:8])]


def _days(month: str) -> list[str]:
    return [f"{month.replace('-', '')}{day:02}" for day in range(LAST_DAY + 1)]


def _overlapping(day: str, starts: Sequence[str]) -> Sequence[str]:
    """The partitions that may hold runs of the day."""
    return starts[max(bisect_right(starts, day) - 1, 0) : bisect_left(starts, f"{day}~")]


def _state_of(day: str, now: Mapping[str, Stamp]) -> str:
    """A text that changes with each partition that may hold runs of the day."""
    state = [(start, now[start]) for start in _overlapping(day, list(now))]
    return blake2b(orjson.dumps(state), digest_size=12).hexdigest()
