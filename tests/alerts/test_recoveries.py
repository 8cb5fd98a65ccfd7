"""Incidents that healthy runs ended are kept beyond the last of each script."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from k6d.alerts import recoveries
from k6d.alerts.alerting import Alerts
from k6d.alerts.records import Incident
from k6d.alerts.recoveries import Recoveries, typical_s
from k6d.core.model import Severity, Verdict
from k6d.settings import load
from k6d.storage.store import Store
from support.records import NOON, make_anomaly, make_run

if TYPE_CHECKING:
    from pathlib import Path


def _play(signs: str, alerts: Alerts, *, first: int = 0) -> None:
    """Record a run an hour: "x" is anomalous, "." healthy."""
    for number, sign in enumerate(signs, first):
        run = make_run(
            test_id=f"20261122-{number:02}0000-abcdef",
            timestamp=NOON + timedelta(hours=number),
            script="a.js",
            anomaly_analysis=make_anomaly() if sign == "x" else Verdict(anomalies_detected=False),
        )
        alerts.record(run)


def test_every_recovery_is_kept_with_its_time(tmp_path: Path) -> None:
    """Two incidents of one script: the first is known after the second; the open one is none."""
    settings = load(None, data=tmp_path / "data", scripts=tmp_path)
    store = Store(settings.data)
    _play("x.xxx.x", Alerts(settings, store))
    found = Recoveries(store).all()
    assert [round(one.lasted_s / 3600) for one in found] == [1, 3]
    assert round((typical_s(found) or 0) / 3600) == 2
    assert found[0].first_run == "20261122-000000-abcdef"


def test_a_person_or_a_lost_file_recovers_nothing(tmp_path: Path) -> None:
    """An incident that was ended, or whose level was accepted, has no time to recovery."""
    settings = load(None, data=tmp_path / "data", scripts=tmp_path)
    store = Store(settings.data)
    alerts = Alerts(settings, store)
    _play("x", alerts)
    assert alerts.end("a.js")
    assert Recoveries(store).all() == []


def test_nothing_is_stored_of_a_script_without_an_incident(tmp_path: Path) -> None:
    """To acknowledge what is not there leaves no trace, whatever name was given."""
    settings = load(None, data=tmp_path / "data", scripts=tmp_path)
    alerts = Alerts(settings, Store(settings.data))
    assert alerts.acknowledge("no such script") is None
    assert alerts.incident_states() == {}


def test_what_a_crash_kept_from_the_history_is_recorded_later(tmp_path: Path) -> None:
    """The script's state was written, its history was not: it counts, and is recorded with the
    next run, before another incident takes its place.
    """
    settings = load(None, data=tmp_path / "data", scripts=tmp_path)
    store = Store(settings.data)
    _play("x..", Alerts(settings, store))
    store.state(recoveries.STATE).path.unlink()
    store = Store(settings.data)
    alerts = Alerts(settings, store)
    last = [state.last for state in alerts.incident_states().values()]
    assert len(alerts.recoveries.all(last)) == 1
    assert alerts.recoveries.all() == []
    _play("x..", alerts, first=3)
    assert len(Recoveries(Store(settings.data)).all()) == 2


def test_the_oldest_recoveries_go(tmp_path: Path) -> None:
    """The file stays small."""
    kept = Recoveries(Store(tmp_path), most=3)
    for number in range(5):
        incident = Incident(
            id=str(number),
            script="a.js",
            since=NOON,
            severity=Severity.HIGH,
            peak=Severity.HIGH,
            problems={},
            first_run="a",
            last_run="b",
            last_seen=NOON,
            resolved_at=NOON + timedelta(hours=number + 1),
            healthy=1,
        )
        kept.record(incident)
    assert [one.lasted_s / 3600 for one in kept.all()] == [3.0, 4.0, 5.0]
