"""Outages of what every script needs: one message for all, no incident of a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from k6d import settings
from k6d.alerts.alerting import Alerts
from k6d.alerts.outbox import Outbox
from k6d.analysis.verdict import judge
from k6d.core.model import Execution, Outcome
from k6d.settings import Limits
from k6d.storage.store import Store
from support.records import make_anomaly, make_run
from support.results import result

if TYPE_CHECKING:
    from pathlib import Path


class _Home:
    """A data folder, and runs in it, one a second."""

    def __init__(self, folder: Path, **notify: Any) -> None:
        more = {f"notify__{name}": value for name, value in notify.items()}
        self.scripts = folder / "scripts"
        self.scripts.mkdir()
        loaded = settings.load(
            data=folder, scripts=self.scripts, notify__urls=["json://127.0.0.1:1/"], **more
        )
        self.store, self.outbox = Store(folder), Outbox(folder)
        self.alerts = Alerts(loaded, self.store)
        self._second = 0

    def ran(self, script: str, outcome: Outcome = Outcome.COMPLETED, **changes: Any) -> None:
        """Record a run of it."""
        (self.scripts / script).touch()
        self._second += 1
        execution = Execution(outcome=outcome, error="the reason")
        if outcome is not Outcome.COMPLETED:
            verdict = judge(result(execution=execution), limits=Limits())
            changes = {"anomaly_analysis": verdict} | changes
        run = make_run(
            test_id=f"20261122-1200{self._second:02}-aaaaaa",
            script=script,
            execution=execution,
            **changes,
        )
        self.store.save(run)
        self.alerts.record(run, True)
        self.alerts.record(run, True)  # a run that was taken in before changes nothing

    def told(self) -> list[str]:
        """The subjects of the messages, oldest first."""
        return [kept.message.subject for kept in self.outbox.waiting()]


@pytest.fixture
def home(tmp_path: Path) -> _Home:
    """One in which everybody is told."""
    return _Home(tmp_path)


def test_five_scripts_without_a_network_are_one_message(home: _Home) -> None:
    """It names all of them, once a second try failed as well; so does its end."""
    names = [f"{letter}.js" for letter in "abcde"]
    for name in names:
        home.ran(name, Outcome.NO_NETWORK)
    assert home.told() == [], "it may be over before the next try"
    for name in names:
        home.ran(name, Outcome.NO_NETWORK)
    (message,) = [kept.message for kept in home.outbox.waiting()]
    assert message.script == "this machine"
    assert message.subject.startswith("no network: 5 scripts")
    assert dict(message.facts)["Scripts"] == ", ".join(names)
    assert "the reason" in dict(message.facts)["Reason"]
    for name in names[:-1]:
        home.ran(name)
    assert len(home.told()) == 1
    home.ran(names[-1], anomaly_analysis=make_anomaly())
    assert [text for text in home.told() if text.startswith("over: no network")]
    assert home.store.state("outages").all() == {}


def test_an_inconclusive_run_changes_no_incident(home: _Home) -> None:
    """It opens none, and resolves none."""
    home.ran("a.js", Outcome.NO_NETWORK)
    assert home.alerts.incident_states()["a.js"].incident is None
    home.ran("a.js", anomaly_analysis=make_anomaly())
    before = home.alerts.incident_states()["a.js"].incident
    for outcome in (Outcome.NO_NETWORK, Outcome.MODULE_SERVER, Outcome.K6_UNAVAILABLE):
        home.ran("a.js", outcome)
    assert home.alerts.incident_states()["a.js"].incident == before


def test_a_blip_is_not_told(home: _Home) -> None:
    """A verdict after one try, whatever it is, ends the outage unsaid; a stopped run does not."""
    home.ran("a.js", Outcome.NO_NETWORK)
    home.ran("a.js", Outcome.ABORTED, anomaly_analysis=make_run().anomaly_analysis)
    assert home.store.state("outages").all()
    home.ran("a.js")
    home.ran("a.js", Outcome.NO_NETWORK)
    assert home.told() == []


def test_missing_k6_is_told_at_once(home: _Home) -> None:
    """The whole queue waits for it."""
    home.ran("a.js", Outcome.K6_UNAVAILABLE)
    (subject,) = home.told()
    assert subject.startswith("no k6: 1 script")
    home.ran("a.js")
    assert len(home.told()) == 2


def test_a_script_that_is_gone_holds_up_no_end(home: _Home) -> None:
    """It gets no verdict any more."""
    for name in ("a.js", "b.js", "a.js", "b.js"):
        home.ran(name, Outcome.MODULE_SERVER)
    (home.scripts / "a.js").unlink()
    home.ran("b.js")
    assert home.told()[1].startswith("over: module server unavailable")


def test_only_the_receivers_of_the_scripts_hear_of_it(tmp_path: Path) -> None:
    """By their routes; a message to this machine's name would reach nobody."""
    routes = [
        {"tags": ["shop"], "scripts": ["shop*"]},
        {"tags": ["blog"], "scripts": ["blog*"]},
        {"tags": ["other"], "scripts": ["other*"]},
    ]
    home = _Home(tmp_path, routes=routes)
    for name in ("shop.js", "blog.js", "shop.js"):
        home.ran(name, Outcome.NO_NETWORK)
    (kept,) = home.outbox.waiting()
    assert kept.message.tags == ["shop", "blog"]


def test_a_script_that_wants_nobody_told_is_not_named(home: _Home) -> None:
    """Muted, it is in no message about an outage; the outage of a script that is gone is over."""
    home.alerts.mutes.put("quiet.js", "1d")
    for name in ("quiet.js", "quiet.js"):
        home.ran(name, Outcome.NO_NETWORK)
    assert home.told() == []
    assert home.alerts.outages()[0].scripts == ["quiet.js"], "but it can be seen"
    for name in ("a.js", "a.js"):
        home.ran(name, Outcome.NO_NETWORK)
    (message,) = [kept.message for kept in home.outbox.waiting()]
    assert dict(message.facts)["Scripts"] == "a.js"
    home.ran("a.js")
    assert home.told()[1].startswith("over: no network"), "quiet.js holds up no message"
    assert [outage.scripts for outage in home.alerts.outages()] == [["quiet.js"]]
    (home.scripts / "quiet.js").unlink()
    assert home.alerts.outages() == []


def test_an_open_outage_can_be_seen(home: _Home) -> None:
    """Since when, who has no verdict, after how many tries; nothing once each has one."""
    for _ in range(3):
        home.ran("a.js", Outcome.NO_NETWORK)
    for name in ("b.js", "c.js"):
        home.ran(name, Outcome.NO_NETWORK)
    home.ran("c.js")
    (outage,) = home.alerts.outages()
    assert outage.line == (
        "no network since 2026-11-22 12:00 UTC: a.js, b.js have no verdict after 3 tries"
    )
    home.ran("d.js", Outcome.K6_UNAVAILABLE)
    assert home.alerts.outages()[1].line.endswith("d.js has no verdict after 1 try")
    for name in ("a.js", "b.js", "d.js"):
        home.ran(name)
    assert home.alerts.outages() == []
