"""Links: which paths are reported for a real path, and which real folders have to be watched.

The kernel reports real paths. Paths are strings, as in `watcher`.
"""

# ruff: noqa: PTH118, PTH120

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from k6d.scripts.candidates import lies_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from k6d.scripts.candidates import Tree

MAX_FOLDERS = 64  # watchdog starts a thread for each; walks find the changes in further folders


class RealPaths:
    """The reported paths by their real paths. `folders` are to be watched; True: recursively."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._reported: dict[str, set[str]] = {}
        self.folders: dict[str, bool] = {}

    def update(
        self,
        tree: Tree | None,
        followed: Collection[str],
        real: Callable[[str], str],
    ) -> None:
        """Resolve the links of the tree, and the followed files outside of it.

        `real` returns the real path, or raises OSError; then the path is left out.
        """
        links, known = (tree.links, tree.files) if tree else (set(), {})
        self._reported = {}
        for path in [self._root, *links, *(path for path in followed if path not in known)]:
            folder, name = os.path.split(path)
            try:
                reals = {real(path), os.path.join(real(folder), name)}
            except OSError:
                continue
            for one in reals:
                self._reported.setdefault(one, set()).add(path)
        trees = {os.path.realpath(self._root)} | (tree.linked_folders if tree else set())
        self.folders = dict.fromkeys(trees, True)
        for folder in sorted({os.path.dirname(one) for one in self._reported.keys() - trees}):
            outside = not any(lies_in(folder, one) for one in trees)
            if outside and len(self.folders) < MAX_FOLDERS:
                self.folders[folder] = False

    def reported(self, real: str) -> set[str]:
        """Return the paths that are reported for a real path, which may be in a linked folder."""
        paths: set[str] = set()
        head, tail = real, ""
        while head:
            paths.update(path + tail for path in self._reported.get(head, ()))
            head, _, name = head.rpartition("/")
            tail = f"/{name}{tail}"
        return paths
