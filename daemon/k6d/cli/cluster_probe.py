"""`k6d doctor --probe`: runs a test of one iteration on the cluster, with one pod."""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from k6d.cli.check import Check, fine, problem
from k6d.core.errors import K6dError
from k6d.core.terms import Outcome
from k6d.execution import archive
from k6d.execution.executor import Order
from k6d.execution.kubernetes.executor import KubernetesExecutor
from k6d.execution.kubernetes.testrun import Placement
from k6d.execution.local import discovery, variables
from k6d.storage.record import new_test_id
from k6d.storage.store import Store

if TYPE_CHECKING:
    from k6d.core.model import Execution
    from k6d.settings import Settings

NAME = "probe.js"
SCRIPT = """import { check } from 'k6';
export const options = { vus: 1, iterations: 1 };
export default function () { check(1, { 'k6 runs': (one) => one === 1 }); }
"""


async def probe(settings: Settings) -> Check:
    """Run the test; it uses nothing of the data folder, and deletes what it makes.

    Killed with SIGKILL it cannot, and nothing sweeps it: a TestRun of one iteration is left.
    """
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="k6d-probe-") as name:
            execution, node = await _run(settings, Path(name))
    except K6dError as error:
        return problem("probe", str(error), "mend this first")
    took_s = time.monotonic() - started
    if execution.outcome is not Outcome.COMPLETED:
        seen = f"{execution.outcome}: {execution.error or 'no reason given'}"
        return problem("probe", seen, "k6d help kubernetes says what each outcome means")
    where = f" on {node}" if node else ""
    return fine("probe", f"a pod ran{where} and its numbers arrived, in {took_s:.0f} s")


async def _run(settings: Settings, folder: Path) -> tuple[Execution, str | None]:
    """Return what happened, and the node of the pod."""
    script, work = folder / NAME, folder / "work"
    work.mkdir()
    script.write_text(SCRIPT, encoding="utf-8")
    binary = await discovery.find(settings.k6.path)
    env = variables.environment({})
    looked = await archive.look(script, name=NAME, k6=binary, workdir=work, env=env)
    if looked.archive is None:
        raise K6dError(f"k6 refuses the test: {looked.error}")
    # With a folder of its own, its run is none that a daemon finds as left behind.
    own = settings.model_copy(update={"data": folder / "data"})
    placement = Placement.of(settings.kubernetes, parallelism=1, k6_version=binary.version)
    order = Order(
        archive=looked.archive,
        folder=work,
        env=env,
        options=looked.options,
        tags={"testid": new_test_id(datetime.now(UTC)), "script": NAME},
        timeout_s=None,
    )
    executor = KubernetesExecutor(binary, own, Store(own.data), placement)
    measured = await executor.run(order, stop=asyncio.Event(), on_start=lambda _progress: None)
    nodes = [one.node for one in measured.result.runners if one.node]
    return measured.result.execution, nodes[0] if nodes else None
