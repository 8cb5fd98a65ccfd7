"""Sets scripts aside that were running when the daemon died three times in a row.

Otherwise a script that makes the daemon die each time (out of memory, or by the watchdog) would
stop all other tests for ever. A script that is set aside does not run by itself until its contents
change, or until a person runs it and k6d survives.

The state `deaths` has an object for each script that was running at the last death: the number of
deaths in a row, the run that was counted last, and the `contents` of the script. The state `life`
says whether the previous daemon ended in an orderly way. The death of a `k6d run` does not count.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

from k6d.core import reading
from k6d.core.frozen import frozen
from k6d.core.model import K6dError, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from k6d.alerts.alerting import Alerts
    from k6d.scripts.registry import Registry
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

MOST_DEATHS = 3


@frozen
class Death:
    """A script that was running when the daemon died, `deaths` times in a row."""

    script: str
    deaths: int
    contents: str


class SetAside:
    """The scripts of one data folder that are set aside."""

    def __init__(self, store: Store, registry: Registry, alerts: Alerts) -> None:
        self._registry, self._alerts = registry, alerts
        self._deaths, self._life = store.state("deaths"), store.state("life")

    def begin(self, under_way: Iterable[tuple[str, str]], scripts: Path) -> None:
        """Count the (script, run) pairs that were running, unless the last daemon ended orderly.

        Call it when a daemon starts. Scripts that are set aside by this death are reported. The
        counts of all other scripts are removed.
        """
        ended_well = (self._life.get("daemon") or {}).get("orderly", True)
        found = {} if ended_well else dict(under_way)
        for script, run in found.items():
            before = self._deaths.get(script) or {}
            if before.get("run") == run:  # counted already: killed again before this had finished
                continue
            contents = self.contents(script, scripts / script)
            same = before.get("contents") == contents
            deaths = _deaths_in(before) + 1 if same else 1
            document = {"deaths": deaths, "run": run, "contents": contents}
            self._deaths.put(script, document)
            if deaths == MOST_DEATHS:
                self._announce(Death(script=script, deaths=deaths, contents=contents))
        for script, stored in self._deaths.all().items():
            if script not in found and _deaths_in(stored) < MOST_DEATHS:
                self._deaths.delete(script)
        self._note_life(orderly=False)

    def _announce(self, death: Death) -> None:
        why = f"k6d died {death.deaths} times in a row while it ran"
        remedy = f"change it, or run it with 'k6d run {death.script}'"
        logger.error("%s is set aside: %s; %s", death.script, why, remedy)
        self._alerts.announce(
            key=f"aside-{hashlib.sha256(death.script.encode()).hexdigest()[:12]}-{death.contents}",
            script=death.script,
            subject=f"set aside: {why}",
            severity=Severity.HIGH,
            facts=[("To have it run again", remedy)],
        )

    def end(self) -> None:
        """Note that the daemon ends in an orderly way."""
        self._note_life(orderly=True)

    def _note_life(self, *, orderly: bool) -> None:
        """Store whether the daemon ended orderly; an error is only logged."""
        try:
            self._life.put("daemon", {"orderly": orderly})
        except K6dError as error:
            logger.error("whether the daemon ended in good order is not kept: %s", error)

    async def holds(self, script: str, path: Path) -> bool:
        """Return whether the script is set aside with its current contents; reads its files."""
        stored = self._deaths.get(script)
        if stored is None or _deaths_in(stored) < MOST_DEATHS:
            return False
        now = await reading.in_thread(self.contents, script, path, about=f"a file of {script}")
        if now == stored.get("contents"):
            logger.warning("%s does not run: it is set aside, 'k6d doctor' says why", script)
        return bool(now == stored.get("contents"))

    def survived(self, script: str) -> None:
        """Reset the count of the script after a finished run."""
        if self._deaths.get(script) is not None:
            self._deaths.delete(script)

    def contents(self, script: str, path: Path) -> str:
        """Return a digest of the script's file and its readable dependencies."""
        known = self._registry.get(script)
        needed = known.dependencies if known else {}
        found = hashlib.sha256()
        for one in sorted({str(path), *needed}):
            try:
                digest = reading.with_time_limit(reading.LIMIT_S, reading.digest_of, one)
            except (OSError, reading.SlowError):
                digest = None
            found.update(f"{one}\n{digest}\n".encode(errors="surrogateescape"))
        return found.hexdigest()[:16]


def set_aside(store: Store) -> list[Death]:
    """Return the scripts that are set aside."""
    found = (
        Death(script=script, deaths=_deaths_in(stored), contents=str(stored.get("contents")))
        for script, stored in store.state("deaths").all().items()
    )
    return [death for death in found if death.deaths >= MOST_DEATHS]


def _deaths_in(stored: dict[str, Any]) -> int:
    """Return the number of deaths in an entry; 0 if it is malformed."""
    deaths = stored.get("deaths")
    return deaths if isinstance(deaths, int) else 0
