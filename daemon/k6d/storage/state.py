"""Small states of k6d by key, such as the scripts that it knows; one TinyDB file each."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from k6d.core.errors import K6dError
from k6d.storage.data_folder import path_aside, read_file
from k6d.storage.documents import AtomicStorage, DamagedError, where
from k6d.storage.files import locked, set_aside, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")

# Each state, and what its loss means to an operator when its file was damaged.
STATES = {
    "accepted": "levels accepted as normal are lost; k6d accept sets them again",
    "cluster": "what runs of a dead process left in a cluster is found by its labels alone",
    "disabled": "scripts that were disabled run again; k6d disable stops them",
    "deaths": "scripts that were set aside run again",
    "explanations": "the count of today's requests to Gemini starts at 0",
    "incidents": "open incidents are rebuilt from the runs; k6d incidents lists them",
    "life": "whether the last daemon ended well is not known",
    "marks": "marks of deployments are lost; k6d mark sets new ones",
    "mutes": "mutes are lost; k6d mute sets them again",
    "outages": "which scripts have no verdict for want of k6 or a network is not known",
    "pinned": "which runs are pinned is lost; k6d pin pins them again",
    "queue": "jobs that people asked for are lost; k6d run starts them again",
    "recoveries": "statistics know the last recovery of each script alone",
    "retention": "every old run is looked at again by the next k6d prune",
    "schedule": "schedules are rebuilt from the runs; k6d schedule lists them",
    "tokens": "tokens of hooks are revoked; k6d token create makes new ones",
    "scripts": "which contents ran is rebuilt from the runs",
}


class State:
    """A durable dictionary of JSON objects; methods return copies.

    Each change rewrites the whole file, so a state should hold hundreds of small objects at most.
    Several processes and threads may use it at once; the last `put` of a key wins.
    """

    def __init__(self, path: Path, *, root: Path) -> None:
        self.path, self._root = path, root
        self._storage = AtomicStorage(path, root=root, wanted=_is_entry)
        self._lock = path.parent / ".lock"

    def get(self, key: str) -> dict[str, Any] | None:
        """The document of `key`; None when there is none."""
        return copy.deepcopy(self._items().get(key))

    def all(self) -> dict[str, dict[str, Any]]:
        """Every document by key, in the order in which the keys were first put."""
        return copy.deepcopy(self._items())

    def each(self, make: Callable[[str, dict[str, Any]], T]) -> dict[str, T]:
        """`make(key, document)` by key, without copies; it must not change or keep the document."""
        return {key: make(key, document) for key, document in self._items().items()}

    def put(self, key: str, document: dict[str, Any]) -> None:
        """Store `document` under `key`, replacing an old one; it is on the disk afterwards."""
        self.change(key, lambda _: document)

    def change(
        self, key: str, function: Callable[[dict[str, Any] | None], dict[str, Any]]
    ) -> dict[str, Any]:
        """Replace the document of `key` by `function(document)` and return the new document.

        The state is locked meanwhile. `function` gets None when there is no document; it must not
        use this state.
        """
        with locked(self._lock, root=self._root):
            document = function(copy.deepcopy(self._items().get(key)))
            self._upsert(key, document)
        return document

    def amend(self, key: str, fields: Mapping[str, Any]) -> bool:
        """Replace `fields` of the document of `key`; False if there is none (any more)."""
        with locked(self._lock, root=self._root):
            document = self._items().get(key)
            if document is not None:
                self._upsert(key, {**document, **fields})
            return document is not None

    def put_all(self, documents: Mapping[str, dict[str, Any]]) -> None:
        """Store several documents in one write: after a crash all of them are stored, or none."""
        with locked(self._lock, root=self._root):
            self._rewrite(self._items() | dict(documents))

    def delete(self, key: str) -> bool:
        """Remove the document of `key`; False if there is none."""
        with locked(self._lock, root=self._root):
            if key not in self._items():
                return False
            self._storage.table().remove(where("key") == key)
            return True

    def free_memory(self) -> None:
        """Free the memory of the cached contents; the next call reads the file again."""
        self._storage.free_memory()

    def mend(self) -> Path | None:
        """Rename a damaged file to `….unreadable` and return its new path; None when it is sound.

        If the file parses and only some entries are invalid, a copy of it gets that name and the
        valid entries stay.
        """
        with locked(self._lock, root=self._root):
            self.free_memory()
            try:
                kept = copy.deepcopy(self._items())
            except DamagedError:
                return set_aside(self.path, root=self._root)
            if not self._storage.left_out:
                return None
            aside = path_aside(self.path)
            write_atomic(aside, read_file(self.path), root=self._root)
            self._rewrite(kept)
        return aside

    def _upsert(self, key: str, document: dict[str, Any]) -> None:
        """Store one document. The caller holds the lock."""
        try:
            value = orjson.loads(orjson.dumps({key: document}))[key]
        except orjson.JSONEncodeError as error:
            raise K6dError(f"{self.path}: cannot keep {key!r}: {error}") from error
        self._storage.table().upsert({"key": key, "value": value}, where("key") == key)

    def _rewrite(self, documents: dict[str, dict[str, Any]]) -> None:
        """Write a file with exactly `documents`. The caller holds the lock."""
        rows = [{"key": key, "value": value} for key, value in documents.items()]
        self._storage.replace(dict(enumerate(rows, 1)))

    def _items(self) -> dict[str, dict[str, Any]]:
        """The stored documents by key; callers must not change them. Raises DamagedError."""
        return {item["key"]: item["value"] for item in self._storage.documents()}


def _is_entry(number: str, document: Any) -> bool:
    """Whether a document of the file has the form {"key": text, "value": object}."""
    return (
        number.isdecimal()
        and isinstance(document, dict)
        and isinstance(document.get("key"), str)
        and isinstance(document.get("value"), dict)
    )
