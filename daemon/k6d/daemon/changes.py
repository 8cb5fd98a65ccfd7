"""Converts changed paths to jobs: finds the affected scripts, and which of them must run.

Each script is inspected separately, in a thread, with a time limit. So a problem with one script,
or with its disk, does not keep the others from running, and watching goes on.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from k6d.core import reading
from k6d.core.job import Job
from k6d.core.model import K6dError, Trigger
from k6d.core.script import Kind
from k6d.core.text import plural
from k6d.execution.archive import name_of, unchanged
from k6d.execution.recognise import Recognised, Texts, Uses
from k6d.scripts.candidates import is_candidate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from k6d.jobs.registration import Registration
    from k6d.scripts.dependencies import Dependents
    from k6d.scripts.registry import ScriptState
    from k6d.settings import Settings

logger = logging.getLogger(__name__)

RETRY_S = 5.0
GONE = "gone"
_Found = Job | Recognised | str | None


class Changes:
    """Inspects changes in one scripts folder; `on_gone` is called for scripts without a file."""

    def __init__(
        self,
        settings: Settings,
        registration: Registration,
        dependents: Dependents,
        *,
        on_gone: Callable[[str], object],
    ) -> None:
        self._settings = settings
        self._registration = registration
        self._dependents = dependents
        self._on_gone = on_gone

    async def jobs(self, batch: Iterable[Path]) -> list[Job]:
        """Return a job for each script that changed, itself or a dependency, since it last ran."""
        jobs: list[Job] = []
        left_alone: dict[str, Recognised] = {}
        texts = Texts()
        for name, path in sorted(self._concerned(batch).items()):
            found = await self._look_at(name, path, texts)
            if found is GONE:
                self._on_gone(name)
            elif isinstance(found, Job):
                jobs.append(found)
            elif isinstance(found, Recognised):
                left_alone[name] = found
        del texts  # of thousands of files, perhaps
        if left_alone:
            await self._leave_alone(left_alone)
        return jobs

    def _concerned(self, batch: Iterable[Path]) -> dict[str, Path]:
        root, concerned = self._settings.scripts, {}
        for path in batch:
            for name in self._dependents.of(str(path)):
                concerned[name] = root / name
            if path.is_relative_to(root) and is_candidate(
                path.relative_to(root), self._settings.watch.ignore
            ):
                concerned[name_of(path, root)] = path
        return concerned

    async def _look_at(self, name: str, path: Path, texts: Texts) -> _Found:
        """Inspect a script; retry while the data folder cannot be read; later changes wait."""
        while True:
            try:
                return await reading.in_thread(
                    self._look, name, path, texts, about=f"a file of {name}"
                )
            except reading.SlowError as error:
                logger.error("%s is not looked at until it changes again: %s", name, error)
                return None
            except (K6dError, OSError) as error:
                logger.error("changes are looked at again in %g s: %s", RETRY_S, error)
            except Exception:
                logger.exception("%s: a mistake of k6d's own; please report it", name)
                return None
            await asyncio.sleep(RETRY_S)

    def _look(self, name: str, path: Path, texts: Texts) -> _Found:
        if not path.is_file():
            return GONE
        known = self._registration.registry.get(name)
        if known and not _is_changed(name, known):
            return None
        if not (known and known.was_test):
            found = texts.recognise(str(path))
            if found.uses is Uses.NO:
                return found
        trigger = Trigger.CHANGED if known else Trigger.ADDED
        return Job(name=name, path=path, trigger=trigger)

    async def _leave_alone(self, found: dict[str, Recognised]) -> None:
        logger.info("left alone, no tests: %s; 'k6d scripts' says why", plural(len(found), "file"))
        # First what is kept in memory: between the records for the disk it would hold their memory.
        for name, one in found.items():
            self._dependents.put(name, one.dependencies, broken=False)
        while True:
            try:
                self._registration.leave_alone(found)
            except K6dError as error:
                logger.error("what is no test is noted again in %g s: %s", RETRY_S, error)
                await asyncio.sleep(RETRY_S)
            else:
                break


def _is_changed(name: str, state: ScriptState) -> bool:
    paths = state.dependencies
    finished = state.kind is Kind.LIBRARY or state.has_run_current_contents
    if finished and state.kind is not Kind.BROKEN and unchanged(paths):
        return False
    if state.kind is Kind.LIBRARY:
        return True
    missing = [p for p in paths if not Path(p).exists()]
    present = {p: d for p, d in paths.items() if p not in missing}
    if missing and unchanged(present):
        logger.warning("%s needs %s, which is gone; waiting for it", name, missing[0])
        return False
    return True
