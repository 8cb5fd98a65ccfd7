"""Completion of commands, scripts and runs, in a real bash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from k6d.storage.store import Store
from support.daemon import PATIENCE_S
from support.records import make_run

if TYPE_CHECKING:
    from collections.abc import Callable

# What bash does for a Tab at the end of the line.
TAB = """
eval "$COMPLETION"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_k6d_completion k6d "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


@pytest.fixture(scope="module")
def completion() -> str:
    """What a shell evaluates once, when it starts; k6d asks which shell its parent is."""
    return subprocess.run(
        ["bash", "--norc", "-c", "k6d --show-completion || exit 1"],
        env={"PATH": PATH, "LANG": "C.UTF-8", "SHELL": "/bin/bash"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    ).stdout


@pytest.fixture
def complete(tmp_path: Path, completion: str) -> Callable[[str], list[str]]:
    """Asks bash to complete a line, where two scripts have runs."""
    store = Store(tmp_path / "k6d-data")
    store.save(make_run(script="shop/cart.js"))
    store.save(make_run(script="login.js", test_id="20261123-080000-ab12cd"))
    environment = {"PATH": PATH, "HOME": str(tmp_path), "LANG": "C.UTF-8", "SHELL": "/bin/bash"}

    def ask(line: str) -> list[str]:
        done = subprocess.run(
            ["bash", "--norc", "-c", TAB, "bash", *line.split(" ")],
            cwd=tmp_path,
            env=environment | {"COMPLETION": completion},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
        assert not done.stderr
        return done.stdout.split()

    return ask


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("k6d sta", ["stats"]),
        ("k6d history sh", ["shop/cart.js"]),
        ("k6d trend ", ["login.js", "shop/cart.js"]),
        ("k6d accept l", ["login.js"]),
        ("k6d mute l", ["login.js"]),
        ("k6d search --script s", ["shop/cart.js"]),
        ("k6d show 20261122", ["20261122-120000-3f9a2c"]),
        ("k6d compare latest 20261123", ["20261123-080000-ab12cd"]),
        ("k6d report lat", ["latest"]),
        ("k6d help ba", ["baselines"]),
        ("k6d explain 202611", ["20261123-080000-ab12cd", "20261122-120000-3f9a2c"]),
        ("k6d show zzz", []),
    ],
)
def test_a_tab_completes(
    complete: Callable[[str], list[str]], line: str, expected: list[str]
) -> None:
    """Commands by their name, scripts and runs by what is stored, the newest run first."""
    assert complete(line) == expected
