"""The folder of a job under way, and what is left of one whose process died.

A job's folder is made before anything runs and removed after its run is saved. Its lock is the
kernel's: a folder that nobody locks belongs to a process that is gone.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson

from k6d.model import Trigger
from k6d.store.locks import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """What is known of a job before it runs; `started` in UTC."""

    test_id: str
    script: str
    trigger: Trigger
    started: datetime


@contextlib.contextmanager
def workdir(folder: Path, job: UnderWay) -> Iterator[Path]:
    """A private folder for the job, gone when the context is left."""
    path = folder / job.test_id
    path.mkdir(parents=True, mode=0o700)
    lock = try_lock(path / "lock")
    try:
        (path / "job.json").write_bytes(orjson.dumps(job))
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lock:
            lock.close()


@contextlib.contextmanager
def leftovers(folder: Path) -> Iterator[list[UnderWay]]:
    """Jobs whose process died under way; their folders are removed when the context is left.

    The caller records them inside the context: dying in between, it finds them again.
    """
    found = sorted(path for path in folder.glob("*/") if not path.is_symlink())
    dead = [(path, lock) for path in found if (lock := try_lock(path / "lock"))]
    try:
        yield [job for path, _ in dead if (job := _read(path))]
        for path, _ in dead:
            shutil.rmtree(path, ignore_errors=True)
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
