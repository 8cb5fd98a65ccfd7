"""Handles signals even while the event loop is blocked, and limits the time for stopping.

Python's C code writes the number of each signal into a pipe at once, in any state of the process. A
thread reads the pipe and passes the signal to the event loop. The thread ends the process if the
loop has not done so within the limit, or on a second signal to stop.
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
    """Call the handlers in the loop; `limit_s` is the time from the signal to the context's end.

    Use it in the main thread. Ending the process at once is safe: the process group of
    the current run kills k6, and every file is written atomically.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = {number: signal.signal(number, lambda *_: None) for number in handlers}
    fd_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    over = threading.Event()

    def receive() -> None:
        asked = 0
        while received := reader.recv(1):
            number = signal.Signals(received[0])
            if number in STOPS:
                asked += 1
                if asked > 1:
                    logger.warning("%s again: stopping at once", number.name)
                    os._exit(1)
                _end_after(limit_s(), over)
            if number in handlers:
                with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
                    loop.call_soon_threadsafe(handlers[number], number)
        reader.close()

    threading.Thread(target=receive, name="k6d-signals", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(fd_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()  # ends the thread


def _end_after(limit_s: float, over: threading.Event) -> None:
    def end() -> None:
        if not over.wait(limit_s):
            logger.critical("k6d did not stop within %g s and is ended", limit_s)
            os._exit(1)

    threading.Thread(target=end, name="k6d-end", daemon=True).start()
