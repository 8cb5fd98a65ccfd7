"""Which files a script depends on, and which scripts a changed path concerns."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

CODE = (".js", ".ts", ".mjs", ".cjs", ".json")


def kept_paths(dependencies: Mapping[str, str], *, root: Path) -> dict[str, str]:
    """Absolute paths, with digests, as they are kept: relative to `root`, the scripts folder.

    So they stay right when the folders are moved or copied together. Only files in the scripts
    folder or beside it move with it; other paths stay absolute.
    """
    beside = f"{root.parent}/"
    return {
        os.path.relpath(path, root) if path.startswith(beside) else path: digest
        for path, digest in dependencies.items()
    }


def paths_now(kept: object, *, script: str, root: Path) -> dict[str, str]:
    """Kept dependencies of `script` by absolute paths, now that the scripts folder is `root`.

    An older k6d kept absolute paths. The script's own path among them tells where its scripts
    folder was. What is not a dependency is left out.
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
    """The absolute path of a file that moved with the scripts folder, which `was` elsewhere."""
    for old, new in ((was, root), (os.path.dirname(was), root.parent)):  # noqa: PTH120  (a text)
        if path.startswith(f"{old}/"):
            return f"{new}/{path.removeprefix(f'{old}/')}"
    return path


class Dependents:
    """The reverse of every script's dependencies.

    What k6 refused tells only the files that its code and k6's words name, and the mistake may be
    in another module; so a broken script depends on any file with code in it.
    """

    def __init__(self) -> None:
        self._by_path: dict[str, set[str]] = defaultdict(set)
        self._by_name: dict[str, frozenset[str]] = {}
        self._broken: set[str] = set()

    def put(self, name: str, dependencies: Iterable[str], *, broken: bool) -> None:
        """Replace what is known of a script."""
        self._forget(name)
        self._by_name[name] = frozenset(dependencies)
        for path in self._by_name[name]:
            self._by_path[path].add(name)
        if broken:
            self._broken.add(name)

    def of(self, path: str) -> set[str]:
        """Names of the scripts that a change of the path concerns."""
        concerned = set(self._by_path.get(path, ()))
        return concerned | self._broken if path.endswith(CODE) else concerned

    def paths(self) -> set[str]:
        """Every path that some script depends on."""
        return set(self._by_path)

    def _forget(self, name: str) -> None:
        for path in self._by_name.pop(name, ()):
            self._by_path[path].discard(name)
            if not self._by_path[path]:
                del self._by_path[path]
        self._broken.discard(name)
