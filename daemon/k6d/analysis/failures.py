"""Judges the share of failures among gRPC calls, handshakes or pages by the limit for errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.core.model import Severity
from k6d.core.numbers import against

if TYPE_CHECKING:
    from k6d.settings import Limits


@frozen
class TooMany:
    """A share of failures, in percent, that is a finding; `seen` and `allowed` are for messages.

    `allowed` is empty if all failed and the limit is off.
    """

    share: float
    severity: Severity
    seen: str
    allowed: str

    @property
    def expected(self) -> str:
        """Return what was expected instead."""
        return f"≤ {self.allowed}" if self.allowed else "0 %"


def too_many(failed: int, total: int, limits: Limits) -> TooMany | None:
    """Return the share if all failed, or more than the limit allows. All failed is critical."""
    if not failed:
        return None
    share = 100 * failed / total
    broken = limits.error_rate.broken(share)
    if failed < total and not broken:
        return None
    seen, allowed = against(share, broken[1] if broken else 0.0, unit="%")
    return TooMany(
        share=share,
        severity=broken[0] if broken and failed < total else Severity.CRITICAL,
        seen=seen,
        allowed=allowed if broken else "",
    )
