"""Whether a script is to run because it, or a file that it depends on, has changed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k6d.dependents import paths_now
from k6d.execution.scripts import Kind, unchanged
from k6d.job import Job
from k6d.model import Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)


def job_of(name: str, path: Path, known: Mapping[str, Any] | None, *, root: Path) -> Job | None:
    """The job for the script at `path`; None when its contents are those that ran last.

    `known` is what is kept of the script, None for a new one; `root` is the scripts folder.
    Reads the script and its dependencies.
    """
    if known is None:
        return Job(name=name, path=path, trigger=Trigger.ADDED)
    kind, paths = known.get("kind"), paths_now(known.get("dependencies"), script=name, root=root)
    finished = kind == Kind.LIBRARY or known.get("ran") == known.get("fingerprint")
    if finished and kind != Kind.BROKEN and unchanged(paths):
        return None
    missing = [p for p in paths if not Path(p).exists()]
    present = {p: d for p, d in paths.items() if p not in missing}
    if missing and unchanged(present):
        logger.warning("%s needs %s, which is gone; waiting for it", name, missing[0])
        return None
    return Job(name=name, path=path, trigger=Trigger.CHANGED)
