"""Renders what of a run is different from its baseline, before and after, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from k6d.cli.render.table import Listing
from k6d.core.numbers import change, in_unit
from k6d.core.terms import CHANGED, WORSE
from k6d.core.text import one_line, plural

if TYPE_CHECKING:
    from rich.console import RenderableType

    from k6d.core.model import Comparison, Run

STYLES = {WORSE: "red", CHANGED: "yellow", "better": "green"}
MOST = 8
MOST_TITLE = 100


def changes(run: Run) -> list[RenderableType]:
    """Return the series that left their band, the worst first; nothing when none did."""
    order = list(STYLES)
    found = [c for c in run.comparisons if c.state in STYLES and c.expected is not None]
    found.sort(key=lambda c: (order.index(c.state), -abs(c.change_percent or 0.0)))
    if not found:
        return []
    from k6d.analysis.wording import title  # with the whole analysis, which a list does not need

    table = Listing(name="", titles=("before", "now", "change"))
    for one in found[:MOST]:
        cells = (in_unit(one.expected, one.unit), in_unit(one.observed, one.unit), changed(one))
        table.add(Text(one_line(title(one), MOST_TITLE), STYLES[one.state]), *cells)
    more = len(found) - MOST
    rest = [Text(f"and {plural(more, 'more series', 'more series')}", "dim")] if more > 0 else []
    return ["", Text("against the baseline", "dim"), table, *rest]


def changed(compared: Comparison) -> str:
    """Return the change in percent; for shares in points, because many are close to 0."""
    if compared.unit == "%" and compared.expected is not None:
        return change(compared.observed - compared.expected, "points")
    return change(compared.change_percent)
