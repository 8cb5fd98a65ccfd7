"""Everything that k6d stores: run files, their index, snapshots and small states.

    runs/2026-11/<test_id>.json   one file for each run; all other data about runs derives from it
    runs/2026-11/<test_id>.tar    files that the script wrote, if it wrote any
    snapshots/<id>.tar            the archives that ran, one for each id
    index/                        TinyDB documents about the runs; can be rebuilt at any time
    state/<name>.json             small TinyDB stores by key

Several processes may use one data folder at once. Writers take a lock; readers need none.
"""

from k6d.storage.query import VERDICTS, Query, Standing, Statistics
from k6d.storage.record import is_test_id, new_test_id, printable
from k6d.storage.repair import Repair
from k6d.storage.state import State
from k6d.storage.store import Store

__all__ = [
    "VERDICTS",
    "Query",
    "Repair",
    "Standing",
    "State",
    "Statistics",
    "Store",
    "is_test_id",
    "new_test_id",
    "printable",
]
