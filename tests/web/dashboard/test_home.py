"""The front page: states of scripts, their order, what is said of an incident in one line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from k6d.alerts.records import Incident, IncidentState
from k6d.core.model import Severity
from k6d.core.text import brief, circumstances
from k6d.scripts.catalog import Entry
from k6d.storage.query import LatestState
from k6d.web.dashboard import home
from k6d.web.dashboard.home import Facts
from k6d.web.rendering import filters
from support.records import NOON


def entry(
    script: str = "a.js", *, severity: str | None = None, runs: int = 9, **more: Any
) -> Entry:
    """A script in the folder with that many comparable runs."""
    last = {
        "test_id": f"run-{runs}",
        "timestamp": NOON.isoformat(),
        "severity": severity,
        "outcome": more.pop("outcome", "completed"),
        "error_rate": 1.0,
        "response_time_p95": float(runs),
    }
    latest = LatestState(
        last=last, newest=last, values=[1.0], comparable=[f"run-{n}" for n in range(runs)]
    )
    given = {"kind": "test", "place": "folder", "missing": None, "left_alone": None, "settings": {}}
    return Entry(script=script, latest=latest if runs else None, **given | more)


def incident(script: str, severity: Severity = Severity.HIGH, **more: Any) -> IncidentState:
    """A script with an open incident of five hours."""
    found = Incident(
        id="i",
        script=script,
        since=NOON - timedelta(hours=5),
        severity=severity,
        peak=severity,
        problems=more.get("problems", {"p": "slow"}),
        first_run="a",
        last_run="b",
        last_seen=NOON,
    )
    return IncidentState(script=script, incident=found)


def facts(**changes: Any) -> Facts:
    """Nothing is known but the scripts."""
    none: dict[str, Any] = {"incidents": {}, "mutes": {}, "starts": {}, "accepted": {}, "needed": 5}
    return Facts(**none | changes)


@pytest.mark.parametrize(
    ("given", "known", "expected"),
    [
        (entry(), facts(), ("healthy", "")),
        (entry(runs=2), facts(), ("learning", "2 of 5 runs")),
        (entry(), facts(accepted={"a.js": "run-7"}), ("learning", "2 of 5 runs")),
        (entry(runs=2), facts(needed=0), ("healthy", "")),
        (entry(), facts(incidents={"a.js": incident("a.js")}), ("failing", "")),
        (entry(severity="high"), facts(), ("failing", "")),
        (entry(outcome="script error"), facts(), ("script error", "")),
        (entry(settings={"enabled": False}), facts(), ("disabled", "ext.k6d.enabled is false")),
        (entry(disabled="a*"), facts(), ("disabled", "by a*")),
        (entry(missing="users.json"), facts(), ("waiting for a file", "users.json")),
        (entry(runs=0), facts(), ("not run yet", "")),
    ],
)  # fmt: skip
def test_states(given: Entry, known: Facts, expected: tuple[str, str]) -> None:
    """A severity is no state, and a script with an open incident is not healthy (trials E)."""
    state = home.state_of(given, known)
    assert (state.word, state.detail) == expected


def test_a_healthy_run_does_not_hide_the_open_incident() -> None:
    """The last run was healthy, the incident waits for another one: the script is failing."""
    state = home.state_of(entry(), facts(incidents={"a.js": incident("a.js")}))
    assert state.word == "failing"
    assert state.since == NOON - timedelta(hours=5)


def test_the_failing_ones_come_first() -> None:
    """By severity, then errors of the script, learning, healthy; other orders on request."""
    known = facts(
        incidents={"z.js": incident("z.js"), "y.js": incident("y.js", Severity.CRITICAL)},
        mutes={"b*": NOON},
    )
    given = [
        entry("a.js"),
        entry("b.js", runs=2),
        entry("c.js", outcome="timed out"),
        entry("y.js"),
        entry("z.js"),
    ]
    cards = [home.card(one, known) for one in given]

    def names(text: str = "", state: str = "", sort: str = "") -> list[str]:
        return [one.script for one in home.chosen(cards, text=text, state=state, sort=sort)]

    assert names() == ["y.js", "z.js", "c.js", "b.js", "a.js"]
    assert names(sort="script") == ["a.js", "b.js", "c.js", "y.js", "z.js"]
    assert names(sort="value")[-1] == "b.js"
    assert names(state="failing") == ["y.js", "z.js"]
    assert names(state="muted") == ["b.js"]
    assert names(text="Y.") == ["y.js"]


AT_ONCE = "a.js changed with this run, 4 min after “v; 2”"


@pytest.mark.parametrize(
    ("said", "changed"),
    [
        ("p95 2 ms; since run x-1 on 27 Nov, 06:40 UTC", ""),
        (
            "p95 2 ms; since run x-1 on 27 Nov, 06:40 UTC, 4 min after “v2; b”",
            "4 min after “v2; b”",
        ),
        (
            "p95 2 ms; since run x-1 on 7 Nov, 06:40 UTC, 4 min after “v”, when a.js changed",
            "4 min after “v”, when a.js changed",
        ),
        ("p95 2 ms; a.js changed with this run", "a.js changed with this run"),
        ("p95 2 ms; also p99; 4 min after “v2”", "4 min after “v2”"),
        ("p95 2 ms; a.js changed with this run, 4 min after “v; 2”; not confirmed", AT_ONCE),
        ("5 % of the requests failed", ""),
    ],
)
def test_what_changed_when_an_incident_began(said: str, changed: str) -> None:
    """Files and marks, from the words of its finding."""
    assert circumstances(said) == changed


def test_one_line_about_an_incident() -> None:
    """The first clause of its worst problem, with the endpoint but without its host."""
    said = (
        "p95 of POST http://127.0.0.1:8090/checkout 219 ms, was 89.4 ms (+145 %); also overall "
        "p95; since run 20261127-064048-44499d on 27 Nov, 06:40 UTC"
    )
    assert brief(said) == "p95 of POST /checkout 219 ms, was 89.4 ms (+145 %)"
    k6s = "the script cannot run: no module ./lib.js, see https://grafana.com/docs/k6/"
    assert brief(k6s) == k6s
    found = incident("a.js", problems={"p": said, "q": "other"}).incident
    assert found is not None
    (line,) = home.problems([found], {"a.js": NOON})
    assert (line.more, line.muted_until, line.unmutes) == (1, NOON, True)
    (line,) = home.problems([found], {"a*": NOON})
    assert (line.muted_until, line.unmutes) == (NOON, False)


def test_a_start_that_is_overdue() -> None:
    """It has not started, so it is not "just now"."""
    now = datetime.now(UTC)
    assert filters.due(now - timedelta(minutes=3, seconds=9)) == "due 3 min ago"
    assert re.fullmatch(r"due \d+ s ago", filters.due(now - timedelta(seconds=22)))
    assert filters.due(now + timedelta(minutes=3, seconds=50)) == "in 3 min"


def test_a_script_error_is_red_and_among_the_failing() -> None:
    """Its colour is that of a failing script, not that of one that has not run."""
    state = home.state_of(entry(outcome="script error"), facts())
    assert (state.badge, state.rank) == ("high", 8)
