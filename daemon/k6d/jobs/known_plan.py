"""Finds k6's plan for a snapshot that has run before, so that k6 need not be asked once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from k6d.core.model import K6dError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k6d.execution.archive import Script
    from k6d.storage.store import Store

OF_K6 = "K6_"  # k6 takes options from variables with this prefix, which are not in the snapshot


def planned_before(script: Script, env: Mapping[str, str], store: Store) -> float | None:
    """Return the planned seconds of the script's last run with this workload; None if not known.

    The plan depends on the options in the snapshot and on the version of k6. The snapshot's id
    stands for both.
    """
    snapshot = script.snapshot
    if snapshot is None or any(name.startswith(OF_K6) for name in env):
        return None
    try:
        rows = store.history(script.name, 1, workload=snapshot.workload)
        record = orjson.loads(store.load_raw(rows[0]["test_id"])) if rows else {}
        if record and (record["snapshot"] or {}).get("id") == snapshot.id:
            planned = record["execution"]["planned_s"]
            return float(planned) if planned else None
    except (K6dError, ValueError, KeyError, TypeError):
        pass  # the run's file is damaged, which is reported where runs are compared
    return None
