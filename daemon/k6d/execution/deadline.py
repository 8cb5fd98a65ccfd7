"""Computes how long a script may take outside its scenarios, for the deadline of a run."""

from __future__ import annotations

import logging
import re
import tarfile
from typing import TYPE_CHECKING, Any

from k6d.core.parse import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

# k6's plan leaves out these phases. For each exported function: the option for its time limit, and
# k6's default: https://grafana.com/docs/k6/latest/using-k6/k6-options/reference/
PHASES_S = {
    "setup": ("setupTimeout", 60.0),
    "teardown": ("teardownTimeout", 60.0),
    "handleSummary": ("handleSummaryTimeout", 120.0),
}
MAX_SOURCE_BYTES = 8 << 20  # enough for a bundle; larger files are data
SOURCES = (".js", ".ts", ".mjs", ".cjs", "data")


def phases_s(archive: Path, options: Mapping[str, Any]) -> float:
    """Return the seconds that the script may take outside its scenarios.

    A phase counts if any source contains the name of its function. That may allow too much time,
    which only makes the deadline later.
    """
    named = _words(archive)
    return sum(
        _seconds(options.get(option), default)
        for function, (option, default) in PHASES_S.items()
        if function in named
    )


def _seconds(value: object, default: float) -> float:
    """Return a k6 option in seconds; its value is a duration or a number of milliseconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / 1000
    try:
        return parse_duration(value) if isinstance(value, str) else default
    except ValueError:
        return default


def _words(archive: Path) -> set[str]:
    """Return which function names the sources contain; all names if the archive is unreadable."""
    pattern = re.compile(rf"\b({'|'.join(PHASES_S)})\b".encode())
    found: set[str] = set()
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if not member.isfile() or not member.name.endswith(SOURCES):
                    continue
                source = tar.extractfile(member)
                if source and member.size <= MAX_SOURCE_BYTES:
                    found |= {word.decode() for word in pattern.findall(source.read())}
    except (OSError, tarfile.TarError) as error:
        logger.warning("%s cannot be read for its phases: %s", archive, error)
        return set(PHASES_S)
    return found
