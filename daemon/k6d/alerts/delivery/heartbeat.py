"""The heartbeat: k6d calls a URL at intervals while it works.

A service such as Healthchecks alerts people when the calls stop. k6d itself could not do so when
its machine is down.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import Any
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)

TIMEOUT_S = 10.0


class Heartbeat:
    """Calls `url`, which is a secret, for `timeout_s` at most; without one it does nothing."""

    def __init__(self, url: str | None, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._calling = False
        self._failing = False

    async def beat(self) -> None:
        """Call once; failing, or being well again, is logged once."""
        if self._url is None:
            return
        error = await self._called(self._url)
        if error and not self._failing:
            logger.warning("the heartbeat URL does not take calls: %s", error)
        elif self._failing and not error:
            logger.info("the heartbeat URL takes calls again")
        self._failing = error is not None

    async def _called(self, url: str) -> str | None:
        """Call in a thread and return the error. k6d does not wait for the thread when it ends."""
        late = f"no answer within {self._timeout_s:g} s"
        if self._calling:
            return late
        loop = asyncio.get_running_loop()
        said: asyncio.Future[str | None] = loop.create_future()

        def call() -> None:
            error = _call(url, timeout_s=self._timeout_s)
            self._calling = False
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, error)

        def tell(error: str | None) -> None:
            if not said.done():
                said.set_result(error)

        self._calling = True
        threading.Thread(target=call, daemon=True, name="heartbeat").start()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await said
        except TimeoutError:
            return late

    async def keep_beating(self, every_s: float) -> None:
        """Call again and again until cancelled: a loop that hangs makes no call."""
        while self._url is not None:
            await self.beat()
            await asyncio.sleep(every_s)


def _call(url: str, *, timeout_s: float) -> str | None:
    """Return the error of one call, None if it succeeded; the text does not contain the URL."""
    import urllib.error
    import urllib.request

    class OnlyToHttps(urllib.request.HTTPRedirectHandler):
        """Follows to the same address by https; a login page, say, is no dead man's switch."""

        def redirect_request(self, req: Any, *rest: Any) -> Any:
            secure = req.full_url.replace("http://", "https://", 1)
            return super().redirect_request(req, *rest) if rest[-1] == secure else None

    request = urllib.request.Request(url, headers={"User-Agent": "k6d"})  # noqa: S310  (settings allow http(s) only)
    try:
        with urllib.request.build_opener(OnlyToHttps).open(request, timeout=timeout_s):
            return None
    except urllib.error.HTTPError as error:
        with error:
            where = urlsplit(error.headers.get("Location") or "")
            leads = f": it redirects to {where.scheme}://{where.hostname}" if where.hostname else ""
            return f"HTTP {error.code}{leads if error.code < 400 else ''}"
    except urllib.error.URLError as error:
        reason = error.reason
        return reason.strerror or "unreachable" if isinstance(reason, OSError) else "unreachable"
    except (OSError, ValueError) as error:
        return type(error).__name__
