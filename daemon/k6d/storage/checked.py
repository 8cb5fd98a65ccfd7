"""Which parts of the index agreed with the run files when they were compared last.

A part that was not changed since, and whose run files have the same names, is not compared again.
So a start of the daemon reads what changed since the last check, not a million documents.

    index/generation-…/checked.json   {month: {"runs": time, "parts": {start: [...]}}}
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.errors import K6dError
from k6d.storage.checksum import Checksum
from k6d.storage.data_folder import NotAFileError, read_file
from k6d.storage.files import YOUNG_NS, modified_ns, write_atomic
from k6d.storage.record import is_test_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NAME = "checked.json"
ENDING = ".json"
_CHECKSUM = Checksum(b'"crc32":', b"}\n")

Stamp = list[int]


class MonthNow:
    """The state of a month of the index before it is compared with the run files.

    `runs` is the time of the folder of run files, from `settled_ns`, before its files were listed.
    """

    def __init__(self, *, runs: int, index: str) -> None:
        self._at = time.time_ns()
        self.runs = runs
        self.parts = stamps(index)

    def record(self, agreed: Mapping[str, Sequence[str]], *, whole: bool) -> dict[str, Any]:
        """What to keep of a month: the parts that agreed, with their run ids.

        `whole`: all parts agreed, and no run file belongs to none. A part that was just changed is
        left out, because it may change again in the same tick of the clock.
        """
        latest = self._at - YOUNG_NS
        parts = {
            start: [*self.parts[start], digest(ids)]
            for start, ids in agreed.items()
            if self.parts.get(start, [latest])[0] < latest
        }
        return {"runs": self.runs if whole else 0, "parts": parts}


class Checked:
    """The months and parts that agreed, of the generation in `folder`."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._path, self._root = folder / NAME, root
        self._months = self._read()
        self._new: dict[str, Any] = {}

    def are_same_files(self, name: str, runs: int) -> bool:
        """Whether the folder of run files has not changed since the month agreed."""
        return runs != 0 and self._months.get(name, {"runs": 0})["runs"] == runs

    def is_same_month(self, name: str, now: MonthNow) -> bool:
        """Whether nothing in the month has changed; it is then kept as it is."""
        if not self.are_same_files(name, now.runs):
            return False
        known = self._months[name]
        if {start: stamp[:-1] for start, stamp in known["parts"].items()} != now.parts:
            return False
        self._new[name] = known
        return True

    def is_same_part(self, name: str, start: str, now: MonthNow, ids: Sequence[str]) -> bool:
        """Whether the part is unchanged and its runs, by the names of their files, are `ids`."""
        stamp = self._months.get(name, {"parts": {}})["parts"].get(start)
        return stamp is not None and stamp == [*now.parts.get(start, ()), digest(ids)]

    def forget(self, partition: Path) -> None:
        """Compare this partition of a month again, although its file has not changed."""
        self._months.pop(partition.parent.name, None)

    def put(self, name: str, record: dict[str, Any]) -> None:
        """The month agrees; `record` is from `MonthNow`."""
        self._new[name] = record

    def write(self) -> None:
        """Keep what was found for the next check; months that were not put are forgotten.

        A full disk is no error: the next check then compares more.
        """
        if self._new != self._months:
            data = _CHECKSUM.append(orjson.dumps(self._new))
            with suppress(K6dError):
                write_atomic(self._path, data, root=self._root)

    def _read(self) -> dict[str, Any]:
        """The last record; nothing if it does not parse, for then everything is compared."""
        try:
            found = orjson.loads(_CHECKSUM.verified(read_file(self._path)))
            return found if all(_is_record(one) for one in found.values()) else {}
        except (OSError, ValueError, AttributeError, NotAFileError):
            return {}


def settled_ns(folder: str) -> int:
    """When the folder was changed; 0 when that was just now, or when there is none.

    A folder that was just changed may change again in the same tick of the clock.
    """
    changed = modified_ns(folder)
    return changed if changed < time.time_ns() - YOUNG_NS else 0


def digest(ids: Sequence[str]) -> str:
    """A short text that differs for other ids."""
    return blake2b(" ".join(ids).encode(), digest_size=12).hexdigest()


def ranges(starts: Sequence[str], ids: Sequence[str]) -> dict[str, Sequence[str]]:
    """The ids, which are sorted, that belong to each part."""
    places = [*(bisect_left(ids, start) for start in starts), len(ids)]
    return {start: ids[places[at] : places[at + 1]] for at, start in enumerate(starts)}


def stamps(folder: str) -> dict[str, Stamp]:
    """The time, number and size of each partition in the folder, oldest first."""
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                start = entry.name.removesuffix(ENDING)
                if is_test_id(start):
                    status = entry.stat(follow_symlinks=False)
                    found[start] = [status.st_mtime_ns, status.st_ino, status.st_size]
    except FileNotFoundError:
        pass
    return dict(sorted(found.items()))


def _is_record(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and isinstance(one.get("runs"), int)
        and isinstance(one.get("parts"), dict)
        and all(isinstance(stamp, list) and len(stamp) == 4 for stamp in one["parts"].values())
    )
