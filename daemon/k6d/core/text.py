"""Texts for people: plurals, names of groups and endpoints, printable forms of foreign texts."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def plural(n: int, one: str, many: str | None = None) -> str:
    """The number with its noun: "1 run", "2 runs"; `many` is an irregular plural."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def removed(parts: Collection[str]) -> str:
    """One line about the `parts` of a run that retention removed; "" when it removed none.

    The line names the setting that controls each part.
    """
    texts = {
        "log": "logs and raw metrics (retention.full_days)",
        "breakdown": "endpoints, time line, runners, target's numbers (retention.detail_days)",
    }
    gone = ", ".join(text for part, text in texts.items() if part in parts)
    return gone and f"removed by retention: {gone}"


def group(path: str, name: str = "") -> str:
    """A group's path in k6's form ("::cart::add") and a name in it: "cart › add › is 200"."""
    return " › ".join(part for part in (*path.split("::"), name) if part)


def common_origin(names: Iterable[str]) -> str:
    """The "http://host:port" that all URLs among the names share; "" if they differ or none is."""
    matches = (re.match(r"https?://[^/?#]+(?=/)", name) for name in names)
    origins = {match.group() for match in matches if match}
    return origins.pop() if len(origins) == 1 else ""


def brief(finding: str) -> str:
    """The first clause of a finding, without the host of its endpoint.

    "p95 of POST http://shop/checkout 219 ms, was 89 ms; also …" becomes
    "p95 of POST /checkout 219 ms, was 89 ms". Other addresses stay, such as those in k6's words.
    """
    clause = finding.partition("; ")[0]
    origin = common_origin(re.findall(r"(?<=[A-Z] )https?://\S+", clause))  # after the method
    return re.sub(rf"(?<=[A-Z] ){re.escape(origin)}", "", clause) if origin else clause


_CLAUSE = re.compile(r"(?:“[^”]*”|[^;“])+")  # a mark's text may hold a semicolon
_SINCE = re.compile(r"since run \S+ on [^,]+, \d\d:\d\d UTC(?:, (.+))?")


def circumstances(finding: str) -> str:
    """What changed when a finding began: files and marks; "" if nothing is known of it.

    "p95 219 ms, was 89 ms; since run … on 27 Nov, 06:40 UTC, 4 min after “checkout 2.14”" becomes
    "4 min after “checkout 2.14”".
    """
    for clause in map(str.strip, _CLAUSE.findall(finding)[1:]):
        if since := _SINCE.fullmatch(clause):
            return since[1] or ""
        if re.search(r" changed with th(?:is|at) run\b| after “", clause):
            return clause
    return ""


def printable(text: str, instead: str = " ") -> str:
    """The text with `instead` for each control character and each mark of text direction."""
    return "".join(c if c.isprintable() else instead for c in text)


def one_line(text: str, limit: int) -> str:
    """The text on one line, without control characters, cut to `limit` characters."""
    return shortened(" ".join(printable(text).split()), limit)


def shortened(text: str, limit: int) -> str:
    """The text cut to `limit` characters; "…" is the last one if it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def covers(pattern: str, script: str) -> bool:
    """Whether a pattern covers the script: it is the script's name, or a glob that matches it."""
    return pattern == script or fnmatchcase(script, pattern)
