"""Backup and restore: runs, snapshots and states in one archive with checksums.

k6d replaces files and never writes into them. An archive that is made while the daemon runs thus
holds whole files. States are archived first: a run that ends meanwhile is in the archive, but not
in its states, so its script runs again. Snapshots are archived last: no run lacks its snapshot.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import tarfile
import time
import zlib
from contextlib import contextmanager, suppress
from dataclasses import field
from typing import IO, TYPE_CHECKING

import orjson

from k6d.core.errors import K6dError
from k6d.core.frozen import frozen
from k6d.core.terms import SCHEMA_VERSION
from k6d.storage.data_folder import check_way, open_file, refuse_links
from k6d.storage.files import free_bytes, replacing
from k6d.storage.prune import forget_progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

GZIP = b"\x1f\x8b"
MANIFEST = "k6d-export.json"
PIECE = 1 << 20  # bytes read at once
MOST_MANIFEST = 1 << 30  # bytes, about 100 a file; a limit, because an archive may be malicious
MOST_HEADER = 1 << 16  # bytes
FURTHER_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
# The files that an archive may hold; any other name is refused.
_NAMES = re.compile(
    r"runs/\d{4}-\d{2}/\d{8}-\d{6}-[0-9a-f]{6}\.(?:json|tar)"
    r"|snapshots/[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.tar"
    r"|state/[a-z][a-z0-9_-]{0,63}\.json"
)


@frozen
class Restored:
    """The numbers of restored files, and of files that were `present` already.

    `different` names files that were present with other contents; they were not replaced.
    """

    runs: int = 0
    snapshots: int = 0
    states: int = 0
    present: int = 0
    different: list[str] = field(default_factory=list)


def export(data: Path, file: Path) -> int:
    """Write an archive of the data folder to `file`; returns the number of its runs.

    K6dError when `file` exists, there is no data folder, or the disk refuses; then there is no
    partial file.
    """
    if file.exists():
        raise K6dError(f"{file} exists: name another file, or remove it")
    if not data.is_dir():
        raise K6dError(f"{data} is no data folder: name the one to export with --data")
    refuse_links(data)
    digests: dict[str, str] = {}
    # Only this user can read the archive: snapshots and logs may hold confidential data.
    with (
        replacing(file, root=file.parent) as out,
        tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar,
    ):
        for folder in ("state", "runs", "snapshots"):
            for path in _files(data / folder, data):
                # FileNotFoundError: pruning has removed the file meanwhile.
                with suppress(FileNotFoundError), os.fdopen(open_file(path), "rb") as contents:
                    name = path.relative_to(data).as_posix()
                    digests[name] = _digest_and_copy(contents)
                    _add(tar, name, contents)
        manifest = {"schema_version": SCHEMA_VERSION, "files": digests}
        _add(tar, MANIFEST, io.BytesIO(orjson.dumps(manifest)))
    return sum(_is_run(name) for name in digests)


def is_archive(file: Path) -> bool:
    """Whether the file begins like an archive of `export`; raises OSError."""
    with file.open("rb") as contents:
        return contents.read(len(GZIP)) == GZIP


def restore(data: Path, file: Path, store: Store) -> Restored:
    """Copy the files of an archive into the data folder; files that exist are never replaced.

    The archive is read twice: nothing is written before all of its checksums were found right.
    """
    with _archive_errors(file):
        digests = _checked_digests(file, data)
    counts = dict.fromkeys(("runs", "snapshots", "state"), 0)
    present, different = 0, []
    for name, contents, _ in _members(file):
        if name == MANIFEST:
            continue
        path = data / name
        if path.exists():
            present += 1
            with path.open("rb") as existing:
                if _digest_and_copy(existing) != digests.get(name):
                    different.append(name)
            continue
        with replacing(path, root=data) as copy:
            if _digest_and_copy(contents, copy) != digests.get(name):
                raise K6dError(f"{file}: was changed while it was read; restore it again")
        counts[name.partition("/")[0]] += _is_run(name) or not name.startswith("runs/")
    forget_progress(store)
    store.repair()
    return Restored(
        runs=counts["runs"],
        snapshots=counts["snapshots"],
        states=counts["state"],
        present=present,
        different=different,
    )


def _checked_digests(file: Path, data: Path) -> dict[str, str]:
    """The digests in the archive's manifest, after checking all files and the free space."""
    found: dict[str, str] = {}
    manifest, needed = None, 0
    free = free_bytes(data)
    for name, contents, size in _members(file):
        if name == MANIFEST:
            manifest = _manifest(contents.read(MOST_MANIFEST))
            continue
        if name in found or not _NAMES.fullmatch(name):
            raise K6dError(f"{file}: holds {name!r}, which k6d did not put there; not restored")
        check_way((data / name).parent, root=data)
        needed += size  # checked before reading: the archive may claim any size
        if needed > free:
            needs = f"needs {needed >> 20:,} MiB, {free >> 20:,} are free"
            raise K6dError(f"{file}: {needs}; not restored")
        found[name] = _digest_and_copy(contents)
    if manifest is None:
        raise K6dError(f"{file}: is no archive of 'k6d export', or was cut off; not restored")
    version, files = manifest
    if version > SCHEMA_VERSION:
        raise K6dError(f"{file}: was made by a newer k6d; upgrade k6d to restore it")
    if files != found:
        wrong = sorted(name for name, _ in files.items() ^ found.items())
        raise K6dError(f"{file}: {wrong[0]} is damaged or missing in it; not restored")
    return found


def _manifest(contents: bytes) -> tuple[int, dict[str, str]] | None:
    """The schema version and the digests by name; None when the manifest is not k6d's."""
    try:
        raw = orjson.loads(contents)
        return int(raw["schema_version"]), {str(k): str(v) for k, v in raw["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _digest_and_copy(contents: IO[bytes], copy: IO[bytes] | None = None) -> str:
    """The SHA-256 of `contents`, which is also written into `copy`, in pieces to save memory."""
    digest = hashlib.sha256()
    while piece := contents.read(PIECE):
        digest.update(piece)
        if copy:
            copy.write(piece)
    return digest.hexdigest()


@contextmanager
def _archive_errors(file: Path) -> Iterator[None]:
    """Turn every error of reading the archive into one K6dError."""
    try:
        yield
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
        raise K6dError(f"{file}: cannot be read as an archive ({error}); not restored") from error


class _Member(tarfile.TarInfo):
    """A member whose further headers are short: tarfile reads them whole, whatever their size."""

    def _proc_member(self, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in FURTHER_HEADERS and self.size > MOST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        return super()._proc_member(tarfile_)  # type: ignore[misc, no-any-return]


def _members(file: Path) -> Iterator[tuple[str, IO[bytes], int]]:
    """The name, contents and size of each file; read the contents before the next file."""
    with tarfile.open(file, "r:gz", tarinfo=_Member) as tar:
        for member in tar:
            extracted = tar.extractfile(member) if member.isfile() else None
            if extracted is None:
                raise K6dError(f"{file}: {member.name!r} is no file; not restored")
            yield member.name, extracted, member.size


def _files(folder: Path, data: Path) -> list[Path]:
    """The files to archive, by name; without links, which lead to files that are not k6d's."""
    return sorted(
        path
        for path in folder.rglob("*")
        if _NAMES.fullmatch(path.relative_to(data).as_posix()) and not path.is_symlink()
    )


def _is_run(name: str) -> bool:
    """Whether it is the file of a run; beside it may be what the script wrote."""
    return name.startswith("runs/") and name.endswith(".json")


def _add(tar: tarfile.TarFile, name: str, contents: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size = contents.seek(0, io.SEEK_END)
    contents.seek(0)
    member.mtime, member.mode = int(time.time()), 0o640
    tar.addfile(member, contents)
