"""Renders the target's own numbers of a run for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from k6d.cli.render.before import STYLES, changed
from k6d.cli.render.cells import cell
from k6d.cli.render.spark import spark
from k6d.cli.render.table import Listing
from k6d.core.numbers import in_unit

if TYPE_CHECKING:
    from rich.console import RenderableType

    from k6d.core.model import Run

WIDTH = 30  # columns of the values over the run


def target(run: Run) -> list[RenderableType]:
    """Return a row for each number: before, now, change, and over the run; nothing without any."""
    if not run.target:
        return []
    compared = {c.metric: c for c in run.comparisons}
    titles = ("", "before", "now", "change", "over the run")
    table = Listing(name="", titles=titles, left=frozenset({"", "over the run"}))
    for one in run.target:
        past = compared.get(one.key) if one.value is not None else None
        table.add(
            cell(one.title, STYLES.get(past.state, "") if past else ""),
            one.stat,
            in_unit(past.expected if past else None, one.unit),
            in_unit(one.value, one.unit),
            changed(past) if past else "–",
            spark(one.values, WIDTH),
        )
    return ["", Text("the target's own numbers", "dim"), table]
