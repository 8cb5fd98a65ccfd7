"""A kernel that refuses one kind of call, for good: what a broken, full or foreign disk does.

By seccomp, which needs no rights and no other disk: the process asks for a filter over its own
calls (and those of its children), and gets the error number from the kernel itself.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Number of the call, which argument is looked at, and how: (condition, value).
_JGE, _JGT, _JSET = 0x35, 0x25, 0x45
_ALWAYS = (0, _JGE, 0)
_CREATES = (2, _JSET, os.O_CREAT)
_BEYOND_STDERR = (0, _JGT, 2)
CALLS = {
    "x86_64": {
        "open": (257, *_CREATES),
        "write": (1, *_BEYOND_STDERR),
        "fsync": (74, *_ALWAYS),
        "rename": (82, *_ALWAYS),
    },
    "aarch64": {
        "open": (56, *_CREATES),
        "write": (64, *_BEYOND_STDERR),
        "fsync": (82, *_ALWAYS),
        "rename": (38, *_ALWAYS),
    },
}
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVILEGES = 38
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_FILTER, _ALL_THREADS = 1, 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse(call: str, error: int) -> None:
    """From now on `call` fails with the error number `error` in this process and its children."""
    number, argument, condition, value = CALLS[platform.machine()][call]
    steps = [
        (_LOAD, 0, 0, 0),
        (_EQUAL, 0, 3, number),
        (_LOAD, 0, 0, 16 + 8 * argument),
        (condition, 0, 1, value),
        (_RETURN, 0, 0, _ERRNO | error),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    program = _Program(len(steps), code)
    library = ctypes.CDLL(None, use_errno=True)
    failed = library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or library.syscall(
        _SECCOMP[platform.machine()], _FILTER, _ALL_THREADS, ctypes.byref(program)
    )
    if failed:
        raise OSError(ctypes.get_errno(), "no seccomp filter")


def refuse_at(part: str, call: str, error: int, *, when: Callable[[], bool] = lambda: True) -> None:
    """The same as soon as a file is opened that has `part` in its path, and `when` says so."""
    done = False

    def hook(event: str, given: tuple[object, ...]) -> None:
        nonlocal done
        if event == "open" and not done and part in str(given[0]) and when():
            done = True
            refuse(call, error)

    sys.addaudithook(hook)
