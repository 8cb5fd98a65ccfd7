"""Backup and restore: runs, their snapshots and small state in one archive, checked on both ends.

Every file is replaced and never written into, so each is whole in an archive that is made while the
daemon runs. State is taken first and snapshots last: no run lacks its snapshot, and what the state
does not know yet is run again rather than forgotten.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
import tarfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from k6d.model import SCHEMA_VERSION, K6dError
from k6d.store.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from k6d.store import Store

logger = logging.getLogger(__name__)

MANIFEST = "k6d-export.json"
# Whatever else an archive may hold has no business in a data folder.
_NAMES = re.compile(
    r"runs/\d{4}-\d{2}/\d{8}-\d{6}-[0-9a-f]{6}\.json"
    r"|snapshots/[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.tar"
    r"|state/[a-z][a-z0-9_-]{0,63}\.json"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What an archive brought: runs and snapshots that were new, and what was left as it is."""

    runs: int = 0
    snapshots: int = 0
    states: int = 0
    present: int = 0
    different: list[str] = field(default_factory=list)


def export(data: Path, file: Path) -> int:
    """Write an archive of the data folder; how many runs it holds. `file` is whole or not there."""
    if file.exists():
        raise K6dError(f"{file} exists: name another file, or remove it")
    temp = file.with_name(f".{file.name}.part")
    digests: dict[str, str] = {}
    try:
        temp.touch(mode=0o600)  # snapshots and logs may hold what not everybody should read
        with tarfile.open(temp, "w:gz", compresslevel=1) as tar:
            for folder in ("state", "runs", "snapshots"):
                for path in _files(data / folder, data):
                    try:
                        contents = path.read_bytes()
                    except FileNotFoundError:
                        continue  # pruned meanwhile
                    name = path.relative_to(data).as_posix()
                    digests[name] = hashlib.sha256(contents).hexdigest()
                    _add(tar, name, contents)
            manifest = {"schema_version": SCHEMA_VERSION, "files": digests}
            _add(tar, MANIFEST, orjson.dumps(manifest))
        temp.replace(file)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise K6dError(f"cannot write {file}: {reason}; choose another place") from error
    finally:
        temp.unlink(missing_ok=True)
    return sum(name.startswith("runs/") for name in digests)


def restore(data: Path, file: Path, store: Store) -> Restored:
    """Bring what an archive holds into the data folder; what is there already is never replaced.

    The archive is read twice, and nothing is written unless the whole of it is as it was made.
    """
    digests = _checked(file)
    counts = dict.fromkeys(("runs", "snapshots", "state"), 0)
    present, different = 0, []
    for name, contents in _members(file):
        if name == MANIFEST:
            continue
        if digests.get(name) != hashlib.sha256(contents).hexdigest():
            raise K6dError(f"{file}: was changed while it was read; restore it again")
        path = data / name
        if path.exists():
            present += 1
            if path.read_bytes() != contents:
                different.append(name)
            continue
        write_atomic(path, contents)
        counts[name.partition("/")[0]] += 1
    store.repair()
    return Restored(
        runs=counts["runs"],
        snapshots=counts["snapshots"],
        states=counts["state"],
        present=present,
        different=different,
    )


def _checked(file: Path) -> dict[str, str]:
    """The digests that the archive's manifest names, all of them found right."""
    found: dict[str, str] = {}
    manifest: dict[str, Any] | None = None
    for name, contents in _members(file):
        if name == MANIFEST:
            manifest = orjson.loads(contents)
        elif _NAMES.fullmatch(name):
            found[name] = hashlib.sha256(contents).hexdigest()
        else:
            raise K6dError(f"{file}: holds {name!r}, which k6d did not put there; not restored")
    if manifest is None:
        raise K6dError(f"{file}: is no archive of 'k6d export', or was cut off; not restored")
    if manifest["schema_version"] > SCHEMA_VERSION:
        raise K6dError(f"{file}: was made by a newer k6d; upgrade k6d to restore it")
    if manifest["files"] != found:
        wrong = sorted(name for name, _ in manifest["files"].items() ^ found.items())
        raise K6dError(f"{file}: {wrong[0]} is damaged or missing in it; not restored")
    return found


def _members(file: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(file, "r:gz") as tar:
            for member in tar:
                extracted = tar.extractfile(member) if member.isfile() else None
                if extracted is None:
                    raise K6dError(f"{file}: {member.name!r} is no file; not restored")
                yield member.name, extracted.read()
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise K6dError(f"{file}: cannot be read as an archive ({error}); not restored") from error


def _files(folder: Path, data: Path) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*") if _NAMES.fullmatch(path.relative_to(data).as_posix())
    )


def _add(tar: tarfile.TarFile, name: str, contents: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(contents), int(time.time()), 0o640
    tar.addfile(member, io.BytesIO(contents))
