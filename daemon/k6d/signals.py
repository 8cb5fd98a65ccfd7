"""Signals reach the daemon even while its event loop is held up, and stopping has a time limit.

The C part of Python writes each signal's number into a pipe, at once and in whatever state the
process is. A thread reads it, hands the signal to the event loop, and ends the process by itself
when the loop has not done so within the limit, or when a second one asks to stop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

STOPS = (signal.SIGTERM, signal.SIGINT)


def listen(
    loop: asyncio.AbstractEventLoop,
    handlers: Mapping[signal.Signals, Callable[[signal.Signals], object]],
    *,
    limit_s: Callable[[], float],
) -> None:
    """From now on call the handlers in the loop; `limit_s` is how long stopping may take then.

    For the main thread, and for the life of the process. Ending it at once is safe: the guard of a
    run under way kills its k6, and every file is whole.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    for number in handlers:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def hear() -> None:
        asked = 0
        while heard := reader.recv(1):
            try:
                number = signal.Signals(heard[0])
            except ValueError:
                continue
            if number in STOPS:
                asked += 1
                if asked > 1:
                    logger.warning("%s again: stopping at once", number.name)
                    os._exit(1)
                _end_after(limit_s())
            if number in handlers:
                with contextlib.suppress(RuntimeError):  # the loop is closed: this is the end
                    loop.call_soon_threadsafe(handlers[number], number)
        writer.close()  # never: it keeps the pipe open as long as the thread

    threading.Thread(target=hear, name="k6d-signals", daemon=True).start()


def _end_after(limit_s: float) -> None:
    def end() -> None:
        time.sleep(limit_s)
        logger.critical("k6d did not stop within %g s and is ended", limit_s)
        os._exit(1)

    threading.Thread(target=end, name="k6d-end", daemon=True).start()
