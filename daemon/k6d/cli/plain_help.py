"""Help that says what a value is in words, FILE or N, where Typer would print Python's types."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

WORDS = {"int": "N", "float": "NUMBER", "Path": "PATH"}


class PlainHelp(TyperCommand):
    """A command whose arguments are shown by name, and options by what they take."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        one: Any
        for one in self.params:
            about = getattr(one, "type_descriptor", None)
            if about is None:  # an older Typer prints no types of Python
                continue
            if one.param_type_name == "argument":
                one.display_type_rich = _nothing
                one.metavar = one.metavar or (one.name or "").upper()
            elif one.metavar is None and not about.is_choice:
                kind = one.bare_type().removeprefix("list[").removesuffix("]")
                one.metavar = WORDS.get(kind, "TEXT")


def _nothing(**_: Any) -> None:
    """An argument needs no type beside its name."""
