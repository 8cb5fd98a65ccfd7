"""The C library keeps freed memory for itself; a daemon that idles gives it back."""

from __future__ import annotations

import ctypes
import gc
from functools import cache
from typing import Any

# malloc.h: how many heaps threads may have; each keeps what it once grew to.
_M_ARENA_MAX = -8


def one_heap() -> None:
    """Let all threads share one heap; for the start, before there are threads."""
    if hasattr(_c_library(), "mallopt"):
        _c_library().mallopt(_M_ARENA_MAX, 1)


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
