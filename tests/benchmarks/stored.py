"""A store with a long past: copies of real runs, under many scripts' names."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import orjson

from k6d.storage.record import new_test_id
from k6d.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

APART = timedelta(minutes=5)


def fill(data: Path, runs: int, scripts: Sequence[str], *, apart: timedelta = APART) -> None:
    """So many copies of real runs, one every few minutes before the oldest, and their index.

    A script that ran already gets copies of its own runs, in turn; another one those of the newest.
    """
    store = Store(data)
    real = [orjson.loads(store.load_raw(d["test_id"])) for d in store.history(limit=None)]
    oldest = datetime.fromisoformat(real[-1]["timestamp"])
    own = {name: [run for run in real if run["script"] == name] or real[:1] for name in scripts}
    for number in range(1, runs + 1):
        at = oldest - apart * number
        turn, place = divmod(number, len(scripts))
        script = scripts[place]
        record = own[script][turn % len(own[script])]
        record |= {"test_id": new_test_id(at), "timestamp": at.isoformat(), "script": script}
        path = store.run_path(record["test_id"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(record))
    store.reindex()
