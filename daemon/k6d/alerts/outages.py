"""Outages of what every script needs (k6, this machine's network, a module server), told once.

A run that such an outage kept from a verdict changes no incident. The state `outages` has one
object for each outage: `since`, the first run that met it; `scripts`, how many runs of each script
met it since that script's last verdict; `quiet`, those of them of which nobody is to hear; `told`,
whether people know. An outage is over when each of its scripts has had a verdict, or is gone.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from k6d.core.model import INCONCLUSIVE, Outcome, Severity
from k6d.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from k6d.core.model import Run
    from k6d.storage import Store

logger = logging.getLogger(__name__)

MACHINE = "this machine"
MOST_NAMED = 20
# k6 that is missing holds the whole queue; the rest may be over before the next try.
RUNS_BEFORE_TOLD = {Outcome.K6_UNAVAILABLE: 1}
TITLES = {
    Outcome.K6_UNAVAILABLE: "no k6",
    Outcome.NO_NETWORK: "no network",
    Outcome.MODULE_SERVER: "module server unavailable",
}


class Announce(Protocol):
    """`Alerts.announce`."""

    def __call__(
        self,
        *,
        key: str,
        script: str,
        subject: str,
        severity: Severity,
        facts: Iterable[tuple[str, str]] = (),
        about: Iterable[str] = (),
    ) -> bool:
        """Tell the receivers of the scripts `about`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """An open outage: since when (None if the state does not say), and who has no verdict.

    `tries` is the number of tries of the script that tried most often.
    """

    cause: str
    since: datetime | None
    scripts: list[str]
    tries: int

    @property
    def line(self) -> str:
        """The outage in one sentence, for lists."""
        since = f" since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""
        names, have = _listed(self.scripts), "has" if len(self.scripts) == 1 else "have"
        tries = plural(self.tries, "try", "tries")
        return f"{self.cause}{since}: {names} {have} no verdict after {tries}"


def _time_of(test_id: str) -> datetime | None:
    try:
        return datetime.strptime(test_id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


class Outages:
    """The outages that one data folder knows of; `is_gone` says whether a script's file is gone."""

    def __init__(self, store: Store, announce: Announce, is_gone: Callable[[str], bool]) -> None:
        self._state = store.state("outages")
        self._announce, self._is_gone = announce, is_gone

    def open(self) -> list[Outage]:
        """The outages that some script still has, the oldest first."""
        found = []
        for cause, document in self._state.all().items():
            kept = _read(document)
            if cause in TITLES and (waiting := self._waiting(kept)):
                outage = Outage(
                    cause=TITLES[Outcome(cause)],
                    since=_time_of(kept["since"]),
                    scripts=sorted(waiting),
                    tries=max(kept["scripts"][name] for name in waiting),
                )
                found.append((kept["since"], outage))
        return [outage for _, outage in sorted(found, key=lambda pair: pair[0])]

    def record(self, run: Run, *, quiet: bool = False) -> None:
        """Take a run in: it met an outage, or its verdict shows that the outage is over for it.

        `quiet`: nobody is to hear of this script.
        """
        outcome = run.execution.outcome
        if outcome in INCONCLUSIVE:
            self._met(run, outcome, quiet=quiet)
        elif outcome is not Outcome.ABORTED:
            for cause, document in self._state.all().items():
                kept = _read(document)
                if cause in TITLES and run.script in kept["scripts"]:
                    self._verdict_again(cause, kept, run)

    def _met(self, run: Run, outcome: Outcome, *, quiet: bool) -> None:
        cause = outcome.value
        kept = _read(self._state.get(cause) or {"since": run.test_id})
        runs = kept["scripts"].get(run.script, 0) + 1
        kept["scripts"][run.script] = runs
        others = {name for name in kept["quiet"] if name != run.script}
        kept["quiet"] = sorted(others | {run.script} if quiet else others)
        self._state.put(cause, kept)
        if kept["told"] or quiet or runs < RUNS_BEFORE_TOLD.get(outcome, 2):
            return
        verdict = run.anomaly_analysis
        heard = _heard(kept)
        finding = verdict.findings[0] if verdict.findings else None
        told = self._announce(
            key=_key(outcome, kept, "on"),
            script=MACHINE,
            subject=f"{TITLES[outcome]}: {plural(len(heard), 'script')} without a "
            "verdict, tried again automatically",
            severity=finding.severity if finding else Severity.HIGH,
            facts=[
                ("Scripts", _listed(heard)),
                ("Reason", run.execution.error or outcome.value),
                *[("To do", text) for text in verdict.recommendations[:1]],
            ],
            about=heard,
        )
        logger.warning("%s: no verdict on %s", TITLES[outcome], _listed(heard))
        self._state.put(cause, kept | {"told": told})

    def _verdict_again(self, cause: str, kept: dict[str, Any], run: Run) -> None:
        kept["scripts"][run.script] = 0
        left = self._waiting(kept)
        heard = _heard(kept)
        if kept["told"] and not left & set(heard):
            self._announce(
                key=_key(cause, kept, "over"),
                script=MACHINE,
                subject=f"over: {TITLES[Outcome(cause)]}; every script has a verdict again",
                severity=Severity.CRITICAL if cause == Outcome.K6_UNAVAILABLE else Severity.HIGH,
                facts=[("Scripts", _listed(heard))],
                about=heard,
            )
            kept |= {"told": False, "since": run.test_id}
        if left:
            self._state.put(cause, kept)
            return
        logger.info("%s: over", TITLES[Outcome(cause)])
        self._state.delete(cause)

    def _waiting(self, kept: dict[str, Any]) -> set[str]:
        """The scripts that have no verdict yet, and are not gone."""
        return {name for name, runs in kept["scripts"].items() if runs and not self._is_gone(name)}


def _read(document: dict[str, Any]) -> dict[str, Any]:
    """The document with all its fields; one of another shape counts as missing."""
    scripts, quiet = document.get("scripts"), document.get("quiet")
    scripts = scripts if isinstance(scripts, dict) else {}
    quiet = quiet if isinstance(quiet, list) else []
    return {
        "since": str(document.get("since")),
        "quiet": [name for name in quiet if isinstance(name, str)],
        "scripts": {name: runs for name, runs in scripts.items() if isinstance(runs, int)},
        "told": document.get("told") is True,
    }


def _heard(kept: dict[str, Any]) -> list[str]:
    """The scripts of which people are to hear."""
    return [name for name in kept["scripts"] if name not in kept["quiet"]]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(sorted(names)[:MOST_NAMED]) + more


def _key(cause: str, kept: dict[str, Any], which: str) -> str:
    digest = hashlib.sha256(f"{cause}\n{kept['since']}".encode()).hexdigest()[:16]
    return f"outage-{digest}-{which}"
