"""Other protocols than HTTP in words: WebSocket, gRPC and the browser, with their units."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from k6d.core.numbers import count, in_unit, number, percent

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_LINES = 10
_PROTOCOLS = {"WebSocket": "ws_", "gRPC": "grpc_", "browser": "browser_"}
# k6's time metrics, in milliseconds; cumulative layout shift (cls) has no unit.
_TIME = re.compile(r"(connecting|duration|ping|web_vital_(?!cls)\w+)$")
_STATS = ("avg", "p(95)", "max", "count", "value")


def protocol_lines(
    k6_metrics: Mapping[str, Mapping[str, float]], handshakes: Mapping[str, int]
) -> dict[str, list[str]]:
    """Return a line for each metric of each protocol that a script uses, by protocol.

    `handshakes` are WebSocket sessions by HTTP status.
    """
    lines = {
        title: [
            _metric(name, stats)
            for name, stats in k6_metrics.items()
            if name.startswith(start) and any(stats.values())
        ][:MOST_LINES]
        for title, start in _PROTOCOLS.items()
    }
    if handshakes:
        lines["WebSocket"].insert(0, f"handshakes: {_answers(handshakes)}")
    return {title: found for title, found in lines.items() if found}


def _answers(handshakes: Mapping[str, int]) -> str:
    return ", ".join(
        f"{'no answer' if status == '0' else f'HTTP {status}'} {count(n)}"
        for status, n in handshakes.items()
    )


def _metric(name: str, stats: Mapping[str, float]) -> str:
    if "passes" in stats:
        total = stats["passes"] + stats.get("fails", 0)
        return f"{name}: {percent(100 * stats.get('value', 0.0))} of {total:,.0f}"
    unit = "ms" if _TIME.search(name.partition("{")[0]) else ""
    shown = (
        f"{stat} {number(stats[stat]) if stat == 'count' else in_unit(stats[stat], unit)}"
        for stat in _STATS
        if stat in stats
    )
    return f"{name}: {'  '.join(shown)}"
