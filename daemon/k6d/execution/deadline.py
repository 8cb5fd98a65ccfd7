"""Computes the deadline of a run from k6's plan, and from what k6's plan leaves out."""

from __future__ import annotations

import asyncio
import logging
import re
import tarfile
from typing import TYPE_CHECKING, Any

from k6d.core.k6_archive import members
from k6d.core.parse import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from k6d.execution.executor import Order
    from k6d.execution.local.k6 import Plan

logger = logging.getLogger(__name__)

# k6's plan leaves out these phases. For each exported function: the option for its time limit, and
# k6's default: https://grafana.com/docs/k6/latest/using-k6/k6-options/reference/
PHASES_S = {
    "setup": ("setupTimeout", 60.0),
    "teardown": ("teardownTimeout", 60.0),
    "handleSummary": ("handleSummaryTimeout", 120.0),
}
MAX_SOURCE_BYTES = 8 << 20  # enough for a bundle; larger files are data
SOURCES = (".js", ".ts", ".mjs", ".cjs", "data")
PLANLESS_S = 3600.0  # if k6 gives no plan; without a limit the run could last for ever


async def deadline_s(order: Order, plan: asyncio.Task[Plan | None], *, grace_s: float) -> float:
    """Return the seconds that the run may take: its timeout at once, else when k6's plan is known.

    A plan takes k6 seconds on a busy machine.
    """
    if order.timeout_s and not order.timeout_is_least:
        return order.timeout_s
    planned = await asyncio.shield(plan)
    needed_s = PLANLESS_S
    if planned:
        rest_s = await asyncio.to_thread(phases_s, order.archive, order.options)
        needed_s = planned.total_s + rest_s + grace_s
    return max(needed_s, order.timeout_s or 0.0)


def timeout_note(order: Order, deadline_s: float | None) -> list[str]:
    """Return a note if the original service, with its K6_TIMEOUT, would have cut the run short."""
    if not order.timeout_is_least or not order.timeout_s or (deadline_s or 0) <= order.timeout_s:
        return []
    note = (
        f"K6_TIMEOUT ({order.timeout_s:g} s) is shorter than the {deadline_s:g} s that this script "
        "may take by its plan: the run had that time; k6.timeout (K6D_K6__TIMEOUT) cuts runs"
    )
    logger.warning("%s: %s", order.tags.get("script", order.archive), note)
    return [note]


def phases_s(archive: Path, options: Mapping[str, Any]) -> float:
    """Return the seconds that the script may take outside its scenarios.

    A phase counts if any source contains the name of its function. That may allow too much time,
    which only makes the deadline later.
    """
    named = _words(archive)
    return sum(
        _seconds(options.get(option), default)
        for function, (option, default) in PHASES_S.items()
        if function in named
    )


def _seconds(value: object, default: float) -> float:
    """Return a k6 option in seconds; its value is a duration or a number of milliseconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / 1000
    try:
        return parse_duration(value) if isinstance(value, str) else default
    except ValueError:
        return default


def _words(archive: Path) -> set[str]:
    """Return which function names the sources contain; all names if the archive is unreadable."""
    pattern = re.compile(rf"\b({'|'.join(PHASES_S)})\b".encode())
    found: set[str] = set()
    try:
        for member, source in members(archive):
            if member.name.endswith(SOURCES) and member.size <= MAX_SOURCE_BYTES:
                found |= {word.decode() for word in pattern.findall(source.read())}
    except (OSError, tarfile.TarError) as error:
        logger.warning("%s cannot be read for its phases: %s", archive, error)
        return set(PHASES_S)
    return found
