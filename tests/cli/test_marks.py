"""Tags, commits and marks as a person and a pipeline use them: real k6, a real checkout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.checkout import git
from support.daemon import Daemon, hitting
from support.serving import Served
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN_TAGS = "ext: { k6d: { tags: { stage: 'test' } } }"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A scripts folder that is a checkout, and two runs of a script in it."""
    made = Served(tmp_path_factory.mktemp("marks"))
    with Target() as target:
        made.write("cart.js", hitting(f"{target.url}/cart", options=OWN_TAGS))
        git(made.scripts, "init", "-q", "-b", "main")
        git(made.scripts, "add", ".")
        git(made.scripts, "commit", "-q", "-m", "A cart")
        for release in ("2.13", "2.14"):
            done = made.call("run", "cart.js", "--tag", f"release={release}")
            assert done.returncode == 0, done.stdout + done.stderr
        try:
            yield made
        finally:
            made.close()


def _said(home: Daemon, *words: str, code: int = 0) -> str:
    done = home.call(*words)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def _ids(home: Daemon, *words: str) -> list[str]:
    return [one["test_id"] for one in json.loads(_said(home, *words, "--json"))]


def test_runs_have_tags_and_a_commit(home: Daemon) -> None:
    """Those of the script and of the command; they are shown and found, and a mistake is named."""
    old, new = home.runs("cart.js")
    assert new.tags == {"stage": "test", "release": "2.14"}
    assert new.commit is not None
    assert new.commit.id == git(home.scripts, "rev-parse", "HEAD")
    assert (new.commit.branch, new.commit.modified) == ("main", False)
    shown = _said(home, "show", new.test_id)
    assert f"commit {new.commit.id[:8]} on main, Anna: A cart" in shown
    assert "tags stage=test, release=2.14" in shown
    assert _ids(home, "search", "--tag", "release=2.13") == [old.test_id]
    assert len(_ids(home, "search", "--tag", "branch=main", "--tag", "stage=test")) == 2
    assert _ids(home, "search", "--tag", f"commit={new.commit.id[:8]}") == [
        *(new.test_id, old.test_id),
    ]
    assert _ids(home, "search", "--tag", "release=9") == []
    assert f"run {old.test_id}" in _said(home, "show", "release=2.13")
    assert "cannot name a tag" in _said(home, "run", "cart.js", "--tag", "a b=1", code=2)
    assert "should be NAME=VALUE" in _said(home, "search", "--tag", "release", code=2)


def test_tagged_runs_are_compared(home: Daemon) -> None:
    """In the terminal: the newest of each while there are few; who has no run is named."""
    said = _said(home, "compare", "release=2.14", "release=2.13")
    assert "1 run with release=2.14 against 1 with release=2.13" in said
    assert "only the newest of each: 5 runs make a baseline" in said
    found = json.loads(_said(home, "compare", "release=2.14", "branch=main", "--json"))
    assert {one["state"] for one in found} <= {"learning", "steady", "worse", "better"}
    error = _said(home, "compare", "release=2.14", "release=9", code=2)
    assert "has the tag release=9" in error


def test_marks_are_set_listed_and_removed(home: Daemon) -> None:
    """With a time of their own and for some scripts; they stand under the trend."""
    said = _said(home, "mark", "checkout 2.14", "--at", "2h", "--script", "shop/*")
    mark_id = said.split()[1].rstrip(":")
    assert "checkout 2.14  (shop/*)" in _said(home, "marks")
    _said(home, "mark", "search 7")
    assert "search 7" in _said(home, "trend", "cart.js")
    assert "checkout" not in _said(home, "trend", "cart.js")
    (mark,) = json.loads(_said(home, "trend", "cart.js", "--json"))["marks"]
    assert mark["text"] == "search 7"
    _said(home, "marks", "--remove", mark_id)
    assert "there is no mark" in _said(home, "marks", "--remove", mark_id, code=2)
    assert "should have 1 to 200 characters" in _said(home, "mark", " ", code=2)
    assert "should be a day" in _said(home, "mark", "x", "--at", "soon", code=2)


def test_the_api_has_tags_marks_and_comparisons(home: Served) -> None:
    """The same over HTTP; marks stand on the page of the script, tags on that of the run."""
    home.start()
    made = home.post("/api/v1/marks", {"text": "pay 3", "script": "cart.js"})
    assert (made.status, made.json["text"]) == (201, "pay 3")
    assert home.post("/api/v1/marks", {"text": "x"}, token=False).status == 401
    assert home.post("/api/v1/marks", {"text": "\n"}).status == 422
    body: dict[str, Any] = {"script": "cart.js", "tags": {"release": "2.15"}}
    ran = home.post("/api/v1/scripts/run?wait=true", body)
    assert ran.json["tags"] == {"stage": "test", "release": "2.15"}
    assert ran.json["commit"]["subject"] == "A cart"
    wrong = home.post("/api/v1/scripts/run", body | {"tags": {"a b": "1"}})
    assert (wrong.status, "cannot name a tag" in wrong.text) == (422, True)
    found = home.get("/api/v1/test/search?tag=release%3D2.15&tag=branch%3Dmain").json["tests"]
    assert [one["test_id"] for one in found] == [ran.json["test_id"]]
    assert home.get("/api/v1/test/search?tag=x").status == 422
    marks = home.get("/api/v1/scripts/series?script=cart.js").json["marks"]
    assert "pay 3" in [mark["text"] for mark in marks]
    assert "pay 3" in home.get("/script?name=cart.js").text
    page = home.get(f"/runs/{ran.json['test_id']}").text
    assert ("on main, Anna: A cart" in page, "release=2.15" in page) == (True, True)
    way = "/api/v1/compare?after=release%3D2.15&before="
    first, *_, last = home.runs("cart.js")
    for one in (f"to={first.test_id}&run={last.test_id}", f"to={last.test_id}&run={first.test_id}"):
        assert "“pay 3”, " in home.get(f"/compare?{one}").text
    assert "“pay 3”, 20" in _said(home, "compare", last.test_id, first.test_id)
    assert "pay 3" not in _said(home, "compare", *[one.test_id for one in home.runs("cart.js")[:2]])
    compared = home.get(f"{way}release%3D2.13").json
    assert (compared["runs"], compared["script"]) == (1, "cart.js")
    assert home.get(f"{way}release%3D9").status == 404
    assert home.get(f"{way}latest").status == 422
    gone = home.ask("DELETE", f"/api/v1/marks/{made.json['id']}", token=True)
    assert made.json["id"] not in gone.text
    assert home.ask("DELETE", f"/api/v1/marks/{made.json['id']}", token=True).status == 404


def test_a_mark_that_is_mistyped(home: Daemon) -> None:
    """A moment that lies ahead is refused; a pattern that no script has is named."""
    before = len(json.loads(_said(home, "marks", "--json")))
    ahead = _said(home, "mark", "late", "--at", "2999-01-01T14:05", code=2)
    assert ahead.startswith("k6d: --at 2999-01-01T14:05: lies ahead, now it is ")
    assert len(json.loads(_said(home, "marks", "--json"))) == before
    said = _said(home, "mark", "checkout", "--script", "crat.js")
    assert "no script has such a name yet: crat.js; 'k6d scripts' lists them" in said
    assert "no script" not in _said(home, "mark", "checkout", "--script", "c*.js")
