"""k6's plan for a snapshot that has run before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from k6d.core.model import Execution, Outcome
from k6d.core.script import Kind
from k6d.execution.archive import Script
from k6d.jobs.known_plan import planned_before
from k6d.storage.store import Store
from support.records import make_run


def _script(**changes: str) -> Script:
    run = make_run()
    assert run.snapshot
    return Script(
        name=run.script,
        path=Path(run.script),
        kind=Kind.TEST,
        fingerprint=run.snapshot.fingerprint,
        dependencies={},
        snapshot=replace(run.snapshot, **changes),
    )


def test_a_plan_is_taken_from_the_last_run_of_the_same_snapshot(tmp_path: Path) -> None:
    """Another snapshot, another workload or an option in a variable: k6 is asked."""
    store, env = Store(tmp_path), {"PATH": "/bin", "SHOP": "1"}
    assert planned_before(_script(), env, store) is None
    store.save(make_run())
    assert planned_before(_script(), env, store) == 60.0
    assert planned_before(_script(id="another"), env, store) is None
    assert planned_before(_script(workload="another"), env, store) is None
    assert planned_before(_script(), env | {"K6_EXECUTION_SEGMENT": "0:1/2"}, store) is None


def test_a_run_without_a_plan_or_with_a_damaged_file_gives_none(tmp_path: Path) -> None:
    """k6 is asked then, and the damage is reported elsewhere."""
    store = Store(tmp_path)
    store.save(make_run(execution=Execution(outcome=Outcome.COMPLETED)))
    assert planned_before(_script(), {}, store) is None
    store.run_path(make_run().test_id).write_text("{")
    assert planned_before(_script(), {}, store) is None
