"""The scripts there are, with what they are and their last results: for terminal, API and page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from k6d.core import reading
from k6d.core.model import K6dError
from k6d.scripts.candidates import candidates_in, is_candidate
from k6d.scripts.dependencies import paths_now

if TYPE_CHECKING:
    from k6d.settings import Settings
    from k6d.storage import Standing, Store

FOLDER = "folder"
LIBRARY = "library"
ANSWER_S = 2.0  # what is on a mount that is gone counts as missing after it


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A script in the folder or with runs; `kind` is None until k6d has looked at it.

    `place` is "folder", "elsewhere", "one-off" (its text came by the API) or "gone"; `missing` a
    file that it needs and that is away: it runs again when that is back; `left_alone` why a file is
    no test, which never runs by itself.
    """

    script: str
    kind: str | None
    place: str
    missing: str | None
    left_alone: str | None
    standing: Standing | None

    def row(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "script": self.script,
            "kind": self.kind,
            "place": self.place,
            "in_folder": self.place == FOLDER,
            "missing": self.missing,
            "left_alone": self.left_alone,
            "last_run": self.standing.last if self.standing else None,
        }


def entries(settings: Settings, store: Store) -> list[Entry]:
    """All scripts by name; helper modules too, which never run."""
    known = store.state("scripts").all()
    present = candidates_in(settings.scripts, settings.watch.ignore)
    standings = store.standings()
    return [
        Entry(
            script=name,
            kind=known.get(name, {}).get("kind"),
            place=FOLDER if name in present else _place(name),
            missing=_missing(known[name], name, settings) if name in present & set(known) else None,
            left_alone=_left_alone(known.get(name, {})),
            standing=standings.get(name),
        )
        for name in sorted(present | set(standings))
    ]


def _left_alone(known: dict[str, Any]) -> str | None:
    return (known.get("left_alone") or "a helper module") if known.get("kind") == LIBRARY else None


def _missing(known: dict[str, Any], name: str, settings: Settings) -> str | None:
    """The name of a file that the script had and needs; of a broken one k6 says it."""
    if known.get("kind") != "test":
        return None
    paths = paths_now(known.get("dependencies"), script=name, root=settings.scripts)
    try:
        return reading.within(ANSWER_S, _first_missing, tuple(paths))
    except (OSError, K6dError):
        return "a file on a disk that does not answer"


def _first_missing(paths: tuple[str, ...]) -> str | None:
    gone = (path for path in paths if not os.path.exists(path))  # noqa: PTH110
    return next((os.path.basename(path) for path in gone), None)  # noqa: PTH119


def _place(name: str) -> str:
    """Where a script is that is not in the folder: one from elsewhere is named by its path."""
    if name.startswith("one-off/"):
        return "one-off"
    try:
        there = Path(name).is_absolute() and Path(name).is_file()
    except OSError:  # it is not for us to see, such as one below a protected /home
        there = True
    return "elsewhere" if there else "gone"


def names(settings: Settings, store: Store) -> list[str]:
    """Those in the folder, helper modules too, and those with runs."""
    present = candidates_in(settings.scripts, settings.watch.ignore)
    return sorted(present | set(store.standings(recent=1)))


def path_of(name: str, settings: Settings) -> Path:
    """The file of the script `name` in the folder; K6dError for anything that is not one there."""
    relative = PurePath(name)
    inside = not relative.is_absolute() and ".." not in relative.parts and "\0" not in name
    path = settings.scripts / relative
    if not inside or not is_candidate(relative, settings.watch.ignore) or not path.is_file():
        raise K6dError(f"no script {name!r} in the scripts folder; see 'k6d scripts'")
    return path
