"""The manual in the terminal: its list of pages, one page, the places with given words.

The pages are Markdown files: `docs` in the installed package, `daemon/docs` in a checkout. A
paragraph, a list entry and a table row is one line of its file, so a line is what a search finds.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import k6d
from k6d.core.errors import K6dError
from k6d.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType
    from rich.table import Table

# An entry of the index: - [alerts](alerts.md): who gets which message.
_ENTRY = re.compile(r"- \[[^\]]+\]\(([\w-]+)\.md\): (.+)")
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")
ANYTHING = "…"
_QUESTION = re.compile(  # words of a question that say nothing about its subject
    r"(an?|and|are|can|do|does|for|how|i|in|is|it|my|of|on|or|that|the|to|was|were|what|when|where|"
    r"which|why|with|you)\??",
    re.IGNORECASE,
)
LEAST = 12  # characters of a message, so that "…: …" is none
_PICTURE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\n", re.MULTILINE)


@frozen
class Topic:
    """A page of the manual; `about` says in one line what it answers."""

    name: str
    about: str
    path: Path


@frozen
class Place:
    """A line of a page; `heading` is the nearest one above it."""

    topic: str
    heading: str
    text: str


def folder() -> Path:
    """The folder of the pages."""
    package = Path(k6d.__file__).parent
    inside = package / "docs"
    return inside if inside.is_dir() else package.parent / "docs"


def topics() -> list[Topic]:
    """The pages in the order of the index; K6dError if the manual is not installed."""
    index = folder() / "index.md"
    try:
        text = index.read_text(encoding="utf-8")
    except OSError as error:
        raise K6dError(f"the manual is not there: {index}; install k6d again") from error
    return [
        Topic(name=name, about=about, path=index.with_name(f"{name}.md"))
        for name, about in _ENTRY.findall(text)
    ]


def topic_named(given: str) -> Topic | None:
    """The page with this name, or the only one whose name begins so; None if there is none."""
    word = given.lower().removesuffix(".md")
    begun = [topic for topic in topics() if topic.name.startswith(word)]
    return next((t for t in begun if t.name == word), begun[0] if len(begun) == 1 else None)


def topics_table(found: Sequence[Topic]) -> Table:
    """All pages, one a row."""
    from k6d.cli.render.table import plain_table

    table = plain_table()
    table.add_column("topic", no_wrap=True)
    table.add_column("about", overflow="fold")
    for topic in found:
        table.add_row(topic.name, topic.about)
    table.add_row("", "")
    table.add_row("k6d help TOPIC", "shows a page")
    table.add_row("k6d help WORDS", "finds words in all pages")
    return table


def page(topic: Topic) -> RenderableType:
    """One page, for a terminal; links to other pages become commands."""
    from rich.markdown import Markdown

    text = _PICTURE.sub("", topic.path.read_text(encoding="utf-8"))
    return Markdown(_LINK.sub(_as_command, text), hyperlinks=False)


def _as_command(link: re.Match[str]) -> str:
    text, target = link.groups()
    name = target.partition("#")[0].removesuffix(".md")
    if "://" in target:
        return link.group()
    if target.startswith("#") or any(c in name for c in "./") or f"k6d help {name}" in text:
        return text
    return f"{text} (`k6d help {name}`)"


def find(words: Sequence[str]) -> list[Place]:
    """The lines of the manual about these words, page by page; K6dError if there is none.

    A line has one of the words at least; its heading or the page's name may have the others. The
    words may be a message as k6d printed it, with its names and numbers, or a question.
    """
    subject = [word for word in words if not _QUESTION.fullmatch(word)]
    for wanted in (words, subject):
        if wanted and (found := [p for topic in topics() for p in _places_in(topic, wanted)]):
            return found
    raise K6dError(f"the manual has nothing on {' '.join(words)!r}; 'k6d help' lists its pages")


def places_of(words: Sequence[str]) -> RenderableType:
    """What `find` finds, for a terminal: headings with their lines, the words marked."""
    from rich.console import Group
    from rich.text import Text

    lines: list[Text] = []
    for place in find(words):
        heading = Text(f"{place.topic}: {place.heading}", style="bold")
        if heading not in lines:
            lines.append(heading)
        text = Text(f"  {place.text}")
        text.highlight_words(words, style="reverse", case_sensitive=False)
        lines.append(text)
    return Group(*lines)


def _is_message(line: str, given: str) -> bool:
    """Whether the line is a row about a message that `given` has; … stands for anything."""
    cell = line.split(" | ", maxsplit=1)[0] if line.startswith("| `") else ""
    for message in re.findall(r"`([^`]+)`", cell):
        parts = message.split(ANYTHING)
        found = re.search(".*".join(map(re.escape, parts)), given)
        if found and sum(map(len, parts)) >= LEAST:
            return True
    return False


def _places_in(topic: Topic, words: Sequence[str]) -> Iterator[Place]:
    """The lines about these words; and rows about a message, if the words are one."""
    heading = topic.name
    wanted, given = [word.lower() for word in words], " ".join(words)
    for line in topic.path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|") and not line.strip("|-: "):
            continue
        here, around = line.lower(), f"{topic.name} {heading} {line}".lower()
        has_all = any(word in here for word in wanted) and all(word in around for word in wanted)
        if has_all or _is_message(line, given):
            plain = _LINK.sub(r"\1", line).strip("#-| ").replace("**", "").replace("`", "")
            yield Place(topic=topic.name, heading=heading, text=plain.replace(" | ", "  "))
