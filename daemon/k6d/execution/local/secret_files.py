"""Checks the files of k6's secret sources before k6 runs, because their paths are no secrets.

k6's own error names the source, which is hidden like a secret: a source may hold the secrets.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from k6d.core import reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TYPE = "file="


def problem(sources: Iterable[str]) -> str | None:
    """Return in one line which file of the sources k6 could not read, and what to do; else None."""
    for source in sources:
        for path in _paths(source):
            if why := _why_unreadable(Path(path)):
                return f"k6.secret_sources: {path} {why}"
    return None


def _paths(source: str) -> Iterator[str]:
    """Yield the paths in `file=PATH` and `file=name=…,filename=PATH`."""
    if not source.startswith(TYPE):
        return
    for part in source.removeprefix(TYPE).split(","):
        name, given, value = part.partition("=")
        if name == "filename":
            yield value
        elif not given and part != "default":
            yield part


def _why_unreadable(path: Path) -> str | None:
    if not path.is_absolute():
        return "is no absolute path; k6 runs in another folder, so begin it with /"
    if kind := reading.irregular(str(path)):
        return f"is {kind}; name a regular file"
    try:
        with reading.open_regular(path):
            return None
    except FileNotFoundError:
        return "does not exist; create it (lines of name=value), or correct the setting"
    except (OSError, ValueError):
        return "cannot be read by the user that runs k6d; change its owner or its rights"
