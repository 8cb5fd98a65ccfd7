"""Which scripts a changed path concerns."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CODE = (".js", ".ts", ".mjs", ".cjs", ".json")


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
