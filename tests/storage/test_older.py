"""A data folder of k6d's first days (commit 638f654, real runs of k6 1.1.0) under this one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import orjson

from k6d.core.model import SCHEMA_VERSION, Severity
from k6d.storage.repair import Repair
from k6d.storage.store import Store
from support.daemon import hitting
from support.paths import DATA

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import Daemon
    from support.target import Target

FIRST = DATA / "first"
HEALTHY, BROKEN = "20261124-123709-6e0da0", "20261124-123709-b2473e"


def test_runs_of_the_first_days_are_read(tmp_path: Path) -> None:
    """What they lack has its default; the old index is built anew, the files stay as they were."""
    data = tmp_path / "data"
    shutil.copytree(FIRST, data)
    before = {path: path.read_bytes() for path in data.glob("runs/*/*.json")}
    store = Store(data)
    assert [row["test_id"] for row in store.history()] == [HEALTHY, BROKEN]
    healthy, broken = store.load(HEALTHY), store.load(BROKEN)
    assert (healthy.metrics.total_requests, healthy.metrics.error_rate) == (40, 0.0)
    assert broken.anomaly_analysis.severity is Severity.CRITICAL
    assert not healthy.comparable
    assert {path: path.read_bytes() for path in before} == before
    assert store.repair() == Repair()
    assert len(list(data.glob("index/generation-*"))) == 1


def test_the_daemon_goes_on_with_them(daemon: Daemon, target: Target) -> None:
    """Its scripts are known, a run joins the old ones, and newer runs are refused, untouched."""
    shutil.copytree(FIRST, daemon.data)
    newer = daemon.data / "runs" / "2026-11" / "20261124-130000-000001.json"
    record = orjson.loads(daemon.store.load_raw(HEALTHY)) | {"schema_version": SCHEMA_VERSION + 1}
    contents = orjson.dumps(record | {"test_id": newer.stem, "metrics": ["in", "another", "form"]})
    newer.write_bytes(contents)
    daemon.write("shop.js", hitting(f"{target.url}/shop"))
    daemon.start()
    daemon.until(lambda: daemon.counts().get("shop.js") == 2, "a second run of shop.js")
    daemon.barrier()
    assert daemon.counts() == {"shop.js": 2, "broken.js": 1}
    assert f"{newer}: written by a newer k6d; upgrade k6d to list it" in daemon.log
    shown = daemon.call("show", newer.stem)
    assert shown.returncode == 2
    assert "upgrade k6d to read it" in shown.stderr
    assert daemon.call("prune").returncode == 0
    assert newer.read_bytes() == contents
    assert "it shares no series" in daemon.call("compare", HEALTHY, "latest").stderr
