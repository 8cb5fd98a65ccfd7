"""Many stored runs at once: the files that `Store.save` writes, without waiting for the disk.

Call `Store.reindex` afterwards. tests/storage/test_many_runs.py compares the files with saved ones.
"""

from __future__ import annotations

import os
import random
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from k6d.storage.record import encode
from k6d.storage.runs import CHECKSUM
from support.records import make_anomaly, make_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from k6d.storage.store import Store

Record = dict[str, Any]
ANOMALOUS = 50  # one run of so many crossed a limit


def copy_of(record: Record, *, at: datetime, script: str, end: str) -> Record:
    """The JSON of a run like `record`, of another script at another time (aware).

    `end` is the random end of its id.
    """
    at = at.astimezone(UTC)
    return record | {
        "test_id": f"{at:%Y%m%d-%H%M%S}-{end}",
        "timestamp": at.isoformat().replace("+00:00", "Z"),
        "script": script,
    }


def write(store: Store, records: Iterable[Record]) -> int:
    """Write a file for each record, in the store's form; returns their number.

    Nothing is forced to the disk, and no index is written.
    """
    count, known = 0, ""
    for record in records:
        path = str(store.run_path(record["test_id"]))
        folder = os.path.dirname(path)  # noqa: PTH120  (a Path for each of a million runs is slow)
        if folder != known:
            os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
            known = folder
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(CHECKSUM.append(orjson.dumps(record)))
        count += 1
    return count


def made(count: int, *, until: datetime, apart: timedelta, scripts: int) -> Iterator[Record]:
    """So many runs of a minute, in turn of so many scripts, oldest first; the last is at `until`.

    Their numbers differ a little, and one in ANOMALOUS has a finding. Equal arguments give equal
    runs.
    """
    healthy = orjson.loads(encode(make_run(comparable=True)))
    verdict = orjson.loads(encode(make_run(anomaly_analysis=make_anomaly())))["anomaly_analysis"]
    chance = random.Random(f"{count} {scripts}")
    for number in range(count):
        at = until - apart * (count - 1 - number)
        end, script = f"{chance.getrandbits(24):06x}", f"script-{number % scripts:03}.js"
        record = copy_of(healthy, at=at, script=script, end=end)
        slow = round(88.25 * chance.gauss(1, 0.03), 3)
        record["metrics"] = record["metrics"] | {"response_time_p95": slow}
        if chance.randrange(ANOMALOUS) == 0:
            message = f"p95 of GET /cart is {slow} ms, the limit is 80 ms"
            record["anomaly_analysis"] = verdict | {"issues": [message]}
            record["anomaly_analysis"]["findings"] = [verdict["findings"][0] | {"message": message}]
        yield record
