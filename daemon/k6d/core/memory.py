"""How much memory a process keeps, and may have.

The C library keeps freed memory for itself; a daemon that idles gives it back. A helper process
that speaks to somebody else's server has a limit.
"""

from __future__ import annotations

import ctypes
import gc
import resource
from functools import cache
from typing import Any

# malloc.h: how many heaps threads may have; each keeps what it once grew to.
_M_ARENA_MAX = -8
# What a helper may have. With its libraries Apprise takes 40 MiB of data, either Gemini SDK 60 MiB.
HELPER_MIB = 384


def one_heap() -> None:
    """Let all threads share one heap; for the start, before there are threads."""
    if hasattr(_c_library(), "mallopt"):
        _c_library().mallopt(_M_ARENA_MAX, 1)


def limit() -> None:
    """From now on this process, a helper, gets MemoryError beyond `HELPER_MIB` of data."""
    most = HELPER_MIB << 20
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or hard > most:
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def give_back() -> None:
    """Collect garbage and return free memory to the system; takes some hundredths of a second."""
    gc.collect()
    trim()


def trim() -> None:
    """Return what is free in the heap, which grows by crumbs, where the C library can (glibc)."""
    if hasattr(_c_library(), "malloc_trim"):
        _c_library().malloc_trim(0)


@cache
def _c_library() -> Any:
    return ctypes.CDLL(None)
