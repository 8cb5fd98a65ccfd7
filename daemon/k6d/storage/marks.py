"""Marks: deployments and other moments that people or pipelines record beside the runs.

Only this module reads and writes the state "marks".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from secrets import token_hex
from typing import TYPE_CHECKING

from k6d.core.mark import LONGEST_TEXT, Mark, between
from k6d.core.numbers import kept_time
from k6d.core.text import one_line
from k6d.storage.record import encodable

if TYPE_CHECKING:
    from k6d.core.model import Run
    from k6d.storage.store import Store

STATE = "marks"
MOST_KEPT = 2000  # each new mark rewrites the file, so the oldest go
_ID = re.compile(r"[0-9a-f]{8}")


def marks(store: Store) -> list[Mark]:
    """Every mark, oldest first; entries that do not parse are left out."""
    found = []
    for mark_id, document in store.state(STATE).all().items():
        at, text = kept_time(document.get("at")), document.get("text")
        if at and isinstance(text, str):
            script = document.get("script")
            pattern = script if isinstance(script, str) and script else "*"
            found.append(Mark(id=mark_id, at=at, text=text, script=pattern))
    return sorted(found, key=lambda mark: mark.at)


def between_runs(one: Run, other: Run, store: Store) -> list[Mark]:
    """The marks of a script between two of its runs, oldest first; none for other scripts."""
    if one.script != other.script:
        return []
    first, last = sorted([one.timestamp, other.timestamp])
    return between(marks(store), one.script, after=first, until=last)


def put(text: str, store: Store, *, at: datetime, script: str = "*") -> Mark:
    """Record what happened `at` a time (aware) for the scripts that the pattern covers.

    ValueError for an empty or too long text.
    """
    text = one_line(encodable(text), LONGEST_TEXT + 1).strip()
    if not text or len(text) > LONGEST_TEXT:
        raise ValueError(f"the text of a mark should have 1 to {LONGEST_TEXT} characters")
    mark = Mark(id=token_hex(4), at=at, text=text, script=encodable(script) or "*")
    state = store.state(STATE)
    known = marks(store)
    for old in known[: max(0, len(known) + 1 - MOST_KEPT)]:
        state.delete(old.id)
    made = datetime.now(UTC).isoformat()
    state.put(
        mark.id, {"at": at.isoformat(), "made": made, "text": mark.text, "script": mark.script}
    )
    return mark


def made_since(moment: datetime, store: Store) -> int:
    """Return how many marks were recorded since then, whatever time they mark."""
    made = (kept_time(document.get("made")) for document in store.state(STATE).all().values())
    return sum(one > moment for one in made if one)


def remove(mark_id: str, store: Store) -> bool:
    """Remove a mark; False if there is none with this id."""
    return bool(_ID.fullmatch(mark_id)) and store.state(STATE).delete(mark_id)
