"""A table for any terminal: where a row has no room, its name stands above its cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import RenderHook
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from k6d.core.numbers import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult

LEAST_NAME = 16  # columns that a long name needs to be readable when it folds
GAP = "  "


class Escaped:
    """Whatever it holds, as it is, but for characters that would drive the terminal."""

    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The same segments; what rich itself says to the terminal stays."""
        for segment in console.render(self._renderable, options):
            text = segment.text if segment.control else escaped(segment.text)
            yield Segment(text, segment.style, segment.control)


class Escaping(RenderHook):
    """Escapes all that a console prints."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Called by rich before it renders."""
        return [Escaped(one) for one in renderables]


def plain_table() -> Table:
    """A table without lines."""
    return Table(box=None, pad_edge=False, show_edge=False, header_style="dim")


@dataclass(slots=True, kw_only=True)
class Listing:
    """Rows with a name, which may fold, and cells, which never do.

    `titles` name the cells; those in `left` are words, the others numbers. Every row is the name
    and one cell for each title, and where there is a title `first`, what stands before the name.
    With `whole`, a name stays in one line or stands above its cells.
    """

    name: str
    titles: Sequence[str]
    first: str = ""
    left: frozenset[str] = frozenset()
    whole: bool = False
    rows: list[tuple[str, Text, list[Text]]] = field(default_factory=list)

    def add(self, name: Text, *cells: str | Text, first: str = "") -> None:
        """One more row."""
        self.rows.append((first, name, [Text(c) if isinstance(c, str) else c for c in cells]))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As a table; else the names above their numbers, in columns if these have room."""
        columns = zip(*(cells for *_, cells in self.rows), strict=True)
        widths = [
            max(cell_len(title), *(cell.cell_len for cell in column))
            for title, column in zip(self.titles, columns, strict=False)
        ]
        below = sum(widths) + len(GAP) * len(widths)
        lead = max(map(cell_len, (self.first, *(first for first, *_ in self.rows))))
        room = options.max_width - below - (lead + len(GAP) if lead else 0)
        longest = max((name.cell_len for _, name, _ in self.rows), default=0)
        if room >= (longest if self.whole else min(longest, LEAST_NAME)) - len(GAP) * (not longest):
            yield self._table(named=longest > 0)
            return
        if below <= options.max_width:
            yield Text(_aligned(self.titles, widths), "dim")
        for first, name, cells in self.rows:
            if first or longest:
                yield Text.assemble(first, GAP if first else "", name, overflow="fold")
            if below <= options.max_width:
                yield Text(_aligned([cell.plain for cell in cells], widths))
            else:
                yield from self._pairs(cells, options.max_width)

    def _table(self, *, named: bool) -> Table:
        table = plain_table()
        if self.first:
            table.add_column(self.first, no_wrap=True)
        if named:
            table.add_column(self.name, overflow="fold", no_wrap=self.whole)
        for title in self.titles:
            justify = "left" if title in self.left else "right"
            table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]  # rich's Literal
        for first, name, cells in self.rows:
            table.add_row(*([first] if self.first else []), *([name] if named else []), *cells)
        return table

    def _pairs(self, cells: Sequence[Text], width: int) -> Iterator[Text]:
        """As many cells a line as there is room for, each with its title; words have none."""
        line = Text()
        for title, cell in zip(self.titles, cells, strict=True):
            part = cell if title in self.left else Text.assemble((f"{title} ", "dim"), cell)
            if line and line.cell_len + len(GAP) + part.cell_len > width:
                yield line
                line = Text()
            line = Text.assemble(line, GAP, part, overflow="fold")
        yield line


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"{GAP}{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
