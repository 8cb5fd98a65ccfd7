"""Small things k6d remembers by key, such as the scripts it knows: one TinyDB file each."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.model import K6dError
from k6d.storage.data_folder import path_aside, read_file
from k6d.storage.documents import AtomicStorage, DamagedError, Document, Documents, where
from k6d.storage.files import locked, set_aside, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


# The states there are, and what is so when the file of one was damaged.
STATES = {
    "accepted": "levels accepted as normal are lost; k6d accept sets them again",
    "deaths": "scripts that were set aside run again",
    "explanations": "the count of today's requests to Gemini starts at 0",
    "incidents": "open incidents are rebuilt from the runs; k6d incidents lists them",
    "life": "whether the last daemon ended well is not known",
    "mutes": "mutes are lost; k6d mute sets them again",
    "queue": "jobs that people asked for are lost; k6d run starts them again",
    "retention": "every old run is looked at again by the next k6d prune",
    "schedule": "schedules are rebuilt from the runs; k6d schedule lists them",
    "scripts": "which contents ran is rebuilt from the runs",
}


class State:
    """A durable dictionary of JSON objects; what is returned belongs to the caller.

    Every change rewrites the file, so it is for hundreds of small things. Safe in several
    processes and threads; of two that put the same key the last wins.
    """

    def __init__(self, path: Path, *, root: Path) -> None:
        self.path, self._root = path, root
        self._storage = AtomicStorage(path, root=root, wanted=_is_entry)
        self._lock = path.parent / ".lock"

    def get(self, key: str) -> dict[str, Any] | None:
        """The document of `key`, None when there is none."""
        return copy.deepcopy(self._items().get(key))

    def all(self) -> dict[str, dict[str, Any]]:
        """Every document by key, in the order in which the keys were first put."""
        return copy.deepcopy(self._items())

    def put(self, key: str, document: dict[str, Any]) -> None:
        """Store `document` under `key`, replacing what was there; it is on the disk afterwards."""
        self.change(key, lambda _: document)

    def change(
        self, key: str, function: Callable[[dict[str, Any] | None], dict[str, Any]]
    ) -> dict[str, Any]:
        """Replace the document of `key` by what `function` makes of it; nobody comes in between.

        `function` gets None when there is none, and must not use this store. Returns the new one.
        """
        with locked(self._lock, root=self._root):
            document = function(copy.deepcopy(self._items().get(key)))
            try:
                value = orjson.loads(orjson.dumps({key: document}))[key]
            except orjson.JSONEncodeError as error:
                raise K6dError(f"{self.path}: cannot keep {key!r}: {error}") from error
            Documents(self._storage).upsert({"key": key, "value": value}, where("key") == key)
        return document

    def put_all(self, documents: Mapping[str, dict[str, Any]]) -> None:
        """Store several documents in one write: after a crash there are all of them, or none."""
        with locked(self._lock, root=self._root):
            self._rewrite(self._items() | dict(documents))

    def delete(self, key: str) -> None:
        """Forget `key`; nothing happens when it is not there."""
        with locked(self._lock, root=self._root):
            if key in self._items():
                Documents(self._storage).remove(where("key") == key)

    def rest(self) -> None:
        """Let go of what is held in memory to be fast; the next call reads it again."""
        self._storage.rest()

    def mend(self) -> Path | None:
        """Set a damaged file aside, so that k6d can go on; return its new name.

        Of a file that parses only entries that are not objects are lost: the others are kept.
        """
        with locked(self._lock, root=self._root):
            self.rest()
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

    def _rewrite(self, documents: dict[str, dict[str, Any]]) -> None:
        """Let the file hold exactly `documents`. Lock held."""
        rows = [{"key": key, "value": value} for key, value in documents.items()]
        numbered = (Document(row, number) for number, row in enumerate(rows, 1))
        Documents(self._storage).replace(numbered)

    def _items(self) -> dict[str, dict[str, Any]]:
        """The stored documents by key, not to be changed; raises DamagedError."""
        return {item["key"]: item["value"] for item in Documents(self._storage).plain()}


def _is_entry(number: str, document: Any) -> bool:
    """Whether a document of the file is {"key": text, "value": object}, as `put` makes it."""
    return (
        number.isdecimal()
        and isinstance(document, dict)
        and isinstance(document.get("key"), str)
        and isinstance(document.get("value"), dict)
    )
