"""What was damaged in a data folder and set aside, and what that means to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k6d.storage.files import names
from k6d.storage.state import STATES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENDING = ".unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A damaged file, as it is kept at `path`, and what is so since then."""

    path: Path
    meaning: str


def states_gone(data: Path, newest: Mapping[str, Any] | None) -> list[str]:
    """States that each run of a script leaves, and whose files are not there after all.

    `newest` is the index document of the newest run. Runs that were imported from the original
    service leave no state, and have no snapshot.
    """
    left = ("incidents", "scripts")
    gone = [name for name in left if not (data / "state" / f"{name}.json").exists()]
    own = newest and (len(gone) < len(left) or newest["fingerprint"])
    return gone if own else []


def damages(data: Path) -> list[Damage]:
    """Damaged states, by name, until somebody removes the files that were set aside."""
    folder = data / "state"
    found = []
    for name in sorted(names(folder)) if folder.is_dir() else ():
        state = name.partition(".")[0]
        if name.endswith(ENDING) and state in STATES:
            found.append(Damage(path=folder / name, meaning=STATES[state]))
    return found
