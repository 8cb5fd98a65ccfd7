"""Send messages through Apprise, each to one receiver, in a short-lived helper process.

Apprise and its plugins need more memory than the whole daemon, and a receiver may hang. The helper
is forked from a process that has loaded Apprise, so that several messages load it once. The helper
ends by itself at its time-out. It survives a killed daemon and writes the outcome of its sending
itself. URLs hold secrets: the helper gets them by standard input, and its answer names receivers by
labels without secrets. The helper's code is `apprise_worker`.
"""

from __future__ import annotations

import logging
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from k6d.alerts.records import Outcome, Receiver
from k6d.core import fork_server
from k6d.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import TextIO

    from k6d.alerts.delivery.render import Rendered
    from k6d.alerts.records import Sending

logger = logging.getLogger(__name__)

HELPER = "k6d.alerts.delivery.apprise_worker"
START_S = 30.0  # Apprise loads 200 plugins first; a busy machine needs a while for it


@frozen
class Addresses:
    """The URLs of receivers and the Apprise file; `key` is the secret of the receivers' hashes."""

    urls: Sequence[str] = field(repr=False)
    config: Path | None
    key: str = field(repr=False)
    timeout_s: float = 60.0

    def request(self, what: str, **more: Any) -> dict[str, Any]:
        """Return a request to the helper as a JSON object."""
        return {
            "what": what,
            "urls": list(self.urls),
            "config": str(self.config) if self.config else None,
            "key": self.key,
            "timeout_s": self.timeout_s,
            **more,
        }


@frozen
class Directory:
    """The known receivers, and (label, problem) of each entry that Apprise does not understand."""

    receivers: list[Receiver]
    problems: list[tuple[str, str]]


async def directory(addresses: Addresses) -> Directory:
    """List the receivers as Apprise understands their URLs; sends nothing; never raises."""
    answer = await _helper(addresses.request("list"), timeout_s=START_S + addresses.timeout_s)
    if isinstance(answer, str):
        return Directory(receivers=[], problems=[("all receivers", answer)])
    return Directory(
        receivers=[Receiver(**entry) for entry in answer["receivers"]],
        problems=[(label, problem) for label, problem in answer["problems"]],
    )


async def send(
    sending: Sending, rendered: Rendered, *, addresses: Addresses, path: Path, lock: TextIO
) -> None:
    """Send, and return when the helper has ended; it writes the outcome into the file `path`.

    The helper inherits `lock` and holds it until it ends, even if this process dies before.
    """
    request = addresses.request("send", sending=sending, rendered=rendered, path=str(path))
    error = await _helper(request, timeout_s=START_S + addresses.timeout_s, lock=lock)
    if isinstance(error, str):
        logger.debug("the helper for %s: %s", sending.label, error)


async def trial(sending: Sending, rendered: Rendered, *, addresses: Addresses) -> Outcome:
    """Send a message that is not in the outbox and return the outcome; never raises."""
    request = addresses.request("send", sending=sending, rendered=rendered, path=None)
    answer = await _helper(request, timeout_s=START_S + addresses.timeout_s)
    if isinstance(answer, str):
        return Outcome(at=datetime.now().astimezone(), delivered=False, error=answer)
    return Outcome(**{**answer, "at": datetime.fromisoformat(answer["at"])})


async def _helper(
    request: dict[str, Any], *, timeout_s: float, lock: TextIO | None = None
) -> dict[str, Any] | str:
    """Return the helper's answer, or its failure in words."""
    try:
        return await fork_server.ask((HELPER,), request, timeout_s=timeout_s, lock=lock)
    except TimeoutError:
        return f"no answer within {request['timeout_s']:g} s"
    except fork_server.WorkerError as error:
        return f"the delivery helper failed, {error}"
