"""Finds the requests of setup, teardown and `exclude`: they are counted and shown, never judged."""

from __future__ import annotations

from dataclasses import field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from k6d.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SETUP, TEARDOWN, EXCLUDED = "setup", "teardown", "excluded"


@frozen
class Exclude:
    """The requests that a script excludes, by glob patterns (`*`, `?`).

    `names` match the name tag or the URL. `groups` match the path of the group ("login" means
    "::login"). `tags` match the values of tags.
    """

    names: Sequence[str] = ()
    groups: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def matches(self, found: Mapping[str, str]) -> bool:
        """Return whether requests with these tags are excluded."""
        names = [found[tag] for tag in ("name", "url") if tag in found]
        group = found.get("group", "").removeprefix("::")
        return (
            any(_fits(name, pattern) for name in names for pattern in self.names)
            or any(_fits(group, one.removeprefix("::")) for one in self.groups)
            or any(tag in found and _fits(found[tag], self.tags[tag]) for tag in self.tags)
        )


def _fits(text: str, pattern: str) -> bool:
    """Whether a text fits a pattern; "[" is a plain character, as in "?id[0]=1"."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def kind_of(found: Mapping[str, str], exclude: Exclude) -> str | None:
    """Return "setup", "teardown" or "excluded" for requests with these tags; None for the load.

    A script may have its own group named "setup". Its requests have a scenario; those of the
    setup() function have none.
    """
    if "scenario" not in found:
        for phase in (SETUP, TEARDOWN):
            if found.get("group", "").removeprefix("::").split("::")[0] == phase:
                return phase
    return EXCLUDED if exclude.matches(found) else None
