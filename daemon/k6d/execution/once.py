"""Limits a snapshot to one iteration of each scenario by one virtual user: `k6d run --once`.

k6 has no option for that: `--vus` and `--iterations` are ignored beside scenarios (k6 < 2.1) or
replace them all by the default function. So the options in the archive are rewritten.
"""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.k6_archive import METADATA

if TYPE_CHECKING:
    from pathlib import Path

# What a scenario keeps: which function it calls, and with what.
KEPT = ("exec", "env", "tags", "options", "maxDuration", "gracefulStop")
LOAD = ("duration", "stages", "vus", "iterations", "executionSegment", "executionSegmentSequence")
LONGEST = "10m"  # k6's own limit for iterations
NOTE = "run once: one iteration of each scenario by one virtual user; its thresholds are not judged"


def limit_to_once(archive: Path) -> None:
    """Rewrite the options in the archive; OSError or TarError if it cannot be read or written."""
    limited = archive.with_name("once.tar")
    with tarfile.open(archive, "r:") as given, tarfile.open(limited, "w:") as made:
        for member in given:
            contents = given.extractfile(member) if member.isfile() else None
            if contents is not None and member.name == METADATA:
                data = _limited(contents.read())
                member.size = len(data)
                made.addfile(member, io.BytesIO(data))
            else:
                made.addfile(member, contents)
    limited.replace(archive)


def _limited(metadata: bytes) -> bytes:
    parsed: dict[str, Any] = orjson.loads(metadata)
    options = {k: v for k, v in (parsed.get("options") or {}).items() if k not in LOAD}
    options["thresholds"] = {}
    if scenarios := options.get("scenarios"):
        options["scenarios"] = {name: _scenario(one) for name, one in scenarios.items()}
    else:
        options |= {"vus": 1, "iterations": 1, "duration": None}
    return orjson.dumps({**parsed, "options": options})


def _scenario(given: dict[str, Any]) -> dict[str, Any]:
    kept = {name: given[name] for name in KEPT if given.get(name) is not None}
    once = {"executor": "per-vu-iterations", "vus": 1, "iterations": 1}
    return {"maxDuration": LONGEST} | kept | once
