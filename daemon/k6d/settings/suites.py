"""Suites: scripts that run one after the other, in an order of their own."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from k6d.settings.upkeep import CronText
from k6d.settings.values import Section, lines

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("should be a name of letters, digits and . _ - only")
    return text


Waits = Annotated[list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]


class Suite(Section):
    """Scripts that run one after the other; a failure stops those that depend on it."""

    name: Annotated[str, AfterValidator(_name)] = Field(description="Name of the suite.")
    scripts: Annotated[list[str], BeforeValidator(lines)] = Field(
        min_length=1, description="Names of the scripts, in the order in which they run."
    )
    after: dict[str, Waits] = Field(
        default={},
        description="A table of script = script or list: what must run and be healthy before it; "
        "a script or a list alone: before all others.",
    )
    stop: bool = Field(
        default=True,
        description="false: after a failure only the scripts that wait for it are left out, by "
        "after; true: all the rest.",
    )
    cron: CronText = Field(
        default="", description="When the suite runs by the clock, such as @daily; empty: never."
    )

    @model_validator(mode="before")
    @classmethod
    def _after_for_all_others(cls, given: object) -> object:
        """Turn `after = "login.js"` into the table that names it for each other script."""
        if not isinstance(given, dict) or not isinstance(given.get("after"), str | list):
            return given
        first, scripts = _texts(given["after"]), _texts(given.get("scripts"))
        if first is None or scripts is None:
            return given
        unknown = [name for name in first if name not in scripts]
        waiting = unknown or [name for name in scripts if name not in first]
        return given | {"after": dict.fromkeys(waiting, first)}

    @model_validator(mode="after")
    def _has_an_order(self) -> Self:
        if twice := [name for name in self.scripts if self.scripts.count(name) > 1]:
            raise ValueError(f"{twice[0]} is twice among the scripts")
        named = [*self.after, *(name for names in self.after.values() for name in names)]
        if unknown := [name for name in named if name not in self.scripts]:
            raise ValueError(f"after names {unknown[0]}, which is not among the scripts")
        try:
            self.order()
        except CycleError as error:
            circle = " after ".join(reversed(error.args[1]))
            raise ValueError(f"after is a circle: {circle}") from None
        return self

    def order(self) -> list[str]:
        """The scripts in the order in which they run: as listed, but each behind what it waits for.

        CycleError if there is none.
        """
        sorter = TopologicalSorter({name: self.after.get(name, []) for name in self.scripts})
        sorter.prepare()
        found: list[str] = []
        ready: set[str] = set()
        while sorter.is_active():
            ready |= set(sorter.get_ready())
            first = min(ready, key=self.scripts.index)
            ready.remove(first)
            sorter.done(first)
            found.append(first)
        return found


def _texts(value: object) -> list[str] | None:
    found = lines(value)
    is_list = isinstance(found, list) and all(isinstance(one, str) for one in found)
    return found if isinstance(found, list) and is_list else None


def with_names_once(suites: list[Suite]) -> list[Suite]:
    """The suites; ValueError if two have the same name."""
    names = [suite.name for suite in suites]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two suites are called {twice[0]}")
    return suites


Suites = Annotated[list[Suite], AfterValidator(with_names_once)]
