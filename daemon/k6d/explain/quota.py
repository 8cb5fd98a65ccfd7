"""Whether Gemini may be asked now: a daily budget, and a circuit breaker that pauses requests.

Both are stored in the data folder, so that they hold after a restart and for other processes. The
circuit breaker belongs to one key, model and endpoint: corrected settings apply without a pause.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from k6d.core.numbers import kept_time

if TYPE_CHECKING:
    from k6d.storage.state import State

logger = logging.getLogger(__name__)

FAILURES_TO_OPEN = 3
FIRST_PAUSE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=6)


class Allowance:
    """The daily budget, and the circuit of `identity`, a text that changes with the settings."""

    def __init__(self, state: State, *, per_day: int, identity: str) -> None:
        self._state = state
        self._per_day = per_day
        self._identity = identity

    def open_until(self, now: datetime) -> tuple[datetime, str] | None:
        """The end of the pause and its reason; None when there is no pause."""
        circuit = self._circuit()
        until = kept_time(circuit.get("until"))
        return (until, str(circuit.get("why"))) if until and until > now else None

    @property
    def on_trial(self) -> bool:
        """Whether the circuit was open: then one attempt tests whether Gemini works again."""
        return self._failures() >= FAILURES_TO_OPEN

    def take(self, now: datetime) -> bool:
        """Count one request; False when the budget of this day (UTC) is used up."""
        day = f"{now.astimezone(UTC):%Y-%m-%d}"
        taken = False

        def one_more(budget: dict[str, Any] | None) -> dict[str, Any]:
            nonlocal taken
            used = _count(budget.get("used")) if budget and budget.get("day") == day else 0
            taken = used < self._per_day
            return {"day": day, "used": used + taken}

        self._state.change("budget", one_more)
        return taken

    def succeeded(self) -> None:
        """Close the circuit after a successful request."""
        if self._state.get("circuit") is not None:
            if self.on_trial:
                logger.info("explanations work again")
            self._state.delete("circuit")

    def failed(self, why: str, now: datetime, *, retry_after_s: float | None = None) -> None:
        """Count a failure; the third in a row, or a Retry-After of the server, starts a pause.

        Each further failure doubles the pause, up to LONGEST_PAUSE.
        """
        failures = self._failures() + 1
        pause = timedelta(seconds=min(retry_after_s or 0.0, LONGEST_PAUSE.total_seconds()))
        if failures >= FAILURES_TO_OPEN:
            doubled = FIRST_PAUSE * 2 ** min(failures - FAILURES_TO_OPEN, 16)
            pause = max(pause, min(doubled, LONGEST_PAUSE))
        until = now + pause if pause else None
        if until:
            logger.warning("explanations pause until %s: %s", f"{until:%H:%M:%S} UTC", why)
        self._state.put(
            "circuit",
            {
                "identity": self._identity,
                "failures": failures,
                "until": until.isoformat() if until else None,
                "why": why,
            },
        )

    def _failures(self) -> int:
        return _count(self._circuit().get("failures"))

    def _circuit(self) -> dict[str, Any]:
        circuit = self._state.get("circuit") or {}
        return circuit if circuit.get("identity") == self._identity else {}


def _count(kept: object) -> int:
    return kept if isinstance(kept, int) and kept > 0 else 0
