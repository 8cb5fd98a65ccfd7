"""Decides why a run has no measurements: this machine's network, a module server, or neither.

k6's words decide. Where they leave a doubt, `network.witness` decides, if it is set.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from k6d.core.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k6d.core.model import Result

LATE_INIT = "the script's init code did not end within"
WAITS = "it waits for the module server"
NO_NETWORK = "network is unreachable"  # the kernel's words when it has no route
WITNESS_S = 5.0
# Somebody answered, so there was a network.
_ANSWERED = ("connection refused", "reset by peer")
# The same in k6 0.57 to 2.2. A module that is not there, or not for us, is the script's mistake.
_MODULE = re.compile(
    r'^The moduleSpecifier "[^"]*" couldn\'t be retrieved from the resolved url "https?://[^"]*"\. '
    r'Error : "(?P<why>.*)"'
)
_STATUS = re.compile(r"wrong status code \((\d+)\)")
_FOR_NOW = (408, 425, 429)


def is_own(words: str) -> bool:
    """Return whether an error can come from this machine, if its network is down."""
    return NO_NETWORK in words or words.startswith("lookup")


class Witness:
    """An address, host:port or a URL, that answers whenever the network is well; None: unset.

    It is asked once, however often somebody wants to know.
    """

    def __init__(self, address: str | None) -> None:
        self.address = address
        self._silent: bool | None = None

    async def is_silent(self) -> bool:
        """Return whether there is a witness that accepts no connection."""
        if self._silent is None:
            self._silent = bool(self.address) and not await _answers(str(self.address))
        return self._silent


async def was_offline(errors: Iterable[str], witness: Witness, *, route_lost: bool) -> bool:
    """Return whether this machine's network was down while requests failed with such words.

    The words alone do not prove it: a name may be wrong, and a machine may have no IPv6.
    """
    if not any(map(is_own, errors)):
        return False
    return route_lost or await witness.is_silent()


def outcome_of_refusal(error: str) -> Outcome:
    """Return the outcome for a script that k6 refuses with these words."""
    if error.startswith(LATE_INIT) and f"; {WAITS} " in error:
        return Outcome.MODULE_SERVER
    found = _MODULE.match(error)
    if found is None or found["why"].startswith("not found:"):
        return Outcome.SCRIPT_ERROR
    if NO_NETWORK in found["why"]:
        return Outcome.NO_NETWORK
    status = _STATUS.match(found["why"])
    lasting = status and int(status[1]) < 500 and int(status[1]) not in _FOR_NOW
    return Outcome.SCRIPT_ERROR if lasting else Outcome.MODULE_SERVER


async def without_own_trouble(result: Result, witness: Witness) -> Result:
    """Return the result, as "no network" if this machine's network is why it is empty."""
    words = _why_silent(result)
    if words is None:
        return result
    if NO_NETWORK not in words:
        if _was_answered(words) or not await witness.is_silent():
            return result
        words = f"{words}; nor can the witness {witness.address} be reached"
    execution = replace(result.execution, outcome=Outcome.NO_NETWORK, error=words)
    return replace(result, execution=execution)


def _why_silent(result: Result) -> str | None:
    """k6's words, when no request was answered and they are those of most; None otherwise."""
    execution, breakdown = result.execution, result.breakdown
    if execution.outcome in (Outcome.NO_DATA, Outcome.SCRIPT_ERROR):
        answered = bool(result.summary.metrics.data_received_bytes)
        return None if answered or execution.told_by_script else execution.error
    cut = execution.cut_by_threshold or execution.cut_by_k6d
    if execution.outcome is not Outcome.COMPLETED and not cut:
        return None
    lost = breakdown.lost_requests
    total = (result.judged.total_requests or 0) + lost
    if not total or breakdown.status_codes.get("0", 0) + lost < total:
        return None
    offline = lost + sum(n for why, n in breakdown.errors.items() if NO_NETWORK in why)
    if 2 * offline > total:
        return f"{NO_NETWORK} for {offline:,} of {total:,} requests"
    ((why, count),) = Counter(breakdown.errors).most_common(1) or [("", 0)]
    return why if 2 * count > total and NO_NETWORK not in why else None


def _was_answered(words: str) -> bool:
    """Return whether the target refused the connection; a refused look-up is the resolver's."""
    return "lookup" not in words and any(said in words for said in _ANSWERED)


async def _answers(address: str) -> bool:
    """Return whether host:port, or the host of a URL, accepts a connection."""
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(WITNESS_S):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
