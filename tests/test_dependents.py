"""Which scripts a changed path concerns."""

from __future__ import annotations

from k6d.dependents import Dependents


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
