"""A mark: what happened at a moment beside the runs, such as a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.core.numbers import seconds
from k6d.core.text import covers, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

LONGEST_TEXT = 200
MOST_NAMED = 2  # in one sentence; the newest


@frozen
class Mark:
    """What happened `at` a time (aware), for the scripts that the pattern `script` covers."""

    id: str
    at: datetime
    text: str
    script: str = "*"


def between(
    marks: Iterable[Mark], script: str, *, after: datetime | None, until: datetime
) -> list[Mark]:
    """The marks of a script later than `after` and not later than `until`, oldest first."""
    found = [mark for mark in marks if covers(mark.script, script) and mark.at <= until]
    return sorted((m for m in found if after is None or m.at > after), key=lambda mark: mark.at)


def since(marks: Sequence[Mark], moment: datetime) -> str:
    """How long after the newest marks it is: "4 min after “checkout 2.14”"; "" without any."""
    named = [
        f"{seconds(round((moment - mark.at).total_seconds()))} after “{shortened(mark.text, 80)}”"
        for mark in reversed(marks[-MOST_NAMED:])
    ]
    more = len(marks) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
