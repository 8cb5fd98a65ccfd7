"""Runs with tags against runs with others: "main against branch"."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from k6d.core.model import K6dError
from k6d.core.tags import Commit
from k6d.scripts.tagged import compare_groups, newest_with, tags_in
from k6d.settings import Compare
from k6d.storage.store import Store
from support.records import NOON, make_run

if TYPE_CHECKING:
    from pathlib import Path

MAIN = [100.0, 102.0, 98.0, 101.0, 99.0, 100.0]
BRANCH = [150.0, 148.0, 152.0]


def _save(store: Store, minute: int, p95_ms: float, **changes: Any) -> str:
    at = NOON + timedelta(minutes=minute)
    test_id = f"{at:%Y%m%d-%H%M%S}-3f9a2c"
    run = make_run(test_id=test_id, timestamp=at, script="cart.js", comparable=True)
    store.save(replace(run, series={"response_time_p95": p95_ms}, **changes))
    return test_id


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Six runs of main and three of a branch, one of another script and one not comparable."""
    store = Store(tmp_path / "data")
    for minute, value in enumerate(MAIN):
        _save(store, minute, value, commit=Commit(id="a" * 40, branch="main"))
    for minute, value in enumerate(BRANCH, 20):
        _save(store, minute, value, tags={"branch": "faster", "release": "2.14"})
    _save(store, 40, 900.0, tags={"branch": "faster"}, comparable=False)
    _save(store, 50, 900.0, tags={"branch": "faster"}, script="other.js")
    return store


def test_a_branch_against_main(store: Store) -> None:
    """The median of the branch is judged by the noise of main; other runs do not count."""
    found = compare_groups(
        {"branch": "faster"}, {"branch": "main"}, store, settings=Compare(), script="cart.js"
    )
    assert (found.runs, found.earlier) == (3, 6)
    (p95,) = found.comparisons
    assert (p95.state, p95.observed, p95.expected) == ("worse", 150.0, 100.0)
    same = compare_groups(
        {"branch": "main"}, {"branch": "main"}, store, settings=Compare(), script="cart.js"
    )
    assert [one.state for one in same.comparisons] == ["steady"]


def test_few_runs_are_compared_one_by_one(store: Store) -> None:
    """The newest of each: fewer than `compare.min_runs` show no noise."""
    found = compare_groups(
        {"branch": "main"}, {"release": "2.14"}, store, settings=Compare(), script="cart.js"
    )
    (p95,) = found.comparisons
    assert (p95.expected, p95.observed, p95.state) == (152.0, 100.0, "learning")


def test_who_has_no_run_is_named(store: Store) -> None:
    """With the tags as they were given."""
    assert tags_in("latest") is None
    assert tags_in("branch=main,release=2") == {"branch": "main", "release": "2"}
    with pytest.raises(K6dError, match="cannot name a tag"):
        tags_in("2=3")
    with pytest.raises(K6dError, match="no run has the tag release=9"):
        newest_with({"release": "9"}, store)
    with pytest.raises(K6dError, match=r"no comparable run of cart.js .* has the tag branch=none"):
        compare_groups(
            {"branch": "main"}, {"branch": "none"}, store, settings=Compare(), script="cart.js"
        )
