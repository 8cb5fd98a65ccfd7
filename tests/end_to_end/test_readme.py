"""The front page: every command and block, run in order as a newcomer would run it."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.pages import Shell, blocks_of
from support.paths import ROOT
from support.serving import free_port

if TYPE_CHECKING:
    from pathlib import Path

README = ROOT / "README.md"
BLOCKS = blocks_of(README)
SHELL = [block.text for block in BLOCKS if block.language == "sh"]
MOST_WORDS = 1000
# Run elsewhere: `make -n` below shows what they start; tests/fresh_root.sh runs all three.
ELSEWHERE = ("make demo", "make test", "python3 -m venv")
INCIDENTS = (1, "k6d incidents")  # its exit code says that there is one
# A person waits for this text after a block that has that command.
WAITS = {
    "k6d demo-target &": "A shop runs at",
    "k6d serve &": "watching ",
    "sed -i": "delivered 1 message to json://",
}


def test_the_front_page_is_short() -> None:
    """It has at most a thousand words, code included."""
    assert len(README.read_text().split()) <= MOST_WORDS


def test_every_block_is_known_here() -> None:
    """A block in a new language is noticed; the commands that run elsewhere come first."""
    assert {block.language for block in BLOCKS} == {"", "sh"}
    assert [text.startswith(ELSEWHERE) for text in SHELL] == [True] * 3 + [False] * (len(SHELL) - 3)


def test_the_set_up_commands_exist() -> None:
    """`make` knows the commands and what they run (the demo and the tests run by themselves)."""
    for command, runs in (("demo", "k6d demo"), ("test", "pytest")):
        done = subprocess.run(
            ["make", "-n", command], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert runs in done.stdout


@pytest.mark.long
def test_first_alert(tmp_path: Path) -> None:
    """From nothing to a first alert, block by block, in one shell.

    Result: each block works, the script is healthy at first, and the alert is printed by the
    target in the words of the front page.
    """
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    shop, api = free_port(), free_port()
    with Shell(
        home,
        work=work,
        quick=False,
        K6D_API__PORT=str(api),
        K6D_NOTIFY__GROUP_WAIT="0",
        K6D_COMPARE__MAX_CPU="100",  # a busy test machine is no doubt of a run
    ) as shell:
        for text in SHELL[len(ELSEWHERE) :]:
            here = text.replace("127.0.0.1:8090", f"127.0.0.1:{shop}")
            here = here.replace("k6d demo-target", f"k6d demo-target --port {shop}")
            here = here.replace("'5s'", "'1s'")
            begin = len(shell.output)
            shell.run(here)
            assert shell.failed == ([INCIDENTS] if INCIDENTS[1] in text else []), shell.output
            for command, wanted in WAITS.items():
                if command in text:
                    shell.until(wanted, begin=begin)
            if "k6d run" in text:
                assert "healthy  shop.js" in shell.output[begin:]
        (shown,) = (block.text for block in BLOCKS if block.text.startswith("[HIGH]"))
        said = re.sub(r"\d+", "N", shown.strip())
        assert f"  │ {said}" in re.sub(r"\d+", "N", shell.output), shell.output
        shell.until("stopped")
