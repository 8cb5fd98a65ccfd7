"""The check of the Markdown pages finds what it looks for, and nothing in ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import prose

if TYPE_CHECKING:
    from pathlib import Path


def test_our_pages_are_in_order() -> None:
    """Links and anchors exist; words and sentences are plain."""
    assert list(prose.problems()) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[a](other.md)", None),
        ("[a](other.md#the-k6-daemon-really)", None),
        ("[a](#here)", None),
        ("[a](https://k6.io/nothing)", None),
        ("`[a](gone.md)`", None),
        ("[a](gone.md)", "there is no gone.md"),
        ("![a](gone.png)", "there is no gone.png"),
        ("[a](other.md#gone)", "there is no heading for other.md#gone"),
        ("[a](#gone)", "there is no heading for #gone"),
    ],
)
def test_links(tmp_path: Path, line: str, problem: str | None) -> None:
    """Files and headings must exist; code and other sites are left alone."""
    (tmp_path / "other.md").write_text("# The k6 daemon, really\n")
    page = tmp_path / "page.md"
    text = f"## Here\n\n{line}\n\n```\n[x](in-code.md)\n```\n"
    page.write_text(text)
    assert list(prose.wrong_links(page, text)) == ([(3, problem)] if problem else [])


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("People are told at once.", "“told”"),
        ("In order to run it", "“In order to”"),
        ("Read `told` and dashboards.", None),
        (f"A {'very ' * 40}long sentence.", "a sentence of 43 words"),
        (f"| {'word ' * 20}| {'word ' * 20}|", None),
        (f"{'word ' * 20}. {'word ' * 20}.", None),
    ],
)
def test_words(line: str, found: str | None) -> None:
    """Words of the list and long sentences are found, but not in code; a table cell is one."""
    problems = list(prose.wrong_words(f"# Title\n\n{line}\n"))
    assert [number for number, _ in problems] == ([3] if found else [])
    assert found is None or found in problems[0][1]
