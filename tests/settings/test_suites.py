"""Suites in the settings: their order, and each mistake as one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from k6d.core.model import K6dError
from k6d.settings import load
from k6d.settings.suites import Suite

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("after", "order"),
    [
        ({}, ["a.js", "b.js", "c.js", "d.js"]),
        ({"a.js": "c.js"}, ["b.js", "c.js", "a.js", "d.js"]),
        ({"a.js": ["d.js", "b.js"], "b.js": "c.js"}, ["c.js", "b.js", "d.js", "a.js"]),
        ("c.js", ["c.js", "a.js", "b.js", "d.js"]),
        (["d.js", "c.js"], ["c.js", "d.js", "a.js", "b.js"]),
    ],
)
def test_the_order_is_the_list_with_each_behind_what_it_waits_for(
    after: object, order: list[str]
) -> None:
    """Scripts that wait for nothing stay in the order of the list."""
    scripts = ["a.js", "b.js", "c.js", "d.js"]
    suite = Suite.model_validate({"name": "shop", "scripts": scripts, "after": after})
    assert suite.order() == order


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            'name = "shop"\nscripts = ["a.js", "b.js"]\nafter = {"a.js" = "b.js", "b.js" = "a.js"}',
            "suites.0: after is a circle: a.js after b.js after a.js",
        ),
        (
            'name = "shop"\nscripts = ["a.js"]\nafter = {"a.js" = "a.js"}',
            "after is a circle: a.js after a.js",
        ),
        (
            'name = "shop"\nscripts = ["a.js"]\nafter = {"a.js" = "x.js"}',
            "after names x.js, which is not among the scripts",
        ),
        (
            'name = "shop"\nscripts = ["a.js", "b.js"]\nafter = "x.js"',
            "after names x.js, which is not among the scripts",
        ),
        ('name = "shop"\nscripts = ["a.js"]\nafter = 3', "suites.0.after"),
        ('name = "shop"\nscripts = ["a.js", "b.js"]\nafter = [3]', "suites.0"),
        ('name = "shop"\nscripts = ["a.js", "a.js"]', "a.js is twice among the scripts"),
        ('name = "shop"\nscripts = []', "suites.0.scripts: should not be empty"),
        ('scripts = ["a.js"]', "suites.0.name: is missing"),
        ('name = "a/b"\nscripts = ["a.js"]', "'a/b' should be a name of letters"),
        ('name = "shop"\nscripts = ["a.js"]\ncron = "soon"', "suites.0.cron"),
        ('name = "shop"\nscript = ["a.js"]', "did you mean suites.0.scripts?"),
        (
            'name = "shop"\nscripts = ["a.js"]\n[[suites]]\nname = "shop"\nscripts = ["b.js"]',
            "suites: two suites are called shop",
        ),
    ],
)
def test_each_mistake_is_one_line(tmp_path: Path, text: str, why: str) -> None:
    """With the file and the key."""
    (tmp_path / "k6d.toml").write_text(f"[[suites]]\n{text}\n")
    with pytest.raises(K6dError) as caught:
        load(tmp_path / "k6d.toml")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path}/k6d.toml: ")
    assert why in line
