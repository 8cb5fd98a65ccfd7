"""A busy neighbour: processes that keep this machine's CPUs full, for a while at most."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOP = """import os, time
end, parent = time.monotonic() + {seconds}, os.getppid()
while time.monotonic() < end and os.getppid() == parent: pass
"""


@contextmanager
def busy_neighbour(*, processes: int = 2, seconds: float = 60.0) -> Iterator[None]:
    """Busy loops until the block or this process ends, or until their time is over."""
    command = [sys.executable, "-S", "-c", LOOP.format(seconds=seconds)]
    loops = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
