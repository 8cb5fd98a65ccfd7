"""Draw the history of a metric as a small PNG, because mail clients show no SVG.

Only lines and dots are drawn. Numbers and dates are text of the mail, so that screen readers can
read them.
"""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k6d.alerts.records import Chart

SCALE = 2  # drawn at twice the size at which it is shown, for sharp displays
WIDTH, HEIGHT = 520, 110
MARGIN = 8
PAPER, GRID, LINE, BAD = (255, 255, 255), (226, 230, 235), (58, 110, 165), (211, 47, 47)

Colour = tuple[int, int, int]


def ceiling(chart: Chart) -> float:
    """Return the value at the upper edge; the lower edge is 0, so that heights can be compared."""
    return max((point.value for point in chart.points), default=0.0) * 1.05 or 1.0


def png(chart: Chart) -> bytes:
    """Return the picture: equally spaced points, oldest left, anomalous runs in red."""
    canvas = _Canvas(WIDTH * SCALE, HEIGHT * SCALE)
    top = ceiling(chart)
    margin, bottom = MARGIN * SCALE, HEIGHT * SCALE - MARGIN * SCALE
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - margin)
        canvas.line((0, y), (WIDTH * SCALE, y), GRID, SCALE * 0.5)
    count = len(chart.points)
    step = (WIDTH * SCALE - 2 * margin) / max(count - 1, 1)
    places = [
        (margin + i * step, bottom - point.value / top * (bottom - margin))
        for i, point in enumerate(chart.points)
    ]
    for start, end in itertools.pairwise(places):
        canvas.line(start, end, LINE, SCALE * 1.0)
    for place, point in zip(places, chart.points, strict=True):
        canvas.dot(place, BAD if point.bad else LINE, SCALE * (3.4 if point.bad else 2.0))
    return canvas.png()


class _Canvas:
    """RGB pixels with soft edges: each pixel is covered by how near it is to a shape."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._rows = [bytearray(bytes(PAPER) * width) for _ in range(height)]

    def line(
        self, start: tuple[float, float], end: tuple[float, float], colour: Colour, half: float
    ) -> None:
        """Draw a line of twice `half` pixels with round ends."""
        (x1, y1), (x2, y2) = start, end
        dx, dy = x2 - x1, y2 - y1
        length2 = dx * dx + dy * dy or 1e-9
        reach = half + 1
        for x in _span(min(x1, x2) - reach, max(x1, x2) + reach, self.width):
            # The stretch of the line that can touch this column.
            if abs(dx) > 1e-9:
                ends = sorted((max(min((x + s * reach - x1) / dx, 1), 0)) for s in (-1, 1))
            else:
                ends = [0.0, 1.0]
            ys = [y1 + t * dy for t in ends]
            for y in _span(min(ys) - reach, max(ys) + reach, self.height):
                t = max(0.0, min(1.0, ((x - x1) * dx + (y - y1) * dy) / length2))
                away = math.hypot(x - x1 - t * dx, y - y1 - t * dy)
                self._blend(x, y, colour, half + 0.5 - away)

    def dot(self, centre: tuple[float, float], colour: Colour, radius: float) -> None:
        """Draw a filled circle."""
        cx, cy = centre
        for x in _span(cx - radius - 1, cx + radius + 1, self.width):
            for y in _span(cy - radius - 1, cy + radius + 1, self.height):
                self._blend(x, y, colour, radius + 0.5 - math.hypot(x - cx, y - cy))

    def png(self) -> bytes:
        """Return the pixels as a PNG file, colour type RGB, 8 bits (PNG specification, 11.2)."""
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        pixels = zlib.compress(b"".join(b"\0" + row for row in self._rows), 9)
        chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)

    def _blend(self, x: int, y: int, colour: Colour, cover: float) -> None:
        if cover <= 0:
            return
        cover = min(cover, 1.0)
        row, at = self._rows[y], 3 * x
        row[at : at + 3] = bytes(
            round(old + (new - old) * cover)
            for old, new in zip(row[at : at + 3], colour, strict=True)
        )


def _span(start: float, end: float, limit: int) -> Sequence[int]:
    return range(max(0, math.floor(start)), min(limit, math.ceil(end) + 1))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
