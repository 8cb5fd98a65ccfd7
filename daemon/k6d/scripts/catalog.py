"""Lists all scripts with their kind and last results, for the terminal, the API and the pages."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from k6d.core import reading
from k6d.core.frozen import frozen
from k6d.core.model import K6dError
from k6d.core.script import Kind
from k6d.scripts.candidates import candidates_in, is_candidate
from k6d.scripts.disabled import Disabled
from k6d.scripts.registry import Registry, ScriptState

if TYPE_CHECKING:
    from k6d.settings import Settings
    from k6d.storage.query import LatestState
    from k6d.storage.store import Store

FOLDER = "folder"
ANSWER_S = 2.0  # time limit for a mount that does not answer: a listing must not hang


@frozen
class Entry:
    """A script that is in the scripts folder or has runs.

    `kind` is None until k6d has inspected the script. `place` is "folder", "elsewhere", "one-off"
    (the API received its text) or "gone". `missing` names a file that the script needs and that
    does not exist; the script runs again once the file is back. `left_alone` says why k6d does not
    run the file as a test. `settings` are its own, as the script wrote them. `disabled` is the
    pattern by which a person disabled it.
    """

    script: str
    kind: str | None
    place: str
    missing: str | None
    left_alone: str | None
    settings: object
    latest: LatestState | None
    disabled: str | None = None

    def row(self) -> dict[str, Any]:
        """Return the entry as a JSON object."""
        return {
            "script": self.script,
            "kind": self.kind,
            "place": self.place,
            "in_folder": self.place == FOLDER,
            "missing": self.missing,
            "left_alone": self.left_alone,
            "disabled": self.disabled,
            "last_run": self.latest.last if self.latest else None,
        }


def entries(settings: Settings, store: Store, *, metric: str = "response_time_p95") -> list[Entry]:
    """Return all scripts, sorted by name, including helper modules, which never run.

    `metric` is the metric of `latest.values`.
    """
    known = Registry(store, settings.scripts).all()
    present = candidates_in(settings.scripts, settings.watch.ignore)
    latest_states, disabled = store.latest_states(metric=metric), Disabled(store)
    return [
        Entry(
            script=name,
            kind=known[name].kind if name in known else None,
            place=FOLDER if name in present else _place(name),
            missing=_missing(known[name]) if name in present & set(known) else None,
            left_alone=_left_alone(known.get(name)),
            settings=known[name].settings if name in known else None,
            latest=latest_states.get(name),
            disabled=found.pattern if (found := disabled.of(name)) else None,
        )
        for name in sorted(present | set(latest_states))
    ]


def _left_alone(state: ScriptState | None) -> str | None:
    if state is None or state.kind is not Kind.LIBRARY:
        return None
    return state.left_alone or "a helper module"


def _missing(state: ScriptState) -> str | None:
    """Return the name of a missing dependency of a test.

    For a broken script the result is None, because k6's error already names the file.
    """
    if state.kind is not Kind.TEST:
        return None
    try:
        return reading.with_time_limit(ANSWER_S, _first_missing, tuple(state.dependencies))
    except (OSError, K6dError):
        return "a file on a disk that does not answer"


def _first_missing(paths: tuple[str, ...]) -> str | None:
    gone = (path for path in paths if not os.path.exists(path))  # noqa: PTH110
    return next((os.path.basename(path) for path in gone), None)  # noqa: PTH119


def _place(name: str) -> str:
    """Return the place of a script that is not in the scripts folder.

    The name of a script from elsewhere is its absolute path.
    """
    if name.startswith("one-off/"):
        return "one-off"
    try:
        there = Path(name).is_absolute() and Path(name).is_file()
    except OSError:  # k6d may not look there, for example below a protected /home
        there = True
    return "elsewhere" if there else "gone"


def names(settings: Settings, store: Store) -> list[str]:
    """Return the names of all scripts that are in the folder (helper modules too) or have runs."""
    present = candidates_in(settings.scripts, settings.watch.ignore)
    return sorted(present | set(store.latest_states(recent=1)))


def path_of(name: str, settings: Settings) -> Path:
    """Return the path of the script `name`; K6dError if the scripts folder has no such script."""
    relative = PurePath(name)
    inside = not relative.is_absolute() and ".." not in relative.parts and "\0" not in name
    path = settings.scripts / relative
    if not inside or not is_candidate(relative, settings.watch.ignore) or not reading.is_file(path):
        raise K6dError(f"no script {name!r} in the scripts folder; see 'k6d scripts'")
    return path
