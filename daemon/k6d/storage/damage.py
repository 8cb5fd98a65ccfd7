"""Damaged files that were set aside in a data folder, and what their loss means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.storage.files import names
from k6d.storage.state import STATES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENDING = ".unreadable"


@frozen
class Damage:
    """A damaged file, now at `path`, and what its loss means to an operator."""

    path: Path
    meaning: str


def states_gone(data: Path, newest: Mapping[str, Any] | None) -> list[str]:
    """The states that are missing although there are runs, which always write them.

    `newest` is the index document of the newest run, None without runs. Imported runs write no
    state; they have no fingerprint.
    """
    left = ("incidents", "scripts")
    gone = [name for name in left if not (data / "state" / f"{name}.json").exists()]
    own = newest and (len(gone) < len(left) or newest["fingerprint"])
    return gone if own else []


def damages(data: Path) -> list[Damage]:
    """The damaged states by name; a state is listed until its `.unreadable` file is removed."""
    folder = data / "state"
    found = []
    for name in sorted(names(folder)) if folder.is_dir() else ():
        state = name.partition(".")[0]
        if name.endswith(ENDING) and state in STATES:
            found.append(Damage(path=folder / name, meaning=STATES[state]))
    return found
