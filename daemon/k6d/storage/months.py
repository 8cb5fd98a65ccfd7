"""The documents of a complete index by month, such as those in index/generation-…/2026-11/."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from k6d.storage.files import names
from k6d.storage.partitions import Partitions

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.storage.partitions import Before

# Documents in a partition. One save rewrites one partition of each kind, of 0.5 KB documents.
PARTITION_LIMIT = 250

_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")


class Months:
    """The months below one folder; if not `durable`, `sync_tree` has to follow."""

    def __init__(self, folder: Path, *, root: Path, durable: bool = True) -> None:
        self.folder, self.root, self.durable = folder, root, durable

    def names(self) -> list[str]:
        """The months that have documents, such as 2026-11, oldest first."""
        return sorted(name for name in names(self.folder) if _MONTH.fullmatch(name))

    def partitions(self, name: str, before_write: Before | None = None) -> Partitions:
        """The documents of a month; there may be none."""
        return Partitions(
            f"{self.folder}/{name}",
            root=self.root,
            limit=PARTITION_LIMIT,
            durable=self.durable,
            before_write=before_write,
        )
