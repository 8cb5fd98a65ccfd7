"""Draws values as bars of one line."""

from __future__ import annotations

from k6d.core.numbers import largest

BARS_WIDTH = 60  # columns
BARS = "▁▂▃▄▅▆▇█"


def spark(values: list[float | None], width: int = BARS_WIDTH) -> str:
    """Draw values as bars from zero to their maximum, with a gap where nothing was measured."""
    per_bar = max(1, -(-len(values) // width))
    bars = [largest(values[i : i + per_bar]) for i in range(0, len(values), per_bar)]
    top = largest(bars)
    if not top or top < 0:
        return "".join(" " if v is None else BARS[0] for v in bars)
    return "".join(
        " " if v is None else BARS[round(max(v / top, 0) * (len(BARS) - 1))] for v in bars
    )
