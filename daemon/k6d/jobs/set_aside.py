"""Scripts under way when k6d itself died: after three deaths in a row a script is set aside.

A script that makes the kernel kill the daemon each time (of hunger for memory, by the watchdog)
would otherwise end it for ever, and with it all other tests. A script that is set aside does not
run by itself until its contents change, or a person runs it and k6d outlives that.

The state `deaths` has an object for each script that was under way at the last death: how many in
a row, the run that was counted last, and the `contents` that it had. The state `life` says whether
the daemon before this one ended in good order; what `k6d run` left behind is no death of a daemon.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k6d.core import reading
from k6d.core.model import K6dError, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from k6d.alerts.alerting import Alerts
    from k6d.scripts.registry import Registry
    from k6d.storage import Store

logger = logging.getLogger(__name__)

MOST_DEATHS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A script that was under way at the death of `deaths` daemons in a row."""

    script: str
    deaths: int
    contents: str


class SetAside:
    """What one data folder knows of such scripts."""

    def __init__(self, store: Store, registry: Registry, alerts: Alerts) -> None:
        self._registry, self._alerts = registry, alerts
        self._deaths, self._life = store.state("deaths"), store.state("life")

    def begin(self, under_way: Iterable[tuple[str, str]], scripts: Path) -> None:
        """A daemon starts: count what was under way, (script, run), unless the last ended well.

        What is set aside by this very death is told. What was not under way is forgotten.
        """
        ended_well = (self._life.get("daemon") or {}).get("orderly", True)
        found = {} if ended_well else dict(under_way)
        for script, run in found.items():
            before = self._deaths.get(script) or {}
            if before.get("run") == run:  # killed again before it was through with this
                continue
            contents = self.contents(script, scripts / script)
            same = before.get("contents") == contents
            deaths = _deaths_in(before) + 1 if same else 1
            document = {"deaths": deaths, "run": run, "contents": contents}
            self._deaths.put(script, document)
            if deaths == MOST_DEATHS:
                self._tell(Death(script=script, deaths=deaths, contents=contents))
        for script, kept in self._deaths.all().items():
            if script not in found and _deaths_in(kept) < MOST_DEATHS:
                self._deaths.delete(script)
        self._note_life(orderly=False)

    def _tell(self, death: Death) -> None:
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
        """The daemon ends in good order."""
        self._note_life(orderly=True)

    def _note_life(self, *, orderly: bool) -> None:
        """Write down how the daemon stands; a disk that refuses costs the count, not the daemon."""
        try:
            self._life.put("daemon", {"orderly": orderly})
        except K6dError as error:
            logger.error("whether the daemon ended in good order is not kept: %s", error)

    async def holds(self, script: str, path: Path) -> bool:
        """Whether the script is set aside, as it is now; reads its files."""
        kept = self._deaths.get(script)
        if kept is None or _deaths_in(kept) < MOST_DEATHS:
            return False
        now = await reading.apart(self.contents, script, path, about=f"a file of {script}")
        if now == kept.get("contents"):
            logger.warning("%s does not run: it is set aside, 'k6d doctor' says why", script)
        return bool(now == kept.get("contents"))

    def survived(self, script: str) -> None:
        """A run of it came to its end."""
        if self._deaths.get(script) is not None:
            self._deaths.delete(script)

    def contents(self, script: str, path: Path) -> str:
        """What stands for the script's file and all that it needs, as far as it can be read."""
        known = self._registry.get(script)
        needed = known.dependencies if known else {}
        found = hashlib.sha256()
        for one in sorted({str(path), *needed}):
            try:
                digest = reading.within(reading.LIMIT_S, reading.digest_of, one)
            except (OSError, reading.SlowError):
                digest = None
            found.update(f"{one}\n{digest}\n".encode(errors="surrogateescape"))
        return found.hexdigest()[:16]


def set_aside(store: Store) -> list[Death]:
    """The scripts that are set aside."""
    found = (
        Death(script=script, deaths=_deaths_in(kept), contents=str(kept.get("contents")))
        for script, kept in store.state("deaths").all().items()
    )
    return [death for death in found if death.deaths >= MOST_DEATHS]


def _deaths_in(kept: dict[str, Any]) -> int:
    """How many deaths an entry counts; 0 for one that does not parse."""
    deaths = kept.get("deaths")
    return deaths if isinstance(deaths, int) else 0
