"""Deletes, after a start, what runs of a dead process left in the cluster."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from k6d.core.model import K6dError

if TYPE_CHECKING:
    from k6d.settings import Settings
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

AGAIN_S = 60.0
NOTES = "cluster"  # the state of `execution.kubernetes.leftovers`


async def clean_up_cluster(settings: Settings, store: Store) -> None:
    """Delete the leftovers; while the cluster is away, try again every minute."""
    if not store.state(NOTES).all():
        return
    # Only a daemon that used a cluster needs this.
    from k6d.execution.kubernetes.executor import clean_up

    while True:
        try:
            await clean_up(settings, store)
        except (K6dError, OSError) as error:
            logger.warning("what runs left in the cluster is not deleted yet: %s", error)
            await asyncio.sleep(AGAIN_S)
        else:
            return
