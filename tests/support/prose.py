"""Checks the Markdown pages: links, anchors, words and the length of sentences. `make check`.

Links are checked in all pages; words and sentences in the manual, in the
pages at the top and in the two pages with measured figures.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]

if TYPE_CHECKING:
    from collections.abc import Iterator

# Beside the pages at the top: where words and sentences are checked, too.
PLAIN = ("daemon/docs/", "daemon/k6d/analysis/README.md", "tests/benchmarks/README.md")
MOST_WORDS = 28  # in one sentence
# What a reader stumbles on, and what to write instead.
WORDS = {
    r"told|tells? (?:nobody|everybody|people)": "reported, sent, shown",
    r"standings?": "state",
    r"courier|desk|gate|seal(?:ed)?|lantern|ledger|herald": "the field's own word",
    r"in order to": "to",
    r"utili[sz]e[sd]?|leverag\w+": "use",
    r"due to the fact that|owing to": "because",
    r"prior to": "before",
    r"in the event (?:of|that)": "if",
    r"at this point in time": "now",
    r"whilst|thereof|thereby|hereby|herein|wherein": "while, of it, by it",
    r"it (?:should be noted|is important to note)": "(leave it out)",
    r"simply|obviously|of course|basically": "(leave it out)",
    r"for want of": "without",
    r"is no longer": "is not … any more",
    r"e\.g\.|i\.e\.": "for example, that is",
}
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`[^`]*`")
_SENTENCE_END = re.compile(r"(?<=[.!?:])(?:\s+|$)")


def problems() -> Iterator[str]:
    """One line for each mistake in a page that git knows or may know."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        page = ROOT / name
        if page.name == "settings_page.md" or not page.exists():
            continue
        text = page.read_text()
        found = list(wrong_links(page, text))
        if "/" not in name or name.startswith(PLAIN):
            found += wrong_words(text)
        yield from (f"{name}:{line}: {what}" for line, what in sorted(found))


def wrong_links(page: Path, text: str) -> Iterator[tuple[int, str]]:
    """The links to files and headings that do not exist, with their lines."""
    for number, line in _prose(text):
        for target in _LINK.findall(_INLINE.sub("", line)):
            path, _, anchor = target.partition("#")
            if "://" in target or path.startswith("mailto:"):
                continue
            file = (page.parent / path) if path else page
            if not file.exists():
                yield number, f"there is no {target}"
            elif anchor and anchor not in anchors(file.read_text()):
                yield number, f"there is no heading for {target}"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = [line.lstrip("# ") for _, line in _prose(text) if line.startswith("#")]
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def wrong_words(text: str) -> Iterator[tuple[int, str]]:
    """Words to avoid, and sentences that are too long, with their lines."""
    for number, line in _prose(text):
        plain = _INLINE.sub("X", _LINK.sub("X", line))
        for pattern, better in WORDS.items():
            for found in re.finditer(rf"\b(?:{pattern})(?!\w)", plain, re.IGNORECASE):
                yield number, f"write “{better}” instead of “{found[0]}”"
        for part in plain.split("|"):
            for sentence in _SENTENCE_END.split(part):
                if (count := len(sentence.split())) > MOST_WORDS:
                    begin = " ".join(sentence.split()[:6])
                    yield number, f"a sentence of {count} words, at most {MOST_WORDS}: {begin} …"


def _prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines outside of code blocks, with their numbers."""
    blank = _CODE.sub(lambda block: "\n" * block[0].count("\n"), text)
    return ((number, line) for number, line in enumerate(blank.splitlines(), 1) if line.strip())


def main() -> int:
    """Write all problems to standard output; 1 if there are any."""
    found = list(problems())
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
