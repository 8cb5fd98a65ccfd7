"""Maps scripts to the files they depend on, and changed files to the scripts that need them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

CODE = (".js", ".ts", ".mjs", ".cjs", ".json")


def kept_paths(dependencies: Mapping[str, str], *, root: Path) -> dict[str, str]:
    """Convert absolute paths (with digests) to stored paths, relative to the scripts folder `root`.

    Relative paths stay valid when the scripts folder and its neighbours are moved or copied
    together. Paths outside the parent of the scripts folder stay absolute.
    """
    beside = f"{root.parent}/"
    return {
        os.path.relpath(path, root) if path.startswith(beside) else path: digest
        for path, digest in dependencies.items()
    }


def paths_now(kept: object, *, script: str, root: Path) -> dict[str, str]:
    """Convert the stored dependencies of `script` to absolute paths; `root` is the scripts folder.

    Older versions of k6d stored absolute paths. There, the script's own path shows where the
    scripts folder was. Entries that are not a pair of strings are left out.
    """
    texts = kept if isinstance(kept, dict) else {}
    found = {p: d for p, d in texts.items() if isinstance(p, str) and isinstance(d, str)}
    own = next((p for p in found if p.startswith("/") and p.endswith(f"/{script}")), None)
    was = own.removesuffix(f"/{script}") if own else str(root)
    return {
        os.path.normpath(root / _moved(path, was=was, root=root)): digest
        for path, digest in found.items()
    }


def _moved(path: str, *, was: str, root: Path) -> str:
    """Return the new path of a file that moved together with the scripts folder from `was`."""
    for old, new in ((was, root), (os.path.dirname(was), root.parent)):  # noqa: PTH120  (a text)
        if path.startswith(f"{old}/"):
            return f"{new}/{path.removeprefix(f'{old}/')}"
    return path


class Dependents:
    """Finds the scripts that depend on a file.

    The dependencies of a broken script are incomplete: k6d knows only the files that the script's
    code and k6's error name, and the mistake may be in another module. Therefore a broken script
    depends on every file that can hold code.

    Tuples take a quarter of the memory of sets, and most have one entry: there may be thousands of
    files.
    """

    def __init__(self) -> None:
        self._by_path: dict[str, tuple[str, ...]] = {}
        self._by_name: dict[str, tuple[str, ...]] = {}
        self._broken: set[str] = set()

    def put(self, name: str, dependencies: Iterable[str], *, broken: bool) -> None:
        """Replace the dependencies of a script."""
        self._forget(name)
        self._by_name[name] = tuple(dict.fromkeys(dependencies))
        for path in self._by_name[name]:
            self._by_path[path] = (*self._by_path.get(path, ()), name)
        if broken:
            self._broken.add(name)

    def of(self, path: str) -> set[str]:
        """Return the names of the scripts that depend on the path."""
        concerned = set(self._by_path.get(path, ()))
        return concerned | self._broken if path.endswith(CODE) else concerned

    def paths(self) -> set[str]:
        """Return every path that a script depends on."""
        return set(self._by_path)

    def _forget(self, name: str) -> None:
        for path in self._by_name.pop(name, ()):
            left = tuple(other for other in self._by_path[path] if other != name)
            if left:
                self._by_path[path] = left
            else:
                del self._by_path[path]
        self._broken.discard(name)
