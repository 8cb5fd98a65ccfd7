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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping

logger = logging.getLogger(__name__)

STOPS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def listening(
    loop: asyncio.AbstractEventLoop,
    handlers: Mapping[signal.Signals, Callable[[signal.Signals], object]],
    *,
    limit_s: Callable[[], float],
) -> Iterator[None]:
    """Call the handlers in the loop; `limit_s` is how long stopping may take, to the context's end.

    For the main thread. Ending the process at once is safe: the guard of a run under way kills its
    k6, and every file is whole.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = {number: signal.signal(number, lambda *_: None) for number in handlers}
    fd_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    over = threading.Event()

    def hear() -> None:
        asked = 0
        while heard := reader.recv(1):
            number = signal.Signals(heard[0])
            if number in STOPS:
                asked += 1
                if asked > 1:
                    logger.warning("%s again: stopping at once", number.name)
                    os._exit(1)
                _end_after(limit_s(), over)
            if number in handlers:
                with contextlib.suppress(RuntimeError):  # the loop is closed: this is the end
                    loop.call_soon_threadsafe(handlers[number], number)
        reader.close()

    threading.Thread(target=hear, name="k6d-signals", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(fd_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()  # which ends the thread


def _end_after(limit_s: float, over: threading.Event) -> None:
    def end() -> None:
        if not over.wait(limit_s):
            logger.critical("k6d did not stop within %g s and is ended", limit_s)
            os._exit(1)

    threading.Thread(target=end, name="k6d-end", daemon=True).start()
