"""Outages of what every script needs (k6, this machine's network, a module server), told once.

A run that such an outage kept from a verdict changes no incident. The state `outages` has one
object for each outage: `since`, when the first run met it; `scripts`, how many runs of each script
met it since that script's last verdict; `told`, whether people know. An outage is over when each
of its scripts has had a verdict, or is gone.
"""

from __future__ import annotations

import hashlib
import logging
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


class Outages:
    """The outages that one data folder knows of; `is_gone` says whether a script's file is gone."""

    def __init__(self, store: Store, announce: Announce, is_gone: Callable[[str], bool]) -> None:
        self._state = store.state("outages")
        self._announce, self._is_gone = announce, is_gone

    def record(self, run: Run, *, quiet: bool = False) -> None:
        """Take a run in: it met an outage, or its verdict shows that the outage is over for it.

        `quiet`: nobody is to hear of this script.
        """
        outcome = run.execution.outcome
        if outcome in INCONCLUSIVE:
            if not quiet:
                self._met(run, outcome)
        elif outcome is not Outcome.ABORTED:
            for cause, document in self._state.all().items():
                kept = _read(document)
                if cause in TITLES and run.script in kept["scripts"]:
                    self._verdict_again(cause, kept, run)

    def _met(self, run: Run, outcome: Outcome) -> None:
        cause = outcome.value
        kept = _read(self._state.get(cause) or {"since": run.test_id})
        runs = kept["scripts"].get(run.script, 0) + 1
        kept["scripts"][run.script] = runs
        self._state.put(cause, kept)
        if kept["told"] or runs < RUNS_BEFORE_TOLD.get(outcome, 2):
            return
        verdict = run.anomaly_analysis
        names = _names(kept)
        finding = verdict.findings[0] if verdict.findings else None
        told = self._announce(
            key=_key(outcome, kept, "on"),
            script=MACHINE,
            subject=f"{TITLES[outcome]}: {plural(len(kept['scripts']), 'script')} without a "
            "verdict, tried again automatically",
            severity=finding.severity if finding else Severity.HIGH,
            facts=[
                ("Scripts", names),
                ("Reason", run.execution.error or outcome.value),
                *[("To do", text) for text in verdict.recommendations[:1]],
            ],
            about=list(kept["scripts"]),
        )
        logger.warning("%s: no verdict on %s", TITLES[outcome], names)
        self._state.put(cause, kept | {"told": told})

    def _verdict_again(self, cause: str, kept: dict[str, Any], run: Run) -> None:
        kept["scripts"][run.script] = 0
        left = [name for name, runs in kept["scripts"].items() if runs and not self._is_gone(name)]
        if left:
            self._state.put(cause, kept)
            return
        logger.info("%s: over", TITLES[Outcome(cause)])
        if kept["told"]:
            self._announce(
                key=_key(cause, kept, "over"),
                script=MACHINE,
                subject=f"over: {TITLES[Outcome(cause)]}; every script has a verdict again",
                severity=Severity.CRITICAL if cause == Outcome.K6_UNAVAILABLE else Severity.HIGH,
                facts=[("Scripts", _names(kept))],
                about=list(kept["scripts"]),
            )
        self._state.delete(cause)


def _read(document: dict[str, Any]) -> dict[str, Any]:
    """The document with all its fields; one of another shape counts as missing."""
    scripts = document.get("scripts")
    scripts = scripts if isinstance(scripts, dict) else {}
    return {
        "since": str(document.get("since")),
        "scripts": {name: runs for name, runs in scripts.items() if isinstance(runs, int)},
        "told": document.get("told") is True,
    }


def _names(kept: dict[str, Any]) -> str:
    names = sorted(kept["scripts"])
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _key(cause: str, kept: dict[str, Any], which: str) -> str:
    digest = hashlib.sha256(f"{cause}\n{kept['since']}".encode()).hexdigest()[:16]
    return f"outage-{digest}-{which}"
