"""A table for any width: if a row does not fit, its name stands above its cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Group, RenderHook
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from k6d.core.numbers import escaped
from k6d.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import (
        Console,
        ConsoleOptions,
        ConsoleRenderable,
        RenderableType,
        RenderResult,
    )

LEAST_NAME = 16  # columns; a long name that is wrapped at fewer is hard to read
LEAST_REMARK = 30  # columns; a finding that is cut to fewer says nothing
ENOUGH_REMARK = 60  # columns; where a finding has fewer, long names wrap
BESIDE_REMARK = 32  # columns of a name that wraps so
LEAST_WRAPPED = 100  # columns; a table of wrapped words is hard to read on a narrower terminal
GAP = "  "


class Escaped:
    """Renders its content with escaped control characters."""

    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Escape the segments of text; rich's own control codes stay."""
        for segment in console.render(self._renderable, options):
            text = segment.text if segment.control else escaped(segment.text)
            yield Segment(text, segment.style, segment.control)


class Escaping(RenderHook):
    """Escapes everything that a console prints."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Wrap the renderables; rich calls this before it renders."""
        return [Escaped(one) for one in renderables]


def plain_table() -> Table:
    """Return a table without lines."""
    return Table(box=None, pad_edge=False, show_edge=False, header_style="dim")


@dataclass(slots=True, kw_only=True)
class Listing:
    """Rows with a name, which may wrap, and cells, which never wrap.

    `titles` name the cells; cells in `left` hold words, the others numbers. Each row has a name and
    one cell per title. If there is a title `first`, its cell stands before the name. With `whole`,
    a name is not wrapped; if it does not fit, it stands above its cells. `remark` is the title of a
    last column, which is shown where the terminal is wide enough; its texts are cut to one line.
    """

    name: str
    titles: Sequence[str]
    first: str = ""
    left: frozenset[str] = frozenset()
    whole: bool = False
    remark: str = ""
    rows: list[tuple[Text, Text, list[Text]]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, name: Text, *cells: str | Text, first: str | Text = "", remark: str = "") -> None:
        """Add a row."""
        self.rows.append((_text(first), name, [_text(cell) for cell in cells]))
        self.remarks.append(remark)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render as a table; if it does not fit, put the names above their cells."""
        columns = zip(*(cells for *_, cells in self.rows), strict=True)
        widths = [
            max(cell_len(title), *(cell.cell_len for cell in column))
            for title, column in zip(self.titles, columns, strict=False)
        ]
        below = sum(widths) + len(GAP) * len(widths)
        lead = max(cell_len(self.first), *(first.cell_len for first, *_ in self.rows))
        room = options.max_width - below - (lead + len(GAP) if lead else 0)
        longest = max((name.cell_len for _, name, _ in self.rows), default=0)
        if room >= (longest if self.whole else min(longest, LEAST_NAME)) - len(GAP) * (not longest):
            beside = max(longest, cell_len(self.name))
            if any(self.remarks) and room - beside < ENOUGH_REMARK:
                beside = min(beside, BESIDE_REMARK)
            rest = room - beside - len(GAP) * 2
            yield self._table(named=longest > 0, remark=rest if any(self.remarks) else 0)
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

    def _table(self, *, named: bool, remark: int) -> Table:
        """Return the rows as a table; `remark` is how many columns are left for the remarks."""
        table = plain_table()
        if self.first:
            table.add_column(self.first, no_wrap=True)
        if named:
            table.add_column(self.name, overflow="fold", no_wrap=self.whole)
        for title in self.titles:
            justify = "left" if title in self.left else "right"
            table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]  # rich's Literal
        if remark >= LEAST_REMARK:
            table.add_column(self.remark, no_wrap=True, overflow="ellipsis", width=remark)
        for (first, name, cells), words in zip(self.rows, self.remarks, strict=True):
            last = [Text(" ".join(printable(words).split()))] if remark >= LEAST_REMARK else []
            lead = [first] if self.first else []
            table.add_row(*lead, *([name] if named else []), *cells, *last)
        return table

    def _pairs(self, cells: Sequence[Text], width: int) -> Iterator[Text]:
        """Yield lines with as many cells as fit, each after its title; words have no title."""
        line = Text()
        for title, cell in zip(self.titles, cells, strict=True):
            part = cell if title in self.left else Text.assemble((f"{title} ", "dim"), cell)
            if line and line.cell_len + len(GAP) + part.cell_len > width:
                yield line
                line = Text()
            line = Text.assemble(line, GAP, part, overflow="fold")
        yield line


def wrapping_table(
    titles: Sequence[str], rows: Iterable[Sequence[str | Text]], *, width: int
) -> RenderableType:
    """Return a table whose cells hold words and wrap; on a narrow terminal, a paragraph each row.

    `width` is the width of the terminal.
    """
    if width >= LEAST_WRAPPED:
        table = plain_table()
        for title in titles:
            table.add_column(title, overflow="fold")
        for row in rows:
            table.add_row(*row)
        return table
    lines: list[RenderableType] = []
    for row in rows:
        lines.append(Text.assemble(row[0], overflow="fold"))
        for title, cell in zip(titles[1:], row[1:], strict=True):
            if cell:
                line = Text.assemble((f"{title} ", "dim"), cell, overflow="fold")
                lines.append(Padding(line, (0, 0, 0, len(GAP))))
    return Group(*lines)


def _text(cell: str | Text) -> Text:
    return Text(cell) if isinstance(cell, str) else cell


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"{GAP}{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
