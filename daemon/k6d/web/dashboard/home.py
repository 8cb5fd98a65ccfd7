"""What the front page shows of each script and each open incident, the failing ones first."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.core.metrics import METRICS
from k6d.core.model import HEALTHY, Outcome, Severity
from k6d.core.text import brief, circumstances, covers
from k6d.web.rendering import charts, filters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from markupsafe import Markup

    from k6d.alerts.records import Incident, IncidentState
    from k6d.scripts.catalog import Entry
    from k6d.scripts.starts import Start

# What a script can be, in the order of the page: what needs a person first.
FAILING, WAITING, LEARNING, NOT_RUN, DISABLED = (
    *("failing", "waiting for a file", "learning", "not run yet", "disabled"),
)
SORTS = {
    "state": "urgent first",
    "script": "name",
    "last": "last run",
    "value": "largest value",
    "errors": "most errors",
}
METRIC = "response_time_p95"
SHOWN = (METRIC, "response_time_avg", "error_rate", "requests_per_second")


@frozen
class State:
    """The state of a script: `word`, since when, and how bad it is (0 needs nobody)."""

    word: str
    badge: str
    rank: float
    since: datetime | None = None
    detail: str = ""


@frozen
class Card:
    """One script on the front page."""

    script: str
    state: State
    muted_until: datetime | None
    can_run: bool
    place: str
    last: dict[str, Any] | None
    value: float | None
    start: Start | None
    spark: Markup


@frozen
class Facts:
    """What is known besides the scripts: incidents, mutes, starts, accepted levels by script."""

    incidents: Mapping[str, IncidentState]
    mutes: Mapping[str, datetime]
    starts: Mapping[str, Start]
    accepted: Mapping[str, str]
    needed: int
    metric: str = METRIC


def card(entry: Entry, facts: Facts) -> Card:
    """Return what the page shows of a script."""
    latest = entry.latest
    values = latest.values if latest else []
    state = state_of(entry, facts)
    about = METRICS[facts.metric]
    return Card(
        script=entry.script,
        state=state,
        muted_until=muted_until(entry.script, facts.mutes),
        can_run=entry.place == "folder" and entry.kind != "library",
        place="" if entry.place == "folder" else entry.place,
        last=latest.last if latest else None,
        value=latest.last[facts.metric] if latest else None,
        start=facts.starts.get(entry.script) if state.word != DISABLED else None,
        spark=charts.spark(values, label=f"{about.short} of the last {len(values)} runs"),
    )


def state_of(entry: Entry, facts: Facts) -> State:
    """Return the state of a script; a severity is not a state."""
    own = entry.settings if isinstance(entry.settings, dict) else {}
    known = facts.incidents.get(entry.script)
    incident = known.incident if known else None
    last = entry.latest.last if entry.latest else None
    if incident:
        rank = 10 + incident.severity.rank
        return State(word=FAILING, badge=incident.severity, rank=rank, since=incident.since)
    if entry.disabled:
        return State(word=DISABLED, badge="", rank=0, detail=f"by {entry.disabled}")
    if own.get("enabled") is False:
        return State(word=DISABLED, badge="", rank=0, detail="ext.k6d.enabled is false")
    if entry.missing:
        return State(word=WAITING, badge="medium", rank=6, detail=entry.missing)
    if last is None:
        return State(word=NOT_RUN, badge="", rank=1, detail=entry.left_alone or "")
    verdict = filters.verdict(last)
    if verdict == HEALTHY:
        return _healthy(entry, facts)
    if verdict in list(Severity):
        began = known.failing_since if known else None
        since = began or datetime.fromisoformat(last["timestamp"])
        return State(word=FAILING, badge=verdict, rank=8 + Severity(verdict).rank / 10, since=since)
    if verdict == Outcome.SCRIPT_ERROR:
        return State(word=verdict, badge="high", rank=8)
    return State(word=verdict, badge="", rank=5)


def _healthy(entry: Entry, facts: Facts) -> State:
    comparable = entry.latest.comparable if entry.latest else []
    since = facts.accepted.get(entry.script, "")
    runs = sum(test_id >= since for test_id in comparable)
    if runs < facts.needed:
        detail = f"{runs} of {facts.needed} runs"
        return State(word=LEARNING, badge="low", rank=2, detail=detail)
    return State(word=HEALTHY, badge=HEALTHY, rank=0)


def muted_until(script: str, mutes: Mapping[str, datetime]) -> datetime | None:
    """Return the last end of the mutes that cover the script."""
    return max((end for pattern, end in mutes.items() if covers(pattern, script)), default=None)


def chosen(cards: Iterable[Card], *, text: str, state: str, sort: str) -> list[Card]:
    """Return the cards that match, in the order asked for."""
    wanted = text.casefold()
    found = [
        one
        for one in cards
        if wanted in one.script.casefold()
        and (not state or state in (one.state.word, "muted" if one.muted_until else ""))
    ]
    orders = {
        "script": lambda one: one.script,
        "last": lambda one: _reversed(one.last["timestamp"] if one.last else ""),
        "value": lambda one: -(one.value or 0.0),
        "errors": lambda one: -((one.last or {}).get("error_rate") or 0.0),
    }
    by_need = lambda one: (-one.state.rank, one.script)  # noqa: E731
    return sorted(sorted(found, key=by_need), key=orders.get(sort, by_need))


def _reversed(text: str) -> tuple[int, ...]:
    """Return a key that sorts texts from the largest to the smallest."""
    return tuple(-ord(character) for character in text) or (1,)


@frozen
class Problem:
    """One line about an open incident; `more` counts its further problems.

    `changed` says what changed when it began: files and marks. `unmutes` is whether a mute of the
    script alone is what mutes it, so that ending that mute is enough.
    """

    incident: Incident
    what: str
    changed: str
    more: int
    muted_until: datetime | None
    unmutes: bool


def problems(incidents: Sequence[Incident], mutes: Mapping[str, datetime]) -> list[Problem]:
    """Return a line for each incident, the worst and newest first."""
    ordered = sorted(incidents, key=lambda one: (one.severity.rank, one.since), reverse=True)
    return [
        Problem(
            incident=one,
            what=brief(next(iter(one.problems.values()), "")),
            changed=next(filter(None, map(circumstances, one.problems.values())), ""),
            more=max(0, len(one.problems) - 1),
            muted_until=muted_until(one.script, mutes),
            unmutes=[key for key in mutes if covers(key, one.script)] == [one.script],
        )
        for one in ordered
    ]
