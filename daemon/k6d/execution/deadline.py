"""How long a run may take: what k6 plans, and what the script grants its other phases."""

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

# What k6 allows each phase that its plan leaves out, by the function that the script exports and
# the option that changes it: https://grafana.com/docs/k6/latest/using-k6/k6-options/reference/
PHASES_S = {
    "setup": ("setupTimeout", 60.0),
    "teardown": ("teardownTimeout", 60.0),
    "handleSummary": ("handleSummaryTimeout", 120.0),
}
MAX_SOURCE_BYTES = 8 << 20  # a bundle; larger ones are data
SOURCES = (".js", ".ts", ".mjs", ".cjs", "data")


def phases_s(archive: Path, options: Mapping[str, Any]) -> float:
    """Seconds that the script may take outside of its scenarios.

    A phase counts where any of the sources has the name of its function: more time than needed
    harms nobody.
    """
    named = _words(archive)
    return sum(
        _seconds(options.get(option), default)
        for function, (option, default) in PHASES_S.items()
        if function in named
    )


def _seconds(value: object, default: float) -> float:
    """k6's option as seconds: a duration, or a number of milliseconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / 1000
    try:
        return parse_duration(value) if isinstance(value, str) else default
    except ValueError:
        return default


def _words(archive: Path) -> set[str]:
    """Which of the functions' names the sources hold; all of them if the archive is unreadable."""
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
