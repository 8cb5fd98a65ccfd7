"""A person deletes runs: what goes with them, what stays, and what is refused."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from k6d.core.model import K6dError, Trigger
from k6d.storage.accepted import accept, forget
from k6d.storage.delete import delete, runs_of, with_confirmations
from k6d.storage.pinned import pin, unpin
from k6d.storage.store import Store
from support.records import make_run

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.core.model import Run


def _save(store: Store, number: int, *, snapshot: str = "shared", **changes: Any) -> Run:
    """A run of that number whose snapshot is an hour old."""
    found = make_run().snapshot
    assert found is not None
    run = make_run(
        test_id=f"20261122-12{number:02}00-3f9a2c",
        snapshot=replace(found, id=snapshot, fingerprint=f"print-{snapshot}"),
        **changes,
    )
    store.save(run)
    archive = store.snapshot_path(snapshot)
    archive.parent.mkdir(exist_ok=True)
    archive.write_bytes(b"x")
    os.utime(archive, (time.time() - 9999, time.time() - 9999))
    return run


def test_a_run_goes_with_its_confirmations_and_its_snapshot(tmp_path: Path) -> None:
    """A snapshot that another run needs stays; so do all other runs."""
    store = Store(tmp_path / "data")
    other = _save(store, 1)
    alone = _save(store, 2, snapshot="alone")
    first = _save(store, 3, confirmations=["20261122-120400-3f9a2c"])
    _save(store, 4, confirms=first.test_id, trigger=Trigger.CONFIRMATION)
    assert runs_of(first.script, store) == [other.test_id, alone.test_id, first.test_id]

    going = with_confirmations([first.test_id, alone.test_id], store)
    done = delete(going, store)

    assert done.runs == [alone.test_id, first.test_id, "20261122-120400-3f9a2c"]
    assert done.snapshots == 1
    assert [one["test_id"] for one in store.history()] == [other.test_id]
    assert store.snapshot_path("shared").exists()
    assert not store.snapshot_path("alone").exists()
    assert store.repair().added == 0


def test_a_damaged_run_can_be_deleted(tmp_path: Path) -> None:
    """Its file says nothing any more, so its snapshot stays."""
    store = Store(tmp_path / "data")
    run = _save(store, 1)
    store.run_path(run.test_id).write_text("{")
    done = delete(with_confirmations([run.test_id], store), store)
    assert (done.runs, done.snapshots) == ([run.test_id], 0)
    assert store.history() == []


def test_what_people_decided_to_keep_is_refused(tmp_path: Path) -> None:
    """One line names the run and the command that lets it go."""
    store = Store(tmp_path / "data")
    run = _save(store, 1)
    pin(run, store, reason="")
    with pytest.raises(K6dError, match=f"run {run.test_id} is pinned; 'k6d pin .* --off'"):
        with_confirmations([run.test_id], store)
    assert unpin(run.test_id, store)
    assert not unpin(run.test_id, store)
    accept(run, store, reason="")
    with pytest.raises(K6dError, match=r"an accepted level begins or ends with run .*unaccept"):
        with_confirmations([run.test_id], store)
    assert forget(run.script, store) == 1
    assert forget(run.script, store) == 0
    assert with_confirmations([run.test_id], store) == [run.test_id]
