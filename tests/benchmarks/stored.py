"""A store with a long past: copies of a real run, under many scripts' names."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import orjson

from k6d.store import Store, new_test_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

APART = timedelta(minutes=5)


def fill(data: Path, runs: int, scripts: Sequence[str], *, apart: timedelta = APART) -> None:
    """So many copies of the newest run, one every few minutes before it, and their index."""
    store = Store(data)
    record = orjson.loads(store.load_raw(store.history(limit=1)[0]["test_id"]))
    newest = datetime.fromisoformat(record["timestamp"])
    for number in range(1, runs + 1):
        at = newest - apart * number
        script = scripts[number % len(scripts)]
        record |= {"test_id": new_test_id(at), "timestamp": at.isoformat(), "script": script}
        path = store.run_path(record["test_id"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(record))
    store.reindex()
