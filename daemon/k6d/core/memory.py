"""How much memory a process keeps and how much it may use.

The C library keeps freed memory. An idle daemon returns that memory to the system. A helper process
that talks to a foreign server gets a memory limit.
"""

from __future__ import annotations

import ctypes
import gc
import resource
from functools import cache
from typing import Any

# M_ARENA_MAX of malloc.h: the number of heaps for threads. A heap never shrinks by itself.
_M_ARENA_MAX = -8
# The limit of a helper process. Apprise needs about 40 MiB of data, either Gemini SDK 60 MiB.
HELPER_MIB = 384


def one_heap() -> None:
    """Let all threads share one heap; call it before any thread starts."""
    if hasattr(_c_library(), "mallopt"):
        _c_library().mallopt(_M_ARENA_MAX, 1)


def limit() -> None:
    """Limit this process to `HELPER_MIB` of data; beyond that Python raises MemoryError."""
    most = HELPER_MIB << 20
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or hard > most:
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def give_back() -> None:
    """Collect garbage and return free memory to the system; takes 10 to 100 ms."""
    gc.collect()
    trim()


def trim() -> None:
    """Return free memory of the heap to the system, where the C library can (glibc)."""
    if hasattr(_c_library(), "malloc_trim"):
        _c_library().malloc_trim(0)


@cache
def _c_library() -> Any:
    return ctypes.CDLL(None)
