"""Commands of git in a checkout, as a person who is called Anna."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from support.programs import program

if TYPE_CHECKING:
    from pathlib import Path

WHO = {
    "GIT_AUTHOR_NAME": "Anna", "GIT_AUTHOR_EMAIL": "anna@example.org",
    "GIT_COMMITTER_NAME": "Anna", "GIT_COMMITTER_EMAIL": "anna@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
}  # fmt: skip


def git(folder: Path, *words: str) -> str:
    """What a command of git prints in that folder."""
    program("git")
    return subprocess.run(
        ["git", *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)} | WHO,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
