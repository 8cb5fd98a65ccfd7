"""Each run has the snapshot that ran: also of modules that come from a server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from k6d.alerts.message import _changes
from k6d.core.job import Job
from k6d.core.model import Trigger
from k6d.jobs.pipeline import Pipeline
from k6d.storage.store import Store
from support.binaries import BINARIES
from support.module_server import ModuleServer
from support.shop import settings_for

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.core.model import Run
    from k6d.settings import Settings


@pytest.mark.parametrize("binary", BINARIES.values(), ids=BINARIES)
def test_each_run_has_the_module_that_its_server_gave_it(tmp_path: Path, binary: Path) -> None:
    """1. x is 1, 2. x is 2, 3. replay the second, 4. replay the first.

    Result: two snapshots; each replay checks its own x; what changed is the module, whose address
    is kept without its login and query.
    """
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    with ModuleServer(tmp_path) as server:
        address = server.url.replace("//", "//bob:hunter2hunter2@")
        (scripts / "s.js").write_text(
            "import { check } from 'k6';\n"
            f"import {{ x }} from '{address}/lib.js?token=hunter2';\n"
            "export default () => { check(x, { [`x is ${x}`]: () => true }); };\n"
        )
        given = settings_for(tmp_path, k6__path=binary, k6__env=server.trust)
        runs = []
        for x in (1, 2):
            server.modules["/lib.js"] = f"export const x = {x};"
            job = Job(name="s.js", path=scripts / "s.js", trigger=Trigger.MANUAL)
            runs.append(asyncio.run(_pipeline(given).run(job)))
        first, second = (run for run in runs if run)
    replays = [asyncio.run(_pipeline(given).replay(run, env={})) for run in (second, first)]
    assert [_checked(run) for run in (first, second, *replays)] == [
        ("x is 1", first.snapshot), ("x is 2", second.snapshot),
        ("x is 2", second.snapshot), ("x is 1", first.snapshot),
    ]  # fmt: skip
    assert first.snapshot
    assert second.snapshot
    assert first.snapshot.id != second.snapshot.id
    assert first.snapshot.remote.keys() == second.snapshot.remote.keys() == {f"{server.url}/lib.js"}
    assert _changes(second, first, script=True) == ["the script (lib.js)"]
    assert not any(b"hunter2" in p.read_bytes() for p in given.data.rglob("*.json"))


def _pipeline(given: Settings) -> Pipeline:
    return Pipeline(given, Store(given.data), stop=asyncio.Event())


def _checked(run: Run) -> tuple[str, object]:
    (check,) = run.checks
    return check.name, run.snapshot
