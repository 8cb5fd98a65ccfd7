"""Texts for people: plurals, names of groups and endpoints, foreign texts made printable."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def plural(n: int, one: str, many: str | None = None) -> str:
    """ "1 run", "2 runs"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def removed(parts: Collection[str]) -> str:
    """What retention removed of a run, and the settings that say when; "" for nothing."""
    told = {
        "log": "logs and raw metrics (retention.full_days)",
        "breakdown": "endpoints and time line (retention.detail_days)",
    }
    gone = ", ".join(text for part, text in told.items() if part in parts)
    return gone and f"removed by retention: {gone}"


def group(path: str, name: str = "") -> str:
    """k6's path of a group, and what is in it, as people read them: "cart › add › is 200"."""
    return " › ".join(part for part in (*path.split("::"), name) if part)


def common_origin(names: Iterable[str]) -> str:
    """The "http://host:port" of all names that are URLs, "" if there are several."""
    matches = (re.match(r"https?://[^/?#]+(?=/)", name) for name in names)
    origins = {match.group() for match in matches if match}
    return origins.pop() if len(origins) == 1 else ""


def printable(text: str, instead: str = " ") -> str:
    """Text from anybody without what drives a terminal or turns the direction of text."""
    return "".join(c if c.isprintable() else instead for c in text)


def one_line(text: str, limit: int) -> str:
    """Text from anybody on one line, without control characters, cut at `limit`."""
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
