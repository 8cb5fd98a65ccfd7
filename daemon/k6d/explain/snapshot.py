"""What an archive of `k6 archive` says about a test: its main script, and its workload."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from pathlib import Path

MAX_SOURCE_BYTES = 200_000
MAX_METADATA_BYTES = 1_000_000
# Of the options those that say how much load is made, and by whom; none that could hold a secret.
WORKLOAD = ("vus", "duration", "iterations", "stages", "rps", "scenarios")
LEFT_OUT = ("env", "tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """`source` is None and `workload` empty when they cannot be read."""

    source: str | None = None
    workload: dict[str, Any] = field(default_factory=dict)


def read(archive: Path) -> Archived:
    """What there is to say; nothing when there is no such archive."""
    try:
        with tarfile.open(archive) as tar:
            source = _member(tar, "data", MAX_SOURCE_BYTES)
            metadata = orjson.loads(_member(tar, "metadata.json", MAX_METADATA_BYTES) or b"{}")
    except (OSError, tarfile.TarError, orjson.JSONDecodeError):
        return Archived()
    return Archived(
        source=None if source is None else source.decode(errors="replace"),
        workload=_workload(metadata.get("options") or {}),
    )


def _member(tar: tarfile.TarFile, name: str, limit: int) -> bytes | None:
    try:
        file = tar.extractfile(name)
    except KeyError:
        return None
    return file.read(limit) if file else None


def _workload(options: dict[str, Any]) -> dict[str, Any]:
    said = {name: options[name] for name in WORKLOAD if options.get(name) is not None}
    if "scenarios" in said:
        said["scenarios"] = {
            name: {k: v for k, v in one.items() if v is not None and k not in LEFT_OUT}
            for name, one in said["scenarios"].items()
        }
    return said
