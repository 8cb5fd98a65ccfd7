"""What a run's record says of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest

from k6d.alerts.observation import observe
from k6d.core.job import Job, options_in
from k6d.core.model import Execution, Outcome, Severity, Trigger
from k6d.storage.record import encode, index_document
from k6d.storage.store import Store
from support.records import make_anomaly, make_run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("overrides", "ad_hoc"),
    [
        ({}, False),
        ({"env TOKEN": "…"}, False),
        ({"vus": "1"}, True),
        ({"duration": "1s", "env TOKEN": "…"}, True),
        ({"replay": "20261122-120000-3f9a2c"}, True),
        ({"env K6_VUS": "…"}, True),
        ({"env K6_STAGES": "…"}, True),
        ({"env K6_DNS": "…"}, False),
    ],
)
def test_which_runs_are_ad_hoc(tmp_path: Path, overrides: dict[str, str], ad_hoc: bool) -> None:
    """One answer for the record, the index, the state of the script and its incident."""
    run = make_run(overrides=overrides)
    assert run.ad_hoc is ad_hoc
    assert index_document(orjson.loads(encode(run)))["overrides"] is ad_hoc
    assert bool(observe(run).overrides) is ad_hoc
    store = Store(tmp_path)
    store.save(make_run(test_id="20261122-110000-3f9a2c"))
    store.save(run)
    (last,) = store.latest_states().values()
    assert (last.last["test_id"] == run.test_id) is not ad_hoc


@pytest.mark.parametrize(("name", "severity"), [("env TOKEN", Severity.HIGH), ("vus", None)])
def test_only_options_excuse_a_script_that_k6_refuses(name: str, severity: Severity | None) -> None:
    """k6 may refuse the options that came beside the script; a variable is the script's matter."""
    execution = Execution(outcome=Outcome.SCRIPT_ERROR, error="no")
    run = make_run(
        overrides={name: "1"},
        execution=execution,
        anomaly_analysis=make_anomaly(),
    )
    assert observe(run).severity is severity


def test_a_job_makes_its_runs_ad_hoc_by_its_options(tmp_path: Path) -> None:
    """Its variables are named and their values hidden."""
    job = Job(
        name="a.js",
        path=tmp_path / "a.js",
        trigger=Trigger.MANUAL,
        options={"vus": "2"},
        env={"A": "1"},
    )
    run = make_run(overrides=job.overrides)
    assert (run.ad_hoc, options_in(run.overrides)) == (True, {"vus": "2"})
    assert run.overrides["env A"] == "…"


def test_the_index_has_the_numbers_that_are_judged() -> None:
    """Not those of setup() and of what the script excludes."""
    run = make_run()
    load = replace(run.metrics, total_requests=10, error_rate=0.0)
    document = index_document(orjson.loads(encode(replace(run, load=load))))
    assert (document["total_requests"], document["error_rate"]) == (10, 0.0)
    assert index_document(orjson.loads(encode(run)))["total_requests"] == 6000
