"""Findings about WebSocket handshakes that the target refused or did not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.analysis.failures import too_many
from k6d.core.model import Finding, FindingKind
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
    if not (found := too_many(failed, total, limits)):
        return []
    silent = counts.get(UNANSWERED, 0) == total
    worst = max((status for status in counts if status != AGREED), key=lambda one: counts[one])
    why = "no answer" if worst == UNANSWERED else f"HTTP {worst} instead of 101"
    handshakes = plural(failed, "WebSocket handshake")
    message = f"{handshakes} of {total:,} failed ({found.seen}): mostly {why}"
    if failed == total:
        message = f"the target is unreachable: no answer to {handshakes}"
        if not silent:
            message = (
                f"every WebSocket handshake was refused: {why}, {counts[worst]:,} of {total:,}"
            )
    return [
        Finding(
            kind=FindingKind.UNREACHABLE if silent else FindingKind.LIMIT,
            severity=found.severity,
            metric="ws_sessions",
            observed=found.share,
            expected=found.expected,
            unit="%",
            message=message,
            recommendation="Check that the target speaks WebSocket at that address.",
        )
    ]
