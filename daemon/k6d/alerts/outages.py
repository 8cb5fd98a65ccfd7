"""Outages of what many scripts need, notified once: k6, this machine's network, a cluster.

A run that has no verdict because of an outage changes no incident. The state `outages` has one
object for each outage: `since`, its first run; `scripts`, the number of runs of each script without
a verdict; `quiet`, the muted ones of them; `told`, whether it was notified. An outage is over when
each of its scripts has a verdict or is gone.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.core.model import INCONCLUSIVE, Outcome, Severity
from k6d.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from k6d.core.model import Run
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

MACHINE = "this machine"
MOST_NAMED = 20
# A missing k6 holds the whole queue; the other outages may be over before the next try.
RUNS_BEFORE_NOTICE = {Outcome.K6_UNAVAILABLE: 1}
TITLES = {
    Outcome.K6_UNAVAILABLE: "no k6",
    Outcome.NO_NETWORK: "no network",
    Outcome.MODULE_SERVER: "module server unavailable",
    Outcome.NO_CAPACITY: "no room in the cluster",
    Outcome.CLUSTER: "cluster unavailable",
}


@frozen
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
        """Return the outage in one sentence, for lists."""
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
    """The outages in one data folder; `is_gone` says whether a script's file is gone.

    `announce` is `Alerts.announce`.
    """

    def __init__(
        self, store: Store, announce: Callable[..., bool], is_gone: Callable[[str], bool]
    ) -> None:
        self._state = store.state("outages")
        self._announce, self._is_gone = announce, is_gone

    def open(self) -> list[Outage]:
        """Return the outages that are not over, the oldest first."""
        found = []
        for cause, document in self._state.all().items():
            state = _read(document)
            if cause in TITLES and (waiting := self._waiting(state)):
                outage = Outage(
                    cause=TITLES[Outcome(cause)],
                    since=_time_of(state["since"]),
                    scripts=sorted(waiting),
                    tries=max(state["scripts"][name] for name in waiting),
                )
                found.append((state["since"], outage))
        return [outage for _, outage in sorted(found, key=lambda pair: pair[0])]

    def record(self, run: Run, *, quiet: bool = False) -> None:
        """Record a run: an outage prevented its verdict, or its verdict ends the outage for it.

        `quiet`: the script is muted.
        """
        outcome = run.execution.outcome
        if outcome in INCONCLUSIVE:
            self._record_no_verdict(run, outcome, quiet=quiet)
        elif outcome is not Outcome.ABORTED:
            for cause, document in self._state.all().items():
                state = _read(document)
                if cause in TITLES and run.script in state["scripts"]:
                    self._record_verdict(cause, state, run)

    def _record_no_verdict(self, run: Run, outcome: Outcome, *, quiet: bool) -> None:
        cause = outcome.value
        state = _read(self._state.get(cause) or {"since": run.test_id})
        runs = state["scripts"].get(run.script, 0) + 1
        state["scripts"][run.script] = runs
        others = {name for name in state["quiet"] if name != run.script}
        state["quiet"] = sorted(others | {run.script} if quiet else others)
        self._state.put(cause, state)
        if state["told"] or quiet or runs < RUNS_BEFORE_NOTICE.get(outcome, 2):
            return
        verdict = run.anomaly_analysis
        notified = _not_muted(state)
        finding = verdict.findings[0] if verdict.findings else None
        told = self._announce(
            key=_key(outcome, state, "on"),
            script=MACHINE,
            subject=f"{TITLES[outcome]}: {plural(len(notified), 'script')} without a "
            "verdict, tried again automatically",
            severity=finding.severity if finding else Severity.HIGH,
            facts=[
                ("Scripts", _listed(notified)),
                ("Reason", run.execution.error or outcome.value),
                *[("Next step", text) for text in verdict.recommendations[:1]],
            ],
            about=notified,
        )
        logger.warning("%s: no verdict on %s", TITLES[outcome], _listed(notified))
        self._state.put(cause, state | {"told": told})

    def _record_verdict(self, cause: str, state: dict[str, Any], run: Run) -> None:
        state["scripts"][run.script] = 0
        left = self._waiting(state)
        notified = _not_muted(state)
        if state["told"] and not left & set(notified):
            self._announce(
                key=_key(cause, state, "over"),
                script=MACHINE,
                subject=f"over: {TITLES[Outcome(cause)]}; every script has a verdict again",
                severity=Severity.CRITICAL if cause == Outcome.K6_UNAVAILABLE else Severity.HIGH,
                facts=[("Scripts", _listed(notified))],
                about=notified,
            )
            state |= {"told": False, "since": run.test_id}
        if left:
            self._state.put(cause, state)
            return
        logger.info("%s: over", TITLES[Outcome(cause)])
        self._state.delete(cause)

    def _waiting(self, state: dict[str, Any]) -> set[str]:
        """Return the scripts that have no verdict yet and are not gone."""
        return {name for name, runs in state["scripts"].items() if runs and not self._is_gone(name)}


def _read(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with all its fields; malformed ones count as missing."""
    scripts, quiet = document.get("scripts"), document.get("quiet")
    scripts = scripts if isinstance(scripts, dict) else {}
    quiet = quiet if isinstance(quiet, list) else []
    return {
        "since": str(document.get("since")),
        "quiet": [name for name in quiet if isinstance(name, str)],
        "scripts": {name: runs for name, runs in scripts.items() if isinstance(runs, int)},
        "told": document.get("told") is True,
    }


def _not_muted(state: dict[str, Any]) -> list[str]:
    """Return the scripts that are not muted."""
    return [name for name in state["scripts"] if name not in state["quiet"]]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(sorted(names)[:MOST_NAMED]) + more


def _key(cause: str, state: dict[str, Any], which: str) -> str:
    digest = hashlib.sha256(f"{cause}\n{state['since']}".encode()).hexdigest()[:16]
    return f"outage-{digest}-{which}"
