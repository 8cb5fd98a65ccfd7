"""Draws axes, lines and levels of a chart as SVG; colours come from the page's style sheet."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from k6d.core.numbers import in_unit, largest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Points = Iterable[tuple[float, float | None]]  # seconds, value

WIDTH = 900
LEFT, RIGHT, TOP, BOTTOM = 64, 44, 18, 22  # margins, with room for half of the last label
MOST_LABELS = 6
HEADROOM = 1.06  # above the highest point, for the ring around it
DAY = 86_400
# Seconds between two labels of a time axis.
STEPS = (
    *(1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200),
    *(days * DAY for days in (1, 2, 3, 4, 5, 7, 10, 14, 21, 28, 42, 56, 91, 122, 182, 365, 730)),
)


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """An element; texts and values are escaped. `class_` is class, `aria_label` aria-label."""
    given = (
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    inside = Markup().join(children)
    return Markup(f"<{name}{''.join(given)}>{inside}</{name}>")  # noqa: S704  (all is escaped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """The scales of a chart; times are in seconds, one value stands for `interval_s`.

    `values` are all that is to be drawn: the y axis runs from 0 to the largest of them.
    """

    start: float
    end: float
    interval_s: float
    values: Sequence[float | None]
    unit: str
    height: int = 260

    @property
    def top(self) -> float:
        """The value at the upper end of the y axis."""
        return (largest(self.values) or 1) * HEADROOM

    def x(self, at: float) -> float:
        """The horizontal place of a time."""
        share = (at - self.start) / ((self.end - self.start) or 1)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """The vertical place of a value."""
        floor = self.height - BOTTOM
        return round(floor - value / self.top * (floor - TOP), 1)

    def svg(self, *drawing: Markup, label: str, kind: str, name_of: Callable[[int], str]) -> Markup:
        """The chart: axes, then `drawing`.

        `label` is what a screen reader says. `name_of` gives the text of a time.
        """
        right, floor = WIDTH - RIGHT, self.height - BOTTOM
        axes = [
            tag("path", d=f"M{LEFT},{self.y(value)}H{right}", class_="guide")
            + tag("text", in_unit(value, self.unit), x=LEFT - 6, y=self.y(value) + 4, class_="y")
            for value in self.labelled_values()
        ] + [
            tag("path", d=f"M{self.x(at)},{floor}v4", class_="guide")
            + tag("text", name_of(at), x=self.x(at), y=floor + 16, class_="x")
            for at in self.labelled_times()
        ]
        return tag(
            "svg",
            *axes,
            *drawing,
            viewBox=f"0 0 {WIDTH} {self.height}",
            class_=f"chart {kind}",
            role="group" if kind == "trend" else "img",
            aria_label=label,
        )

    def labelled_values(self) -> Iterator[float]:
        """Round numbers from 0 on, at most nine; whole ones where there is no unit."""
        power = 10.0 ** math.floor(math.log10(self.top / 4))
        step = power * next(n for n in (1, 2, 5, 10) if n * power >= self.top / 4)
        step = step if self.unit else max(step, 1)
        return itertools.takewhile(lambda v: v <= self.top, (step * n for n in itertools.count()))

    def labelled_times(self) -> range:
        """At most MOST_LABELS multiples of a round step, so that the labels never overlap."""
        longest = math.ceil((self.end - self.start) / (MOST_LABELS - 1)) or 1
        for step in (*(s for s in STEPS if s >= self.interval_s), longest):
            first = math.ceil(self.start / step) * step
            found = range(first, math.floor(self.end) + 1, step)
            if len(found) <= MOST_LABELS:
                break
        return found

    def line(self, points: Points, name: str) -> Markup:
        """A line through the points, with a gap for None; a point between gaps is a dash."""
        parts = []
        for known, group in itertools.groupby(points, key=lambda point: point[1] is not None):
            found = [(at, value or 0) for at, value in group if known]
            if len(found) == 1:
                (at, value), half = found[0], self.interval_s / 2
                found = [(at - half, value), (at + half, value)]
            parts += ["M" + "L".join(f"{self.x(at)},{self.y(v)}" for at, v in found)] * known
        return tag("path", d="".join(parts), class_=f"line {name}")

    def level(self, value: float | None, name: str, *, start: float | None = None) -> Markup:
        """A horizontal line from the time `start` on; nothing for None."""
        if value is None:
            return Markup()
        title = tag("title", f"{name} {in_unit(value, self.unit)}")
        begin, y = self.x(self.start if start is None else start), self.y(max(0.0, value))
        return tag("path", title, d=f"M{begin},{y}H{WIDTH - RIGHT}", class_=f"level {name}")


def legend(names: dict[str, str]) -> Markup:
    """A swatch and the name of each series, above the plot; the values are their classes."""
    drawn, left = [], float(LEFT)
    for name, kind in names.items():
        drawn.append(tag("rect", x=left, y=1, width=10, height=10, class_=f"swatch {kind}"))
        drawn.append(tag("text", name, x=left + 14, y=10))
        left += 30 + 6.2 * len(name)
    return Markup().join(drawn)
