"""The folder of a job under way, and what is left of one whose process died.

A job's folder is made before anything runs and removed after its run is saved. Its lock is the
kernel's: a folder that nobody locks belongs to a process that is gone.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson

from k6d.core.model import Trigger
from k6d.storage.data_folder import new_folder, removable, remove_folder
from k6d.storage.locks import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

FOLDER = "work"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """What is known of a job before it runs; `started` in UTC."""

    test_id: str
    script: str
    trigger: Trigger
    started: datetime


@contextlib.contextmanager
def workdir(data: Path, job: UnderWay) -> Iterator[Path]:
    """A private folder for the job in the data folder, gone when the context is left."""
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


@contextlib.contextmanager
def leftovers(data: Path) -> Iterator[list[UnderWay]]:
    """Jobs whose process died under way; their folders are removed when the context is left.

    A folder that is not named like a run is somebody else's and stays. The caller records them
    inside the context: dying in between, it finds them again.
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
