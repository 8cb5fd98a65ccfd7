"""The script's own workload and ad-hoc ones, told apart by what is stored."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from k6d.core.model import K6dError, Trigger
from k6d.storage.query import Query
from k6d.storage.store import Store
from k6d.storage.workloads import find_workload, narrowed, newest_comparable, workloads
from support.records import NOON, make_run

if TYPE_CHECKING:
    from pathlib import Path

OWN, AD_HOC, EARLIER = "a" * 16, "b" * 16, "abcd" * 4
ONE = {"vus": "1", "duration": "1s"}


def _save(store: Store, number: int, workload: str, **changes: Any) -> str:
    run = make_run(comparable=True, script="shop.js", **changes)
    assert run.snapshot is not None
    snapshot = replace(run.snapshot, workload=workload)
    test_id = f"20261122-12{number:02}00-00000{number}"
    at = NOON + timedelta(minutes=number)
    store.save(replace(run, test_id=test_id, timestamp=at, snapshot=snapshot))
    return test_id


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Four workloads of shop.js, of which two are the script's own, now and earlier."""
    made = Store(tmp_path)
    _save(made, 1, EARLIER)
    _save(made, 2, OWN)
    _save(made, 3, OWN)
    _save(made, 4, OWN, trigger=Trigger.CONFIRMATION)
    _save(made, 5, AD_HOC, overrides=ONE)
    return made


def test_the_script_s_own_workload_is_that_of_its_newest_run_without_options(store: Store) -> None:
    """The others are named by the options that people gave, and counted."""
    found = workloads(store, "shop.js")
    assert [(one.id, one.label, one.own, one.runs) for one in found] == [
        (OWN, "the script's own", True, 2),
        (AD_HOC, "vus 1, duration 1s", False, 1),
        (EARLIER, "the script's own, earlier", False, 1),
    ]
    assert workloads(store, "other.js") == []


def test_an_ad_hoc_run_is_not_what_the_script_is_compared_with(store: Store) -> None:
    """The newest comparable run is one of the script's own; an ad-hoc one when it is asked for."""
    own, ad_hoc = newest_comparable(store, "shop.js"), newest_comparable(store, "shop.js", AD_HOC)
    assert own is not None
    assert ad_hoc is not None
    assert own["test_id"] == "20261122-120400-000004"
    assert ad_hoc["test_id"] == "20261122-120500-000005"


def test_of_a_script_with_ad_hoc_runs_only_the_newest_counts(tmp_path: Path) -> None:
    """So it has a state and a trend before it first runs by itself."""
    store = Store(tmp_path)
    test_id = _save(store, 1, AD_HOC, overrides=ONE)
    found = newest_comparable(store, "shop.js")
    assert found is not None
    assert found["test_id"] == test_id
    assert len(store.search(narrowed(Query(script="shop.js"), store, "own"))) == 1


@pytest.mark.parametrize(("chosen", "runs"), [("own", 4), ("all", 5), (AD_HOC, 1), (EARLIER, 1)])
def test_a_search_is_narrowed_to_a_workload(store: Store, chosen: str, runs: int) -> None:
    """The script's own are all runs without options, also those before its options changed."""
    assert len(store.search(narrowed(Query(script="shop.js"), store, chosen))) == runs


def test_a_workload_is_named_by_the_start_of_its_id(store: Store) -> None:
    """What names none, or several, is answered with the list of workloads."""
    known = workloads(store, "shop.js")
    assert find_workload(known, "bbb") == AD_HOC
    for given in ("c", "a", ""):
        with pytest.raises(K6dError, match="bbbbbbbbbbbbbbbb") as told:
            find_workload(known, given)
        assert repr(given) in str(told.value)
