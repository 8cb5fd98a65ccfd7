"""Makes the temporary folder of a running job, and finds the folders of jobs whose process died.

The folder is made before k6 starts and removed after the run is saved. The kernel releases a lock
when its process ends, so a folder without a lock belongs to a dead process.
"""

from __future__ import annotations

import contextlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson

from k6d.core.frozen import frozen
from k6d.core.model import Trigger
from k6d.storage.data_folder import new_folder, removable, remove_folder
from k6d.storage.locks import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

FOLDER = "work"


@frozen
class UnderWay:
    """The facts about a job that are known before it runs; `started` is in UTC."""

    test_id: str
    script: str
    trigger: Trigger
    started: datetime


@contextlib.contextmanager
def workdir(data: Path, job: UnderWay) -> Iterator[Path]:
    """Make a private folder for the job in the data folder; leaving the context removes it."""
    path = data / FOLDER / job.test_id
    new_folder(path, root=data)
    lock = try_lock(path / "lock", root=data)
    try:
        (path / "job.json").write_bytes(orjson.dumps(job))
        yield path
    finally:
        remove_folder(path, root=data)
        if lock:
            lock.close()


def is_alive(data: Path, test_id: str) -> bool:
    """Return whether a process works on this job."""
    path = data / FOLDER / test_id
    if not path.is_dir():
        return False
    lock = try_lock(path / "lock", root=data)
    if lock:
        lock.close()
    return lock is None


@contextlib.contextmanager
def leftovers(data: Path) -> Iterator[list[UnderWay]]:
    """Yield the jobs whose process died; leaving the context removes their folders.

    A folder that is not named like a run is not k6d's and stays. The caller records the jobs inside
    the context, so that it finds them again if it dies before that.
    """
    found = list(removable(data / FOLDER))
    dead = [(path, lock) for path in found if (lock := try_lock(path / "lock", root=data))]
    try:
        yield [job for path, _ in dead if (job := _read(path))]
        for path, _ in dead:
            remove_folder(path, root=data)
    finally:
        for _, lock in dead:
            lock.close()


def _read(path: Path) -> UnderWay | None:
    try:
        raw = orjson.loads((path / "job.json").read_bytes())
        started = datetime.fromisoformat(raw["started"]).astimezone(UTC)
        return UnderWay(
            test_id=raw["test_id"],
            script=raw["script"],
            trigger=Trigger(raw["trigger"]),
            started=started,
        )
    except (OSError, ValueError, KeyError, TypeError):
        logger.info("%s was left by a job that had not begun; removing it", path)
        return None
