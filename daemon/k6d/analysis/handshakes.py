"""Findings about WebSocket handshakes that the target refused or did not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.core.model import Finding, FindingKind, Severity
from k6d.core.numbers import against
from k6d.core.text import plural

if TYPE_CHECKING:
    from k6d.core.model import Result
    from k6d.settings import Limits

AGREED = "101"  # Switching Protocols
UNANSWERED = "0"


def find(result: Result, limits: Limits) -> list[Finding]:
    """Return one finding if all handshakes failed, or more than the limit for errors allows."""
    counts = result.breakdown.handshakes
    total = sum(counts.values())
    failed = total - counts.get(AGREED, 0)
    if not failed:
        return []
    silent = counts.get(UNANSWERED, 0) == total
    worst = max((status for status in counts if status != AGREED), key=lambda one: counts[one])
    why = "no answer" if worst == UNANSWERED else f"HTTP {worst} instead of 101"
    share = 100 * failed / total
    broken = limits.error_rate.broken(share)
    if failed < total and not broken:
        return []
    seen = against(share, 100, unit="%")[0]
    message = f"{plural(failed, 'WebSocket handshake')} of {total:,} failed ({seen}): mostly {why}"
    if failed == total:
        n = plural(total, "WebSocket handshake")
        message = f"the target is unreachable: no answer to {n}"
        if not silent:
            message = (
                f"every WebSocket handshake was refused: {why}, {counts[worst]:,} of {total:,}"
            )
    return [
        Finding(
            kind=FindingKind.UNREACHABLE if silent else FindingKind.LIMIT,
            severity=broken[0] if broken and failed < total else Severity.CRITICAL,
            metric="ws_sessions",
            observed=share,
            expected=f"≤ {against(broken[1])[0]} %" if broken else "0 %",
            unit="%",
            message=message,
            recommendation="Check that the target speaks WebSocket at that address.",
        )
    ]
