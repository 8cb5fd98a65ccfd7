"""Forwards k6's pushes, unchanged, to the user's Prometheus.

A separate thread sends them from a bounded queue. If the receiver is slow or down, pushes are lost
and the run is not disturbed. Values are cumulative, so the next push that arrives replaces them.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from k6d.settings import Forward

logger = logging.getLogger(__name__)

MOST_WAITING = 30  # pushes in the queue; one has a few KB, with thousands of URLs 1 MB
TIMEOUT_S = 5.0
FLUSH_S = 10.0  # time for the queue after a run, because the last push has the final totals


class Forwarder:
    """Forwards pushes while the context is open; does nothing without a URL."""

    def __init__(self, settings: Forward) -> None:
        self._settings = settings
        self._pushes: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._lost = 0
        self._gives_up_at = float("inf")

    def __enter__(self) -> Self:
        if self._settings.url:
            self._thread = threading.Thread(target=self._work, name="forward", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Accept no more pushes. The thread sends the queue; nobody waits for it."""
        if self._thread is None:
            return
        self._gives_up_at = time.monotonic() + FLUSH_S
        try:
            self._pushes.put_nowait(None)
        except queue.Full:
            self._drop_oldest()
            self._pushes.put_nowait(None)

    def push(self, body: bytes) -> None:
        """Queue a push without blocking; a full queue drops its oldest push."""
        if self._thread is None:
            return
        try:
            self._pushes.put_nowait(body)
        except queue.Full:
            self._drop_oldest()
            self._pushes.put_nowait(body)

    def _drop_oldest(self) -> None:
        self._lost += 1
        try:
            self._pushes.get_nowait()
        except queue.Empty:
            return

    def _work(self) -> None:
        error = ""
        while (body := self._pushes.get()) is not None:
            if time.monotonic() > self._gives_up_at:
                self._lost += 1
                continue
            error = self._send(body) or error
        if self._lost:
            why = f": {error}" if error else ""
            logger.warning("%d pushes of k6's metrics were not forwarded%s", self._lost, why)

    def _send(self, body: bytes) -> str | None:
        """Send a push; return the error or None. The URL may hold a secret: no error names it."""
        import urllib.error
        import urllib.request

        headers = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
            "User-Agent": "k6d",
        }
        if self._settings.token:
            headers["Authorization"] = f"Bearer {self._settings.token.get_secret_value()}"
        assert self._settings.url is not None  # noqa: S101  (without a URL there is no thread)
        request = urllib.request.Request(  # noqa: S310  (the setting allows http and https)
            self._settings.url, data=body, headers=headers, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310
                return None
        except urllib.error.HTTPError as error:
            reason = f"the receiver answers {error.code}"
            said = " ".join(error.read(200).decode(errors="replace").split())
            error.close()
            self._lost += 1
            return f"{reason} ({said})" if said else reason
        except OSError as error:
            self._lost += 1
            return str(getattr(error, "reason", error))
