"""Completion of commands, scripts and runs, in a real bash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer.main
from typer._click.shell_completion import get_completion_class
from typer._completion_classes import completion_init

from k6d.cli import completion
from k6d.cli.commands import application, asked
from k6d.storage.store import Store
from support import completion_table
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
def evaluated() -> str:
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
def complete(tmp_path: Path, evaluated: str) -> Callable[[str], list[str]]:
    """Asks bash to complete a line, where two scripts have runs."""
    store = Store(tmp_path / "k6d-data")
    store.save(make_run(script="shop/cart.js"))
    store.save(make_run(script="login.js", test_id="20261123-080000-ab12cd"))
    environment = {"PATH": PATH, "HOME": str(tmp_path), "LANG": "C.UTF-8", "SHELL": "/bin/bash"}

    def ask(line: str) -> list[str]:
        done = subprocess.run(
            ["bash", "--norc", "-c", TAB, "bash", *line.split(" ")],
            cwd=tmp_path,
            env=environment | {"COMPLETION": evaluated},
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


def test_the_table_has_all_options() -> None:
    """The table that answers a Tab is what the commands say; `make docs` writes it."""
    assert completion.TABLE.read_text() == completion_table.table(), "run `make docs`"


LINES = (
    """
k6d sta
k6d show lat
k6d show latest x
k6d history 'sh
k6d history sh
k6d history --li
k6d history --limit _
k6d history --limit 5 sh
k6d history -n 5 sh
k6d history -n5 l
k6d history --json sh
k6d history --json --j
k6d history -- sh
k6d history -- --li
k6d report --form ma
k6d report latest --form=m
k6d search --script s
k6d search --script=s
k6d search --tag a=b --ta
k6d compare latest la
k6d compare latest latest l
k6d delete latest l
k6d delete --script lo
k6d disable login.js sh
k6d help ba
k6d help ba ba
k6d run s
k6d nosuch s
""".strip()
    .replace("_", "")
    .splitlines()
)  # a Tab after a blank: "_" stands for no text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_tab_is_answered_as_by_typer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    """Without typer, a line is completed to what typer completes it to, in each shell's form."""
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "k6d-data")
    store.save(make_run(script="shop/cart.js"))
    store.save(make_run(script="login.js", test_id="20261123-080000-ab12cd"))
    monkeypatch.setenv("_K6D_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    for line in LINES:
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        found = completion.answer()
        if line == "k6d nosuch s":
            assert found is None
        elif line == "k6d sta":  # typer cuts the summary of a command
            assert "stats" in (found or "")
        else:
            assert found == _answer_of_typer(shell), line


def _answer_of_typer(shell: str) -> str:
    completion_init()
    command = typer.main.get_command(application(asked([]) or ""))
    answering = get_completion_class(shell)
    assert answering is not None
    return answering(command, {}, "k6d", "_K6D_COMPLETE").complete()


def test_fish_completes_files_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """fish asks first whether there are values: exit code 0, else it completes files."""
    monkeypatch.setenv("_K6D_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "is-args")
    for line, code in (("k6d report --form ma", 0), ("k6d history --data sh", 1)):
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        with pytest.raises(SystemExit) as ended:
            completion.answer()
        assert ended.value.code == code
