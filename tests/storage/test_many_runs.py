"""The generator of stored runs for benchmarks writes what the store writes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson

from k6d.storage.record import encode
from k6d.storage.store import Store
from support.many_runs import copy_of, made, write
from support.records import make_run

if TYPE_CHECKING:
    from pathlib import Path

UNTIL = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


def test_generated_runs_equal_saved_ones(tmp_path: Path) -> None:
    """Runs that are loaded and saved again have the same files, rights and index documents."""
    made_, saved = Store(tmp_path / "made"), Store(tmp_path / "saved")
    records = list(made(120, until=UNTIL, apart=timedelta(hours=7), scripts=7))
    assert write(made_, records) == made_.reindex() == 120
    for record in records:
        saved.save(made_.load(record["test_id"]))
    files = sorted(path.relative_to(tmp_path / "made") for path in tmp_path.glob("made/runs/*/*"))
    assert len(files) == 120
    for path in files:
        one, other = tmp_path / "made" / path, tmp_path / "saved" / path
        assert one.read_bytes() == other.read_bytes()
        assert one.stat().st_mode == other.stat().st_mode
        assert one.parent.stat().st_mode == other.parent.stat().st_mode
    assert made_.history(limit=None) == saved.history(limit=None)
    assert 0 < sum(bool(row["anomalies"]) for row in made_.history(limit=None)) < 20


def test_a_copy_has_the_time_in_the_form_of_the_store() -> None:
    """With and without fractions of a second, from any time zone."""
    for text in ("2026-11-22T13:00:00.250000+01:00", "2026-11-22T12:00:00+00:00"):
        at = datetime.fromisoformat(text)
        run = make_run(test_id="20261122-120000-00000a", timestamp=at, script="ä.js")
        copy = copy_of(orjson.loads(encode(make_run())), at=at, script="ä.js", end="00000a")
        assert orjson.dumps(copy) == encode(run).rstrip()
