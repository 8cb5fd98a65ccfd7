"""The picture of the rooms in CONTRIBUTING.md is the one that `make check` enforces."""

from __future__ import annotations

import re
import tomllib

from support.paths import ROOT


def test_the_picture_is_the_import_contract() -> None:
    """Floor by floor, and every room stands in the table that says what it may touch."""
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (rooms,) = [one for one in rules["contracts"] if one.get("containers") == ["k6d"]]
    floors = [set(re.findall(r"\w+", floor)) for floor in rooms["layers"]]
    picture = re.search(r"```\n(__main__\n.*?)```", contributing, re.DOTALL)
    assert picture
    assert [set(re.findall(r"\w+", line)) for line in picture[1].splitlines()] == floors
    table = set(re.findall(r"^\| `(\w+)` \|", contributing, re.MULTILINE))
    assert table == set().union(*floors) - {"__main__"}
