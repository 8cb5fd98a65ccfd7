"""Requests that prepare a test, or that its script leaves out: counted, shown, never judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SETUP, TEARDOWN, EXCLUDED = "setup", "teardown", "excluded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclude:
    """What a script leaves out, by patterns as of file names (`*`, `?`).

    `names` are of the name tag or the URL, `groups` of the group's path ("login" is "::login").
    """

    names: Sequence[str] = ()
    groups: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def matches(self, found: Mapping[str, str]) -> bool:
        """Whether requests with these tags are left out."""
        names = [found[tag] for tag in ("name", "url") if tag in found]
        group = found.get("group", "").removeprefix("::")
        return (
            any(fnmatchcase(name, pattern) for name in names for pattern in self.names)
            or any(fnmatchcase(group, one.removeprefix("::")) for one in self.groups)
            or any(tag in found and fnmatchcase(found[tag], self.tags[tag]) for tag in self.tags)
        )


def kind_of(found: Mapping[str, str], exclude: Exclude) -> str | None:
    """Why requests with these tags stand apart; None for the load itself.

    A group of the script's own may be called setup as well; its requests have a scenario.
    """
    if "scenario" not in found:
        for phase in (SETUP, TEARDOWN):
            if found.get("group", "").removeprefix("::").split("::")[0] == phase:
                return phase
    return EXCLUDED if exclude.matches(found) else None
