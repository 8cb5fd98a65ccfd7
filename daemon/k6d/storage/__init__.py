"""Everything that k6d stores: run files, their index, snapshots and small states.

    runs/2026-11/<test_id>.json   one file for each run; all other data about runs derives from it
    runs/2026-11/<test_id>.tar    files that the script wrote, if it wrote any
    snapshots/<id>.tar            the archives that ran, one for each id
    index/                        TinyDB documents about the runs; can be rebuilt at any time
    state/<name>.json             small TinyDB stores by key

Several processes may use one data folder at once. Writers take a lock; readers need none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from k6d.storage.query import VERDICTS, LatestState, Query, Statistics
    from k6d.storage.record import encodable, is_test_id, new_test_id
    from k6d.storage.repair import Repair
    from k6d.storage.state import State
    from k6d.storage.store import Store

__all__ = [
    "VERDICTS",
    "LatestState",
    "Query",
    "Repair",
    "State",
    "Statistics",
    "Store",
    "encodable",
    "is_test_id",
    "new_test_id",
]

# A helper process that only writes files would otherwise import all of this room, and pydantic.
_MODULES = {
    "query": ("VERDICTS", "LatestState", "Query", "Statistics"),
    "record": ("is_test_id", "new_test_id", "encodable"),
    "repair": ("Repair",),
    "state": ("State",),
    "store": ("Store",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"k6d.storage.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
