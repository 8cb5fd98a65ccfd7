"""Renders the settings in force for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from rich.text import Text

from k6d.cli.render.table import plain_table
from k6d.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from k6d.settings.in_force import InForce


def settings_table(settings: Iterable[InForce]) -> Table:
    """Return a line for each setting: its name, its value and its source; defaults are dim."""
    table = plain_table()
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    for one in settings:
        style = "dim" if one.is_default else ""
        cells = (one.setting, _value(one.value), one.source)
        table.add_row(*(Text(printable(cell), style) for cell in cells))
    return table


def _value(value: Any) -> str:
    """Return a value as k6d.toml has it; "–" if it is not set."""
    if value is None:
        return "–"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }"
    return orjson.dumps(value).decode()
