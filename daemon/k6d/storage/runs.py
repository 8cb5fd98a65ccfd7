"""The run files: one JSON file for each run, in one folder for each month."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from k6d.core.errors import K6dError
from k6d.core.terms import SCHEMA_VERSION
from k6d.storage.checksum import Checksum
from k6d.storage.data_folder import check_way, read_file, remove_file
from k6d.storage.files import disk_errors, folders, names, set_aside, size, write_atomic
from k6d.storage.record import (
    adapter,
    check_test_id,
    encode,
    index_document,
    is_test_id,
    month_of,
)
from k6d.storage.run_files import keep_files, kept_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from k6d.core.model import Run

T = TypeVar("T")

_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_ENDING = ".json"
FILES_ENDING = ".tar"
CHECKSUM = Checksum(b'"crc32":', b"}\n")
_RESTORE = "restore it from a backup or move it away"


class RunFiles:
    """The files in the folder `runs`; each method may raise K6dError when the disk refuses."""

    def __init__(self, folder: Path, *, root: Path) -> None:
        self.folder, self._root = folder, root

    def path(self, test_id: str) -> Path:
        """The path of the run's file, whether it exists or not; K6dError for an invalid id."""
        return Path(self._place(test_id))

    def size(self, test_id: str) -> int:
        """What the run takes, in bytes, with the files that its script wrote; 0 when it is gone."""
        place = self._place(test_id)
        return size(place) + size(place.removesuffix(_ENDING) + FILES_ENDING)

    def total_bytes(self) -> int:
        """The size of all runs, with the files that scripts wrote."""
        total = 0
        for month in self.months():
            with disk_errors("read", month), os.scandir(month) as entries:
                for entry in entries:
                    name, dot, ending = entry.name.partition(".")
                    if is_test_id(name) and dot + ending in (_ENDING, FILES_ENDING):
                        with suppress(FileNotFoundError):
                            total += entry.stat(follow_symlinks=False).st_size
        return total

    def _place(self, test_id: str) -> str:
        """The path as a str: pathlib interns each name, which would take memory for each run."""
        check_test_id(test_id)
        return f"{self.folder}/{month_of(test_id)}/{test_id}{_ENDING}"

    def _contents(self, test_id: str) -> bytes | None:
        """The bytes of the file; None when there is no file."""
        place = self._place(test_id)
        with disk_errors("read", place):
            try:
                return read_file(place)
            except FileNotFoundError:
                return None

    def own_path(self, test_id: str) -> Path:
        """The path of the run's file, to write or remove it; LinkError when a folder is a link."""
        path = self.path(test_id)
        check_way(path.parent, root=self._root)
        return path

    def files_path(self, test_id: str) -> Path:
        """Where the files that the script wrote are kept, whether there are any or not."""
        return self.path(test_id).with_suffix(FILES_ENDING)

    def keep_files(self, test_id: str, files: Iterable[tuple[str, bytes]]) -> None:
        """Keep the files that the script wrote, by name, before the run itself is saved."""
        self.own_path(test_id)
        keep_files(self.files_path(test_id), files, root=self._root)

    def kept_file(self, test_id: str, name: str) -> bytes:
        """A file that the script wrote; K6dError when the run has none of that name."""
        return kept_file(self.files_path(test_id), name)

    def delete(self, test_id: str) -> None:
        """Remove what is kept of the run; its own file last, so that it is found until then."""
        path = self.own_path(test_id)
        with disk_errors("remove", path):
            remove_file(path.with_suffix(FILES_ENDING), root=self._root)
            remove_file(path, root=self._root)

    def months(self) -> list[Path]:
        """The folders of run files, the oldest month first."""
        return [folder for folder in folders(self.folder) if _MONTH.fullmatch(folder.name)]

    def ids(self) -> Iterator[str]:
        """The ids of all run files, oldest first, from their names alone."""
        for month in self.months():
            yield from self.ids_of(month.name)

    def ids_of(self, month: str) -> list[str]:
        """The ids of the run files of a month, such as 2026-11, oldest first."""
        prefix, folder = month.replace("-", ""), self.folder_of(month)
        with disk_errors("read", folder):
            files = [name[: -len(_ENDING)] for name in names(folder) if name.endswith(_ENDING)]
        return sorted(one for one in files if one.startswith(prefix) and is_test_id(one))

    def find(self, part: str) -> list[str]:
        """The ids that start or end with `part`, oldest first."""
        end, found = f"{part}{_ENDING}", set[str]()
        for month in self.months():
            with disk_errors("read", month):
                found |= {n for n in names(month) if n.endswith(end) or n.startswith(part)}
        return sorted(filter(is_test_id, (name.removesuffix(_ENDING) for name in found)))

    def folder_of(self, month: str) -> str:
        """The folder of the run files of a month."""
        return f"{self.folder}/{month}"

    def count(self, month: str) -> int:
        """The number of the run files of a month."""
        return sum(name.endswith(_ENDING) for name in names(self.folder_of(month)))

    def write(self, run: Run) -> dict[str, Any]:
        """Write the run to the disk; returns its index document."""
        data = encode(run)
        self.replace(run.test_id, data)
        return index_document(orjson.loads(data))

    def replace(self, test_id: str, data: bytes) -> None:
        """Write `data`, the run's JSON, to the disk in place of the run's file."""
        write_atomic(self.own_path(test_id), CHECKSUM.append(data), root=self._root)

    def read(self, test_id: str) -> bytes:
        """The run's JSON without its checksum; K6dError when the file is missing or damaged."""
        data = self._contents(test_id)
        if data is None:
            raise K6dError(f"no run {test_id}; see 'k6d history' for those there are")
        try:
            return CHECKSUM.verified(data)
        except ValueError as error:
            place = self._place(test_id)
            raise K6dError(f"{place}: is damaged ({error}); {_RESTORE}") from None

    def load(self, test_id: str) -> Run:
        """The run, as `part` reads it."""
        from k6d.core.model import Run

        return self.part(test_id, Run)

    def part(self, test_id: str, kind: Callable[..., T]) -> T:
        """The run, or the part of it that `kind` has; unknown fields are ignored.

        K6dError when the file is missing or damaged, or when a newer k6d wrote it.
        """
        from pydantic import ValidationError  # takes 0.2 s, and the index is read without it

        path, data = self._place(test_id), self.read(test_id)
        try:
            record = orjson.loads(data)
            if _schema(record) > SCHEMA_VERSION:
                raise K6dError(
                    f"{path}: written by a newer k6d (schema {_schema(record)}, this one reads up "
                    f"to {SCHEMA_VERSION}); upgrade k6d to read it"
                )
            found: T = adapter(kind).validate_python(record)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except ValueError as error:
            reason = str(error)
        else:
            return found
        raise K6dError(f"{path}: is no run ({reason}); {_RESTORE}")

    def document(self, test_id: str) -> dict[str, Any] | None:
        """The run's index document; None when its file is gone.

        ValueError when the file is not a run. K6dError when the disk refuses, or when a newer k6d
        wrote it in an unknown form.
        """
        data = self._contents(test_id)
        if data is None:
            return None
        record = orjson.loads(CHECKSUM.verified(data))
        try:
            document = index_document(record)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if _schema(record) > SCHEMA_VERSION:
                place = self._place(test_id)
                raise K6dError(
                    f"{place}: written by a newer k6d; upgrade k6d to list it"
                ) from error
            raise ValueError("not a run") from error
        if document["test_id"] != test_id:
            raise ValueError(f"holds the run {document['test_id']}")
        return document

    def set_aside(self, test_id: str) -> Path:
        """Rename a file that is no run to `….unreadable`; returns the new path."""
        return set_aside(self.path(test_id), root=self._root)


def _schema(record: Any) -> int:
    """The record's schema version, 0 when it is no integer; ValueError when there is none."""
    try:
        version = record["schema_version"]
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError("no schema_version") from error
    return version if isinstance(version, int) else 0
