"""The state of each file in the scripts folder: what it is, what it depends on, what ran last.

This module is the only reader and writer of the stored state `scripts`.
"""

from __future__ import annotations

import copy
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.core.script import Kind
from k6d.scripts.dependencies import kept_paths, paths_now

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from k6d.storage.store import Store

STATE = "scripts"


@frozen
class ScriptState:
    """What is known of one file.

    `kind` is None until k6 has looked at the file. `fingerprint` stands for its contents and `ran`
    for those that ran last. `dependencies` maps absolute paths to digests. `settings` are as the
    script wrote them. `was_test` is True once k6 took the file for a test. `left_alone` says why
    the file is no test.
    """

    kind: Kind | None = None
    fingerprint: str | None = None
    ran: str | None = None
    dependencies: Mapping[str, str] = field(default_factory=dict)
    settings: object = None
    was_test: bool = False
    left_alone: str | None = None

    @property
    def has_run_current_contents(self) -> bool:
        """Return whether the contents that k6 saw last have run."""
        return self.ran is not None and self.ran == self.fingerprint


class Registry:
    """The states of the files in the scripts folder `root`.

    Paths are kept relative to `root`, so they stay right when the folders move together.
    """

    def __init__(self, store: Store, root: Path) -> None:
        self._state = store.state(STATE)
        self._root = root

    def get(self, name: str) -> ScriptState | None:
        """Return the state of one file; None when nothing is known of it."""
        document = self._state.get(name)
        return self._read(name, document) if document else None

    def all(self) -> dict[str, ScriptState]:
        """Return the state of each known file, by name."""
        return self._state.each(self._read)

    def without_dependencies(self) -> dict[str, ScriptState]:
        """Return like `all`, without dependencies, which take most of the memory."""
        return self._state.each(lambda _, document: read(document))

    def free_memory(self) -> None:
        """Free the memory of what was read; the next call reads the file again."""
        self._state.free_memory()

    def put(self, name: str, state: ScriptState) -> None:
        """Replace what is known of one file."""
        self._state.put(name, self._document(state))

    def put_all(self, states: Mapping[str, ScriptState]) -> None:
        """Replace what is known of several files, in one write."""
        self._state.put_all({name: self._document(state) for name, state in states.items()})

    def _read(self, name: str, document: dict[str, Any]) -> ScriptState:
        paths = paths_now(document.get("dependencies"), script=name, root=self._root)
        return replace(read(document), dependencies=paths)

    def _document(self, state: ScriptState) -> dict[str, Any]:
        return {
            "kind": state.kind,
            "fingerprint": state.fingerprint,
            "ran": state.ran,
            "dependencies": kept_paths(state.dependencies, root=self._root),
            "settings": state.settings,
            "was_test": state.was_test,
            "left_alone": state.left_alone,
        }


def read(document: Mapping[str, Any]) -> ScriptState:
    """Return a stored document as a record, without its dependencies.

    A value of the wrong type, from a damaged or edited file, counts as absent.
    """
    kind = document.get("kind")
    known = Kind(kind) if kind in list(Kind) else None
    return ScriptState(
        kind=known,
        fingerprint=_text(document.get("fingerprint")),
        ran=_text(document.get("ran")),
        settings=copy.deepcopy(document.get("settings")),
        was_test=known is Kind.TEST or bool(document.get("was_test")),
        left_alone=_text(document.get("left_alone")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
