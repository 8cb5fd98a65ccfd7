"""Help that says what a value is in words, FILE or N, where Typer would print Python's types."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

WORDS = {"int": "N", "int range": "N", "float": "NUMBER", "float range": "NUMBER", "path": "PATH"}


class PlainHelp(TyperCommand):
    """A command whose arguments are shown by name, and options by what they take."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        one: Any
        for one in self.params:
            if one.metavar is not None:
                continue
            if one.param_type_name == "argument":
                one.metavar = (one.name or "").upper()
            elif one.type.name != "choice":
                one.metavar = WORDS.get(one.type.name, "TEXT")
