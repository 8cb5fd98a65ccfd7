"""Asks k6 again when files of a script moved meanwhile: a checkout, or a folder that is moved."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from k6d.core import reading
from k6d.core.model import K6dError
from k6d.execution.mentions import are_back

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from k6d.execution.local.k6 import Ended

LOOKS = 3


async def while_files_move(archived: Callable[[], Awaitable[Ended]], path: Path) -> Ended:
    """Call `archived` again while k6 misses files that are there a moment later.

    Raises K6dError if the script is not there. k6 reports a missing script as a mistake in it.
    """
    for _ in range(LOOKS):
        ended = await archived()
        if ended.exit_code == 0:
            break
        # Ask this once after each call: the script may come back at any moment.
        if not await reading.in_thread(path.exists, about=str(path)):
            raise K6dError(f"{path} was removed while k6 looked at it")
        if not await _was_away(path, ended):
            break
    return ended


async def _was_away(path: Path, ended: Ended) -> bool:
    """Return whether k6 missed a file that is there: it was moved, or replaced, at that moment."""
    with contextlib.suppress(reading.SlowError):
        errors = "\n".join(ended.errors)
        return await reading.in_thread(are_back, path, errors, about=f"a file that {path} mentions")
    return False
