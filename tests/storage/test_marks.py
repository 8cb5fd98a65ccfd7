"""Marks between two runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from k6d.storage import marks
from k6d.storage.store import Store
from support.records import make_run

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def test_marks_between_two_runs(tmp_path: Path) -> None:
    """In either order; none of other scripts, none before, none for two different scripts."""
    store = Store(tmp_path)
    before, after = (make_run(script="a.js", timestamp=NOON + timedelta(hours=h)) for h in (0, 2))
    marks.put("too early", store, at=NOON - timedelta(hours=1))
    marks.put("of another", store, at=NOON + timedelta(hours=1), script="b.js")
    marks.put("pay 3", store, at=NOON + timedelta(hours=1))
    for one, other in ((before, after), (after, before)):
        assert [mark.text for mark in marks.between_runs(one, other, store)] == ["pay 3"]
    assert marks.between_runs(before, replace(after, script="b.js"), store) == []
