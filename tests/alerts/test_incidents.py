"""The state machine of incidents: histories as data, and what holds for every history."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from k6d.alerts.incidents import (
    SILENT_RUNS,
    Rules,
    accepted,
    acknowledged,
    advance,
    ended,
    remind,
    without_announcements,
)
from k6d.alerts.observation import observe
from k6d.alerts.records import Change, IncidentState, Observation
from k6d.core.measurements import Breakdown
from k6d.core.model import (
    Comparison,
    Execution,
    Finding,
    FindingKind,
    Outcome,
    Severity,
    Trigger,
    Verdict,
)
from support.records import NOON, make_anomaly, make_endpoint, make_run

if TYPE_CHECKING:
    from k6d.alerts.records import Announcement

LETTERS = {"l": Severity.LOW, "m": Severity.MEDIUM, "h": Severity.HIGH, "c": Severity.CRITICAL}
TOLD = {
    Change.OPENED: "open",
    Change.WORSENED: "worse",
    Change.CHANGED: "other",
    Change.IMPROVED: "better",
    Change.RESOLVED: "ok",
    Change.REMINDER: "still",
}


def look(number: int, sign: str, **more: Any) -> Observation:
    """A run an hour after the last: l, m, h, c anomalous, "." healthy, "?" neither.

    "h2" has another problem as well; "!" after it marks a run after an edit.
    """
    deliberate, sign = sign.endswith("!"), sign.rstrip("!")
    severity = LETTERS.get(sign[0])
    problems = {f"p{p}": f"problem {p}" for p in (sign[1:] or "1")} if severity else {}
    seen = Observation(
        run=f"run-{number:04}",
        at=NOON + timedelta(hours=number),
        script="a.js",
        severity=severity,
        healthy=sign == ".",
        problems=problems,
        deliberate=deliberate,
    )
    return replace(seen, **more)


def play(signs: str, rules: Rules) -> tuple[IncidentState, list[Announcement | None]]:
    """What is told after each run of a history."""
    state, told = IncidentState(script="a.js"), []
    for number, sign in enumerate(signs.split()):
        state, announcement = advance(state, look(number, sign), rules)
        told.append(announcement)
    return state, told


@pytest.mark.parametrize(
    ("signs", "expected", "rules"),
    [
        ("h", "open", {}),
        (". . .", "- - -", {}),
        ("h h h", "open - -", {}),
        ("h c c h", "open worse - -", {}),
        ("h c h h h", "open worse - better -", {}),
        ("c h!", "open better", {}),
        ("h . h . h . .", "open - - - - - ok", {}),
        ("h .!", "open ok", {}),
        ("h . .", "open - ok", {}),
        ("h . . h", "open - ok open", {}),
        ("h1 h2 h1 h2 h12", "open other - - -", {}),
        ("h ? ? .", "open - - -", {}),
        ("h ? . ? .", "open - - - ok", {}),
        ("h h . h h h", "- - - - - open", {"open_after": 3}),
        ("h ? h", "- - open", {"open_after": 2}),
        ("h . h .", "open ok open ok", {"resolve_after": 1}),
        ("l m h . .", "- - open - ok", {"min_severity": Severity.HIGH}),
        ("h l l . .", "open - better - ok", {"min_severity": Severity.HIGH}),
        ("l . .", "- - -", {"min_severity": Severity.MEDIUM}),
        ("h c . .", "- - - -", {"muted": True}),
        ("h h h h", "open - - still", {"remind_s": 3 * 3600}),
        ("h h h h", "open - - -", {"remind_s": 0}),
        ("l h l l h", "open worse - better -", {}),
        ("l h l l h h l l l l h h h h", "open worse - better - worse - - - better - - - worse", {}),
        ("l h l! h! l l! h! h! l!", "open worse better worse - better - worse -", {}),
        ("l m l l h", "open worse - better worse", {}),
    ],
)
def test_histories(signs: str, expected: str, rules: dict[str, Any]) -> None:
    """After each run exactly what changed is told."""
    _, told = play(signs, Rules(**rules))
    assert " ".join(TOLD[a.change] if a else "-" for a in told) == expected


def test_a_mute_holds_back_and_the_end_of_it_tells() -> None:
    """What began during a mute is told after it, if it is still so; a known one's end at once."""
    state = IncidentState(script="a.js")
    state, told = advance(state, look(0, "h"), Rules(muted=True))
    assert told is None
    assert state.incident is not None
    state, told = advance(state, look(1, "h"), Rules())
    assert told is not None
    assert (told.change, told.incident.since) == (Change.OPENED, NOON)
    state, told = advance(state, look(2, "c"), Rules(muted=True))
    assert told is None
    state, told = advance(state, look(3, ".!"), Rules(muted=True))
    assert told is not None
    assert told.change is Change.RESOLVED


def test_runs_with_other_options_do_not_resolve_what_ordinary_ones_found() -> None:
    """One virtual user that is well says nothing about a hundred."""
    state, _ = play("h", Rules())
    after, told = advance(state, look(1, ".!", overrides={"vus": "1"}), Rules())
    assert told is None
    assert after.incident == state.incident


def test_runs_with_other_options_neither_open_nor_change_an_incident() -> None:
    """They are another workload, whose verdict is for the person who asked for it."""
    calm, told = advance(
        IncidentState(script="a.js"), look(0, "h", overrides={"vus": "9"}), Rules()
    )
    assert (calm.incident, calm.failures, told) == (None, 0, None)
    low, _ = play("l", Rules())
    after, told = advance(low, look(1, "c", overrides={"vus": "9"}), Rules())
    assert (after.incident, told) == (low.incident, None)


def test_an_incident_that_an_older_k6d_opened_by_such_a_run_can_end() -> None:
    """By a run of the same options, and by one of the script's own."""
    state, _ = play("h", Rules())
    assert state.incident is not None
    opened = replace(state, incident=replace(state.incident, overrides={"vus": "9"}))
    for overrides in ({"vus": "9"}, {}):
        _, told = advance(opened, look(1, ".!", overrides=overrides), Rules())
        assert told is not None
        assert told.change is Change.RESOLVED


def test_reminders_are_for_what_people_know_of() -> None:
    """Daily by default, from the last thing told; none for what is muted, closed or untold."""
    state, _ = play("h", Rules())
    assert remind(state, NOON + timedelta(hours=23), Rules())[1] is None
    later = NOON + timedelta(hours=24)
    reminded, told = remind(state, later, Rules())
    assert told is not None
    assert told.change is Change.REMINDER
    assert remind(reminded, later + timedelta(hours=1), Rules())[1] is None
    assert remind(state, later, Rules(muted=True))[1] is None
    assert remind(state, later, Rules(remind_s=0))[1] is None
    assert remind(IncidentState(script="a.js"), later, Rules())[1] is None


def test_what_somebody_acknowledged_is_not_reminded_of() -> None:
    """Until it gets worse or has another problem: that is sent, and reminders begin again."""
    later = NOON + timedelta(days=2)
    state, _ = play("h", Rules())
    known = acknowledged(state, NOON, comment="Anna looks at it")
    assert remind(known, later, Rules())[1] is None
    for sign, change in (("c", Change.WORSENED), ("h2", Change.CHANGED)):
        worse, announcement = advance(known, look(1, sign), Rules())
        assert announcement is not None
        assert announcement.change is change
        assert worse.incident is not None
        assert (worse.incident.acknowledged, worse.incident.comment) == (None, "")
        assert remind(worse, later, Rules())[1] is not None
    _, announcement = advance(known, look(1, ".!"), Rules())
    assert announcement is not None
    assert announcement.change is Change.RESOLVED
    assert remind(acknowledged(known, None, comment=""), later, Rules())[1] is not None
    assert acknowledged(IncidentState(script="a.js"), NOON, comment="") == IncidentState(
        script="a.js"
    )


def test_the_end_of_a_mute_tells_without_a_run() -> None:
    """A script may run only when it is changed: what is still wrong is told all the same, once."""
    state, _ = play("h", Rules(muted=True))
    later = NOON + timedelta(hours=2)
    assert remind(state, later, Rules(muted=True))[1] is None
    assert remind(state, later, Rules(min_severity=Severity.CRITICAL))[1] is None
    state, told = remind(state, later, Rules())
    assert told is not None
    assert (told.change, told.run, told.incident.since) == (Change.OPENED, "run-0000", NOON)
    state, _ = advance(state, look(3, "c"), Rules(muted=True))
    state, told = remind(state, later, Rules())
    assert told is not None
    assert told.change is Change.WORSENED
    assert remind(state, later, Rules())[1] is None
    state, _ = advance(state, look(4, "."), Rules())
    assert remind(state, NOON + timedelta(days=9), Rules())[1] is None, "it may be over"


def test_a_run_counts_when_its_re_runs_are_done() -> None:
    """Though a daemon that started meanwhile took it in as it was: nothing, or what limits said."""
    unsure = look(1, "?", unsettled=True)
    state, told = advance(IncidentState(script="a.js"), unsure, Rules())
    assert told is None
    state, told = advance(state, look(1, "h"), Rules())
    assert told is not None
    assert advance(state, look(1, "h"), Rules()) == (state, None)


def test_what_is_no_test_any_more_has_no_incident() -> None:
    """It is kept as the last one, nothing is told, and the next failure counts from one again."""
    state, _ = play("h h", Rules(open_after=2))
    over = ended(state, NOON + timedelta(hours=5))
    assert (over.incident, over.failures, over.outgoing) == (None, 0, state.outgoing)
    assert over.last is not None
    assert over.last.resolved_at == NOON + timedelta(hours=5)
    assert remind(over, NOON + timedelta(days=9), Rules()) == (over, None)
    assert ended(over, NOON + timedelta(hours=6)) == over


def test_outgoing_stays_until_it_is_safe() -> None:
    """What is decided is part of the state until the outbox has it."""
    state, told = play("h c", Rules())
    keys = [a.key for a in told if a]
    assert [a.key for a in state.outgoing] == keys == ["run-0000-1", "run-0000-2"]
    assert without_announcements(state, keys[:1]).outgoing == state.outgoing[1:]


P95, CART = "response_time_p95", "response_time_p95 GET /cart"
WORSE_CART = {"problems": {f"{FindingKind.REGRESSION}|response_time_p95|GET /cart": "slower"}}


@pytest.mark.parametrize(
    ("series", "edited", "expected"),
    [
        ({P95: True, CART: True}, False, "- ok"),
        ({P95: True}, False, "- -"),
        ({P95: True, CART: False}, False, "- -"),
        ({P95: True, CART: False}, True, "- -"),
        ({P95: True}, True, "- ok"),
    ],
)
def test_who_cannot_compare_what_got_worse_says_nothing_of_it(
    series: dict[str, bool], edited: bool, expected: str
) -> None:
    """Too few requests of the endpoint, or a new workload; an edit that took it out ends it."""
    state, _ = advance(IncidentState(script="a.js"), look(0, "h", **WORSE_CART), Rules())
    told = []
    for number in (1, 2):
        seen = look(number, ".", series=series, edited=edited)
        state, announcement = advance(state, seen, Rules())
        told.append(TOLD[announcement.change] if announcement else "-")
    assert " ".join(told) == expected
    for number in range(3, 3 + SILENT_RUNS):
        state, _ = advance(state, look(number, ".", series=series, edited=edited), Rules())
    assert state.incident is None, "not for ever"


CPU = "target:checkout CPU:%:<"
WORSE_CPU = {"problems": {f"{FindingKind.REGRESSION}|{CPU}|": "busier"}}


@pytest.mark.parametrize("edited", [False, True])
def test_a_number_of_the_target_that_could_not_be_read_ends_no_incident(*, edited: bool) -> None:
    """A Prometheus that is down is no recovery, whatever was edited in the script."""
    state, _ = advance(IncidentState(script="a.js"), look(0, "h", **WORSE_CPU), Rules())
    for number in (1, 2, 3):
        seen = look(number, ".", series={P95: True}, edited=edited)
        state, announcement = advance(state, seen, Rules())
        assert announcement is None
    assert state.incident is not None
    for number in (4, 5):
        state, _ = advance(state, look(number, ".", series={P95: True, CPU: True}), Rules())
    assert state.incident is None


def test_a_saturated_generator_says_nothing_of_another_problem() -> None:
    """What is open stays as it is; alone it is a problem of its own, which healthy runs end."""
    saturated = {"problems": {f"{FindingKind.GENERATOR}||": "saturated"}}
    state, _ = play("h", Rules())
    after, told = advance(state, look(1, "l", **saturated), Rules())
    assert (after.incident, told) == (state.incident, None)
    state, told = advance(IncidentState(script="a.js"), look(0, "l", **saturated), Rules())
    assert told is not None
    state, told = advance(state, look(1, "l", **saturated), Rules())
    assert (state.failures, told) == (2, None)


def test_a_suspicion_that_alarms_is_no_healthy_run() -> None:
    """What only the AI saw has no finding to its name; it counts as failing all the same."""
    state, _ = play("h .", Rules())
    for number, sign in enumerate("l.", 2):
        state, told = advance(state, look(number, sign, problems={}), Rules())
        assert told is None
    assert state.incident is not None
    assert (state.incident.runs, state.incident.healthy) == (2, 1)


def test_an_accepted_level_resolves_what_got_worse() -> None:
    """At once, with the reason; another problem stays open; what nobody knew of is not told."""
    state, _ = advance(IncidentState(script="a.js"), look(1, "h", **WORSE_CART), Rules())
    later = NOON + timedelta(hours=3)
    over = accepted(state, later, run="run-0001", reason="new provider")
    assert over.incident is None
    assert (over.outgoing[-1].change, over.outgoing[-1].accepted) == (
        Change.RESOLVED,
        "new provider",
    )
    assert accepted(over, later, run="run-0001", reason="") == over
    assert accepted(state, later, run="run-0000", reason="") == state, "an older level"
    other = {"problems": {**WORSE_CART["problems"], "limit broken|error_rate|": "errors"}}
    both, _ = advance(IncidentState(script="a.js"), look(1, "h", **other), Rules())
    left = accepted(both, later, run="run-0001", reason="")
    assert left.incident is not None
    assert list(left.incident.problems) == ["limit broken|error_rate|"]
    assert left.outgoing == both.outgoing
    untold, _ = advance(IncidentState(script="a.js"), look(1, "h", **WORSE_CART), Rules(muted=True))
    over = accepted(untold, later, run="run-0001", reason="")
    assert (over.incident, over.outgoing) == (None, [])


SIGNS = st.lists(
    st.sampled_from(["l", "m", "h", "c", "h1", "h2", "h12", ".", ".!", "h!", "l!", "?", "look"]),
    max_size=30,
)
RULES = st.builds(
    Rules,
    open_after=st.integers(1, 3),
    resolve_after=st.integers(1, 3),
    min_severity=st.sampled_from(Severity),
    remind_s=st.sampled_from([0.0, 7200.0, 86_400.0]),
    muted=st.booleans(),
)


@settings(deadline=None)
@given(st.lists(st.tuples(SIGNS, RULES), max_size=4))
@example([(["h"], Rules(muted=True)), (["?"], Rules())])
@example([(["h1"], Rules()), (["h2"], Rules(muted=True)), (["?"], Rules())])
def test_no_history_opens_twice_or_loses_one(parts: list[tuple[list[str], Rules]]) -> None:
    """Opened and resolved take turns, in between only of an open one; keys are told once ever."""
    state, number, is_open, keys = IncidentState(script="a.js"), 0, False, []
    for signs, rules in parts:
        for sign in signs:
            number += 1
            if sign == "look":
                state, told = remind(state, NOON + timedelta(hours=number), rules)
            else:
                seen = look(number, sign)
                state, told = advance(state, seen, rules)
                again, nothing = advance(state, seen, rules)
                assert (again, nothing) == (state, None), "a run is taken in once"
            if told:
                keys.append(told.key)
                assert is_open == (told.change is not Change.OPENED)
                is_open = told.change is not Change.RESOLVED
                assert told.change in (Change.RESOLVED, Change.IMPROVED) or rules.notifies(
                    told.incident.severity
                )
            incident = state.incident
            # What people believe is what is so, as far as they are to know.
            assert is_open == (incident is not None and incident.told is not None)
            if incident and rules.notifies(incident.severity) and not incident.healthy:
                assert incident.told_peak is not None
                assert incident.told_peak.rank >= incident.severity.rank
                assert incident.problems.keys() <= set(incident.told_problems)
    assert [a.key for a in state.outgoing] == keys
    assert len(set(keys)) == len(keys)
    patience = Rules(resolve_after=3)
    for extra in range(3):
        state, _ = advance(state, look(number + 1 + extra, "."), patience)
    assert state.incident is None


def test_what_a_run_says() -> None:
    """Anomalous, healthy or neither; problems by what and where, not by their numbers."""
    anomalous = observe(make_run(anomaly_analysis=make_anomaly()))
    assert anomalous.severity is Severity.HIGH
    assert list(anomalous.problems) == ["limit broken|response_time_p95|GET /cart"]
    assert anomalous.deliberate
    assert anomalous.cause is None
    assert anomalous.edited
    learning = Comparison(
        metric="response_time_p95", endpoint="GET /cart", unit="ms", state="learning", observed=1.0
    )
    steady = replace(learning, endpoint=None, state="steady")
    measured = {"series": {P95: 1.0, CART: 1.0}, "comparisons": [steady, learning]}
    healthy = observe(make_run(trigger=Trigger.SCHEDULED, comparable=True, **measured))
    assert (healthy.healthy, healthy.deliberate, healthy.edited) == (True, False, False)
    assert healthy.series == {P95: True, CART: False}
    assert observe(make_run(**measured)).series == {P95: False, CART: False}, "not comparable"
    many = {"series": {P95: 1.0, CART: 1.0, "error_rate": 0.0}, "comparable": True}
    kept = [replace(learning, endpoint=None), learning]
    assert not any(observe(make_run(**many, comparisons=kept)).series.values()), "nor those cut off"
    assert observe(make_run(**many, comparisons=[steady, learning])).series["error_rate"]
    aborted = make_run(execution=Execution(outcome=Outcome.ABORTED))
    assert (observe(aborted).healthy, observe(aborted).severity) == (False, None)
    worse = replace(learning, state="worse")
    unsettled = observe(make_run(series={CART: 1.0}, comparisons=[worse]))
    assert (unsettled.healthy, unsettled.unsettled) == (False, True)
    refused = make_run(
        execution=Execution(outcome=Outcome.SCRIPT_ERROR),
        anomaly_analysis=make_anomaly(),
        overrides={"iterations": "1"},
    )
    assert (observe(refused).healthy, observe(refused).severity) == (False, None)
    assert observe(replace(refused, overrides={})).severity is Severity.HIGH


@pytest.mark.parametrize(
    ("kind", "metric", "urls", "cause"),
    [
        (FindingKind.UNREACHABLE, "error_rate", ["http://shop:80/a", "http://shop:80/b"],
         "target shop:80"),
        (FindingKind.UNREACHABLE, "error_rate", ["/a"], "target unreachable"),
        (FindingKind.LIMIT, "error_rate", ["https://shop/a?x=1"], "target shop"),
        (FindingKind.LIMIT, "error_rate", ["http://a/", "http://b/"], None),
        (FindingKind.LIMIT, "response_time_p95", ["http://shop/a"], None),
    ],
)  # fmt: skip
def test_causes_that_scripts_share(
    kind: FindingKind, metric: str | None, urls: list[str], cause: str | None
) -> None:
    """k6 that is gone, and a target that fails, are causes that several scripts may have."""
    finding = Finding(
        kind=kind, severity=Severity.CRITICAL, message="x", recommendation="y", metric=metric
    )
    verdict = Verdict(
        anomalies_detected=True, severity=Severity.CRITICAL, issues=["x"], findings=[finding]
    )
    endpoints = [make_endpoint(name=url, failed=5) for url in urls]
    run = make_run(anomaly_analysis=verdict, breakdown=Breakdown(endpoints=endpoints))
    assert observe(run).cause == cause


def test_an_incident_has_one_since() -> None:
    """It is when its first run began, which is the first failing one, however late it opened."""
    anomaly = make_anomaly()
    first = make_run(anomaly_analysis=anomaly)
    second = replace(first, test_id="20261122-130000-000001", timestamp=NOON + timedelta(hours=1))
    state = IncidentState(script=first.script)
    for run in (first, second):
        state, told = advance(state, observe(run), Rules(open_after=2))
    assert told is not None
    assert (told.incident.since, told.incident.first_run) == (first.timestamp, first.test_id)
    assert told.incident.runs == 2


def test_an_incident_holds_since_the_run_that_its_finding_names() -> None:
    """A change that was found later holds since an earlier run: all places name the same one."""
    anomaly = make_anomaly()
    lasting = replace(anomaly.findings[0], since="20261122-090000-00000a")
    state = IncidentState(script="a.js")
    for number, finding in enumerate([anomaly.findings[0], lasting]):
        run = make_run(
            test_id=f"20261122-1{2 + number}0000-00000{number}",
            timestamp=NOON + timedelta(hours=number),
            anomaly_analysis=replace(anomaly, findings=[finding]),
        )
        state, _ = advance(state, observe(run), Rules())
    assert state.incident is not None
    assert state.incident.first_run == lasting.since
    assert state.incident.since == datetime(2026, 11, 22, 9, tzinfo=UTC)
