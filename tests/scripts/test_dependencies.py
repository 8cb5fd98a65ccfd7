"""Which files a script depends on, and which scripts a changed path concerns."""

from __future__ import annotations

from pathlib import Path

import pytest

from k6d.scripts.dependencies import Dependents, kept_paths, paths_now


def test_a_module_concerns_exactly_the_scripts_that_use_it() -> None:
    """And no others; a path that nobody knows concerns nobody."""
    known = Dependents()
    known.put("a.js", ["/s/a.js", "/s/lib.js"], broken=False)
    known.put("b.js", ["/s/b.js", "/s/lib.js", "/s/b.csv"], broken=False)
    assert known.of("/s/lib.js") == {"a.js", "b.js"}
    assert known.of("/s/b.csv") == {"b.js"}
    assert known.of("/s/c.js") == set()
    assert known.paths() == {"/s/a.js", "/s/b.js", "/s/lib.js", "/s/b.csv"}


def test_what_a_script_no_longer_uses_concerns_it_no_longer() -> None:
    """The newest look replaces what was known."""
    known = Dependents()
    known.put("a.js", ["/s/a.js", "/s/old.js"], broken=False)
    known.put("a.js", ["/s/a.js", "/s/new.js"], broken=False)
    assert known.of("/s/old.js") == set()
    assert known.of("/s/new.js") == {"a.js"}
    assert known.paths() == {"/s/a.js", "/s/new.js"}


def test_a_broken_script_may_be_mended_by_any_code() -> None:
    """Its mistake may be in a module that nobody knows yet; once mended, that is over."""
    known = Dependents()
    known.put("a.js", ["/s/a.js"], broken=True)
    assert known.of("/s/just-made.js") == {"a.js"}
    assert known.of("/s/notes.txt") == set()
    known.put("a.js", ["/s/a.js"], broken=False)
    assert known.of("/s/just-made.js") == set()


def test_a_result_can_be_changed_without_harm() -> None:
    """What is given out is a copy."""
    known = Dependents()
    known.put("a.js", ["/s/a.js"], broken=False)
    known.of("/s/a.js").add("b.js")
    known.paths().clear()
    assert known.of("/s/a.js") == {"a.js"}


DEPENDENCIES = {
    "/home/a/scripts/shop/cart.js": "1",
    "/home/a/scripts/lib.js": "2",
    "/home/a/data.csv": "3",
    "/etc/hosts": "4",
}


def test_kept_paths_move_with_the_folders() -> None:
    """Files in the scripts folder and beside it; an absolute path elsewhere stays what it is."""
    kept = kept_paths(DEPENDENCIES, root=Path("/home/a/scripts"))
    assert kept == {"shop/cart.js": "1", "lib.js": "2", "../data.csv": "3", "/etc/hosts": "4"}
    assert paths_now(kept, script="shop/cart.js", root=Path("/home/a/scripts")) == DEPENDENCIES
    assert paths_now(kept, script="shop/cart.js", root=Path("/srv/b/k6")) == {
        "/srv/b/k6/shop/cart.js": "1",
        "/srv/b/k6/lib.js": "2",
        "/srv/b/data.csv": "3",
        "/etc/hosts": "4",
    }


@pytest.mark.parametrize("root", ["/home/a/scripts", "/home/b/scripts", "/srv/tests"])
def test_absolute_paths_of_an_older_k6d_move_too(root: str) -> None:
    """The script's own path tells where the folder was."""
    found = paths_now(DEPENDENCIES, script="shop/cart.js", root=Path(root))
    assert set(found) == {
        f"{root}/shop/cart.js",
        f"{root}/lib.js",
        str(Path(root).parent / "data.csv"),
        "/etc/hosts",
    }


def test_what_is_no_dependency_is_left_out() -> None:
    """A state that somebody edited."""
    assert paths_now([1], script="a.js", root=Path("/s")) == {}
    assert paths_now({"a.js": 1, "b.js": "2"}, script="a.js", root=Path("/s")) == {"/s/b.js": "2"}
