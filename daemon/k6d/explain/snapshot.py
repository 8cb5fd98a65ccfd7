"""Read the main script and the workload from an archive of `k6 archive`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.k6_archive import first_bytes

if TYPE_CHECKING:
    from pathlib import Path

MAX_METADATA_BYTES = 1_000_000
# The options that describe the load; none of them can hold a secret.
WORKLOAD = ("vus", "duration", "iterations", "stages", "rps", "scenarios")
LEFT_OUT = ("env", "tags")


def source(archive: Path, *, most: int) -> str | None:
    """The first `most` bytes of the main script as text; None if the archive is unreadable."""
    found = first_bytes(archive, "data", most)
    return None if found is None else found.decode(errors="replace")


def workload(archive: Path) -> dict[str, Any]:
    """k6's options about load; {} if the archive is unreadable."""
    try:
        metadata = orjson.loads(first_bytes(archive, "metadata.json", MAX_METADATA_BYTES) or b"{}")
    except orjson.JSONDecodeError:
        return {}
    options = metadata.get("options") or {}
    options_kept = {name: options[name] for name in WORKLOAD if options.get(name) is not None}
    if "scenarios" in options_kept:
        options_kept["scenarios"] = {
            name: {k: v for k, v in one.items() if v is not None and k not in LEFT_OUT}
            for name, one in options_kept["scenarios"].items()
        }
    return options_kept
