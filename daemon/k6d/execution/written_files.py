"""Collects the files that a script wrote into its working folder, as `handleSummary` does.

They are read when k6 has ended, within bounds, and without secrets.
"""

from __future__ import annotations

import os
import re
import stat
from itertools import islice
from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from k6d.core.redact import Redactor

MOST_FILES = 20
MOST_BYTES = 5 << 20  # of all files of a run
MOST_LOOKED_AT = 1000  # entries of the folder: a script may write any number
LONGEST_NAME = 200
DEEPEST = 4
# Patterns that look for secrets take long on long lines: those are cut, after a comma if there is.
_LONG = re.compile(r"[^\n]{4096}(?:[^\n,>]{0,4096}[,>]|[^\n]{4096})")
_CUT = "\n\0"


@frozen
class Written:
    """A file by its path from the working folder, with "/" between its parts."""

    name: str
    contents: bytes


def written_files(folder: Path, redactor: Redactor) -> tuple[list[Written], list[str]]:
    """Return the files below `folder`, by name, and notes about those that are not kept.

    Only regular files are read; no link is followed. Text has no secrets afterwards.
    """
    kept: list[Written] = []
    left: dict[str, list[str]] = {}
    room = MOST_BYTES
    found = list(islice(_walk(str(folder), ""), MOST_LOOKED_AT))
    for name in sorted(found):
        why = _refused(name)
        contents = None if why else _read(f"{folder}/{name}", room)
        if not why and contents is None:
            why = "it is no regular file, or cannot be read"
        elif contents is not None and len(kept) >= MOST_FILES:
            why = f"a run keeps {MOST_FILES} files"
        elif contents is not None and len(contents) > room:
            why = f"a run keeps {MOST_BYTES >> 20} MiB of files"
        if why or contents is None:
            left.setdefault(str(why), []).append(redactor.name(name))
            continue
        safe = _without_secrets(contents, redactor)
        room -= max(len(contents), len(safe))
        kept.append(Written(name=redactor.name(name), contents=safe))
    return kept, [_note(why, names) for why, names in left.items()]


def _walk(folder: str, prefix: str) -> Iterator[str]:
    """Yield the names of everything below `folder` that is no folder."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = prefix + entry.name
                if not entry.is_dir(follow_symlinks=False):
                    yield name
                elif name.count("/") < DEEPEST:
                    yield from _walk(entry.path, f"{name}/")
    except OSError:
        return


def _refused(name: str) -> str | None:
    """Return why a file of that name is not kept."""
    if len(name) > LONGEST_NAME:
        return f"its name has more than {LONGEST_NAME} characters"
    return None if is_safe_name(name) else "its name has characters that are not shown"


def is_safe_name(name: str) -> bool:
    """Return whether a name can be shown, and is below the folder that it is relative to."""
    return name.isprintable() and "\\" not in name and not {"", ".", ".."} & {*name.split("/")}


def _read(path: str, room: int) -> bytes | None:
    """Return at most `room` + 1 bytes of the file; None if it is no regular file."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            return file.read(room + 1)
    except OSError:
        return None


def _without_secrets(contents: bytes, redactor: Redactor) -> bytes:
    """Return text without secrets; contents that are no UTF-8 text (a picture) stay unchanged."""
    if b"\0" in contents:
        return contents
    try:
        text = redactor.known(contents.decode())
    except UnicodeDecodeError:
        return contents
    cut = _LONG.sub(lambda part: part[0] + _CUT, text)
    return redactor.text(cut).replace(_CUT, "").encode()


def _note(why: str, names: list[str]) -> str:
    shown = ascii(names[0][:LONGEST_NAME])
    more = f" and {plural(len(names) - 1, 'more file')}" if len(names) > 1 else ""
    return f"{shown}{more}, written by the script, is not kept: {why}"
