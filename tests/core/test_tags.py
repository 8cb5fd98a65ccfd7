"""Tags: what may be one, what a run is found by, and marks beside runs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from k6d.core.mark import Mark, between, since
from k6d.core.tags import indexed, matches, parsed
from support.records import NOON


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("release", "should be NAME=VALUE"),
        ("=2.14", "cannot name a tag"),
        ("2x=1", "cannot name a tag"),
        ("a b=1", "cannot name a tag"),
        ("release=", "the value of release should be"),
        (f"release={'x' * 201}", "the value of release should be"),
        ("release=a\nb", "the value of release should be"),
    ],
)
def test_a_wrong_tag_is_named(given: str, why: str) -> None:
    """With what a tag should be."""
    with pytest.raises(ValueError, match=why):
        parsed(["stage=test", given])


def test_tags_are_parsed() -> None:
    """The last of a name counts; 20 at most."""
    assert parsed(["a=1", "b=x=y", "a=2"]) == {"a": "2", "b": "x=y"}
    with pytest.raises(ValueError, match="21 tags are too many"):
        parsed([f"t{n}=1" for n in range(21)])


def test_a_run_is_found_by_tags_branch_and_commit() -> None:
    """The start of a commit's id is enough, if it is long enough; a tag must be the same."""
    commit = {"id": "1a2b3c4d" + "0" * 32, "branch": "main"}
    tags = indexed({"tags": {"release": "2.14"}, "commit": commit})
    assert tags == {"release": "2.14", "branch": "main", "commit": commit["id"]}
    assert matches(tags, {"release": "2.14", "branch": "main", "commit": "1a2b3c4"})
    for wrong in ({"release": "2"}, {"branch": "mai"}, {"commit": "1a2b"}, {"stage": "x"}):
        assert not matches(tags, wrong)
    assert indexed({}) is None
    assert not matches(None, {"a": "1"})


def test_marks_between_runs_are_named_with_their_distance() -> None:
    """Those of the script, the newest first, two of them by name."""
    marks = [
        Mark(id=str(n), at=NOON + timedelta(minutes=n), text=f"release {n}", script=pattern)
        for n, pattern in enumerate(("*", "shop/*", "other.js", "*", "*"))
    ]
    end = NOON + timedelta(minutes=10)
    found = between(reversed(marks), "shop/cart.js", after=NOON, until=end)
    assert [mark.id for mark in found] == ["1", "3", "4"]
    assert since(found, end) == "6 min after “release 4”, 7 min after “release 3” and 1 more"
    assert since([], end) == ""
    assert between(marks, "cart.js", after=None, until=NOON) == marks[:1]
