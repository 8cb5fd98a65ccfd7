"""Draws axes, lines and levels of a chart as SVG; colours come from the page's style sheet.

A chart is as wide as its page: an inner drawing of WIDE units is stretched to it, while texts and
points stand at percentages outside of it, so they keep their size on a phone.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import field
from typing import TYPE_CHECKING, Any

import orjson
from markupsafe import Markup, escape

from k6d.core.frozen import frozen
from k6d.core.numbers import in_unit, largest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Points = Iterable[tuple[float, float | None]]  # seconds, value

WIDE = 1000
LAST = 940  # a label beyond it would leave a phone's screen if it stood in the middle
TOP, BOTTOM = 10, 24  # room above the highest value, and for the labels of times
MOST_LABELS = 6
MOST_ON_PHONE = 30  # characters in all labels; of more, a phone shows every second label
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


@frozen
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
    top: float = field(init=False)

    def __post_init__(self) -> None:
        """Find the value at the upper end of the y axis."""
        object.__setattr__(self, "top", (largest(self.values) or 1) * HEADROOM)

    @property
    def floor(self) -> int:
        """The vertical place of 0."""
        return self.height - BOTTOM

    def x(self, at: float) -> float:
        """The horizontal place of a time, from 0 to WIDE."""
        share = (at - self.start) / ((self.end - self.start) or 1)
        return round(share * WIDE, 1)

    def share(self, at: float) -> str:
        """The same as a percentage, for what stands outside of the stretched drawing."""
        return f"{self.x(at) * 100 / WIDE:.2f}%"

    def y(self, value: float) -> float:
        """The vertical place of a value."""
        return round(self.floor - value / self.top * (self.floor - TOP), 1)

    def svg(
        self,
        *drawing: Markup,
        label: str,
        name_of: Callable[[int], str],
        points: Iterable[Markup] = (),
        role: str = "img",
    ) -> Markup:
        """The chart: axes, `drawing` stretched to the width, `points` on top.

        `label` is what a screen reader says. `name_of` gives the text of a time.
        """
        stretched = tag(
            "svg",
            *drawing,
            viewBox=f"0 0 {WIDE} {self.height}",
            width="100%",
            height=self.height,
            preserveAspectRatio="none",
        )
        return tag(
            "svg",
            *self._axes(name_of),
            stretched,
            *points,
            height=self.height,
            class_="plot",
            role=role,
            aria_label=label,
        )

    def _axes(self, name_of: Callable[[int], str]) -> Iterator[Markup]:
        for value in self.labelled_values():
            y = self.y(value)
            yield tag("line", x1=0, x2="100%", y1=y, y2=y, class_="guide")
            yield tag("text", in_unit(value, self.unit), x=-6, y=y + 4, class_="y")
        texts = {at: name_of(at) for at in self.labelled_times()}
        crowded = sum(map(len, texts.values())) > MOST_ON_PHONE
        for number, (at, text) in enumerate(texts.items()):
            x = self.share(at)
            yield tag("line", x1=x, x2=x, y1=self.floor, y2=self.floor + 4, class_="guide")
            kind = "x odd" if number % 2 and crowded else "x"
            kind += " last" if self.x(at) > LAST else ""
            yield tag("text", text, x=x, y=self.floor + 18, class_=kind, data_at=at)

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
        return tag("path", title, d=f"M{begin},{y}H{WIDE}", class_=f"level {name}")

    def band(self, low: float | None, high: float | None, *, start: float) -> Markup:
        """An area between two values from the time `start` on; nothing for None."""
        if low is None or high is None:
            return Markup()
        left, top = self.x(start), self.y(high)
        return tag(
            "rect",
            tag("title", f"noise, {in_unit(low, self.unit)} to {in_unit(high, self.unit)}"),
            x=left,
            y=top,
            width=f"{WIDE - left:.1f}",
            height=f"{self.y(max(0.0, low)) - top:.1f}",
            class_="noise",
        )

    def upright(self, at: float, text: str, name: str) -> Markup:
        """A vertical line at a time, with its text as the title."""
        x = self.x(at)
        return tag("path", tag("title", text), d=f"M{x},{TOP}V{self.floor}", class_=f"level {name}")


def figure(
    svg: Markup, *, title: str, kind: str, names: dict[str, str], data: dict[str, Any] | None = None
) -> Markup:
    """A chart with its title and a swatch for each series; `names` maps names to their classes.

    `data` is what the page's script reads values from: {x, at, series, runs}.
    """
    items = (
        tag("li", tag("span", class_=f"swatch {kind_of}"), name) for name, kind_of in names.items()
    )
    legend = [tag("ul", *items, class_="legend")] if names else []
    caption = tag("figcaption", tag("strong", title), *legend, tag("output", class_="now"))
    given = {"data_chart": orjson.dumps(data).decode()} if data else {}
    return tag("figure", caption, svg, class_=f"chart {kind}", **given)
