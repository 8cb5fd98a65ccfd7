"""Tags of runs, the commit of a script, and how a person names runs by them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_TAGS = 20  # of one run; they are in the index
LONGEST_VALUE = 200
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
# A run has these from the commit of its script; a tag of the same name replaces one.
BRANCH, COMMIT = "branch", "commit"
SHORTEST_COMMIT = 7


@frozen
class Commit:
    """The commit that was checked out when a script ran.

    `branch` is None for a detached HEAD. `author` and `subject` are None if the commit could not
    be read. `modified`: the script's file differs from that of the commit; None if not known.
    """

    id: str
    branch: str | None = None
    author: str | None = None
    subject: str | None = None
    modified: bool | None = None

    @property
    def line(self) -> str:
        """The commit in one line: "1a2b3c4d on main, Anna: faster checkout"."""
        author = f", {self.author}" if self.author else ""
        about = f"{author}: {self.subject}" if self.subject else author
        changed = "; the script was changed since" if self.modified else ""
        return f"{self.id[:8]}{f' on {self.branch}' if self.branch else ''}{about}{changed}"


def checked(name: str, value: str) -> tuple[str, str]:
    """The tag itself; ValueError says what is wrong with its name or its value."""
    if not NAME.fullmatch(name):
        rule = "letters, digits and . _ - only, 64 at most, a letter or _ first"
        raise ValueError(f"{name[:64]!r} cannot name a tag: {rule}")
    if not value or len(value) > LONGEST_VALUE or printable(value, "") != value:
        raise ValueError(f"the value of {name} should be a text of 1 to {LONGEST_VALUE} characters")
    return name, value


def parsed(given: Iterable[str]) -> dict[str, str]:
    """Tags from texts such as "release=2.14"; ValueError names the first wrong one."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text[:64]!r} should be NAME=VALUE, such as release=2.14")
        name, value = checked(name, value)
        found[name] = value
    if len(found) > MOST_TAGS:
        raise ValueError(f"{len(found)} tags are too many: a run has {MOST_TAGS} at most")
    return found


def indexed(record: Mapping[str, Any]) -> dict[str, str] | None:
    """The tags by which a run is found: its own, and its branch and commit; None without any."""
    commit = record.get("commit") or {}
    git = {BRANCH: commit.get("branch"), COMMIT: commit.get("id")}
    return {k: v for k, v in git.items() if v} | (record.get("tags") or {}) or None


def tags_line(tags: Mapping[str, str]) -> str:
    """The tags in one line: "release=2.14, stage=test"."""
    return ", ".join(f"{name}={value}" for name, value in tags.items())


def matches(tags: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    """Whether a run has all of the wanted tags; the start of a commit's id is enough."""
    has = tags or {}
    return all(
        has.get(name) == value
        or (
            name == COMMIT and len(value) >= SHORTEST_COMMIT and has.get(name, "").startswith(value)
        )
        for name, value in wanted.items()
    )
