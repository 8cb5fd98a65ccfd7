"""The state of each script: one typed record, whatever its stored file holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from k6d.core.script import Kind
from k6d.scripts.registry import STATE, Registry, ScriptState
from k6d.storage.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def test_a_state_is_read_as_it_was_put(tmp_path: Path) -> None:
    """All fields come back; paths beside the scripts folder move with it."""
    store, root = Store(tmp_path / "data"), tmp_path / "scripts"
    state = ScriptState(
        kind=Kind.TEST,
        fingerprint="f",
        ran="f",
        dependencies={f"{root}/cart.js": "1", f"{root}/lib/shop.js": "2"},
        settings={"schedule": "@hourly"},
        was_test=True,
    )
    Registry(store, root).put("cart.js", state)
    assert Registry(store, root).get("cart.js") == state
    moved = Registry(store, tmp_path / "elsewhere").get("cart.js")
    assert moved is not None
    assert set(moved.dependencies) == {
        f"{tmp_path}/elsewhere/cart.js",
        f"{tmp_path}/elsewhere/lib/shop.js",
    }


def test_what_an_older_k6d_stored_is_read(tmp_path: Path) -> None:
    """Absolute paths, fields that are missing, and a field that is no longer known."""
    store, root = Store(tmp_path), tmp_path / "scripts"
    store.state(STATE).put_all(
        {
            "a.js": {
                "kind": "test",
                "fingerprint": "f",
                "ran": "e",
                "dependencies": {"/old/scripts/a.js": "1", "/old/lib.js": "2"},
                "settings": None,
                "outcome": "completed",
            },
            "rebuilt.js": {"ran": "f", "was_test": True},
        }
    )
    found = Registry(store, root).all()
    paths = {f"{root}/a.js": "1", f"{tmp_path}/lib.js": "2"}
    assert found == {
        "a.js": ScriptState(
            kind=Kind.TEST, fingerprint="f", ran="e", dependencies=paths, was_test=True
        ),
        "rebuilt.js": ScriptState(ran="f", was_test=True),
    }


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"kind": "pipe", "fingerprint": 1, "ran": [], "dependencies": "x", "left_alone": {}},
        {"kind": ["test"], "dependencies": {"a.js": 1, "b": None}, "was_test": None},
        {"kind": None, "dependencies": [1]},
    ],
)
def test_an_entry_of_any_shape_counts_as_unknown(tmp_path: Path, document: dict[str, Any]) -> None:
    """A damaged or edited entry does no harm: the script counts as one that never ran."""
    store = Store(tmp_path)
    store.state(STATE).put("a.js", document)
    registry = Registry(store, tmp_path / "scripts")
    assert registry.all() == {"a.js": ScriptState()}
    assert registry.get("a.js") == (ScriptState() if document else None)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (ScriptState(fingerprint="f", ran="f"), True),
        (ScriptState(fingerprint="f", ran="e"), False),
        (ScriptState(fingerprint="f"), False),
        (ScriptState(ran="f"), False),
        (ScriptState(), False),
    ],
)
def test_whether_current_contents_have_run(state: ScriptState, expected: bool) -> None:
    """Only contents that k6 saw, and that are those of the last run, have run."""
    assert state.has_run_current_contents is expected
