"""A store with a long past: copies of real runs, under many scripts' names."""

from __future__ import annotations

from datetime import datetime, timedelta
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import orjson

from k6d.storage.store import Store
from support.many_runs import copy_of, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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

    def copies() -> Iterator[dict[str, Any]]:
        for number in range(1, runs + 1):
            turn, place = divmod(number, len(scripts))
            script = scripts[place]
            record, at = own[script][turn % len(own[script])], oldest - apart * number
            yield copy_of(record, at=at, script=script, end=token_hex(3))

    write(store, copies())
    store.reindex()
