"""Finds what runs left in the cluster when their process died, and deletes it.

The state `cluster` notes each run before its first object is made, until all of them are gone.
Labels find a TestRun whose note was lost.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from k6d.execution.kubernetes.cluster import Kind
from k6d.execution.kubernetes.lifecycle import delete
from k6d.execution.kubernetes.testrun import INSTANCE, MANAGER, RUN, name_of_run
from k6d.execution.workdir import is_alive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from k6d.execution.kubernetes.cluster import Cluster
    from k6d.execution.kubernetes.testrun import Names
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

STATE = "cluster"


@contextlib.contextmanager
def noted(
    store: Store, cluster: Cluster, names: Names, *, is_clean: Callable[[], bool]
) -> Iterator[None]:
    """Note a run while the context is open, and beyond it unless its objects are gone."""
    state = store.state(STATE)
    state.put(names.test_id, {"namespace": cluster.namespace, "server": cluster.server})
    try:
        yield
    finally:
        if is_clean():
            state.delete(names.test_id)


async def sweep(cluster: Cluster, store: Store, instance: str, *, data: Path) -> None:
    """Delete the objects of runs of this data folder whose process is gone."""
    state = store.state(STATE)
    here = {"namespace": cluster.namespace, "server": cluster.server}
    dead = {test_id for test_id, where in state.all().items() if where == here}
    labels = {MANAGER: "k6d", INSTANCE: instance}
    for document in await cluster.find(Kind.TESTRUN, labels=labels):
        dead.add(document["metadata"]["labels"].get(RUN, ""))
    for test_id in sorted(dead):
        if test_id and not is_alive(data, test_id):
            await delete(cluster, name_of_run(test_id))
            state.delete(test_id)
            logger.info("deleted what run %s left in the cluster", test_id)
