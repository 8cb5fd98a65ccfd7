"""Many scripts at once: a checkout to and fro, a folder away and back."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

from support.daemon import hitting

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import Daemon
    from support.target import Target

BRANCHES = ("one", "two")


def git(folder: Path, *words: str) -> None:
    """A git command in the folder, as somebody whom git needn't know."""
    somebody = {"GIT_AUTHOR_NAME": "k6d", "GIT_AUTHOR_EMAIL": "k6d@example.com"}
    somebody |= {name.replace("AUTHOR", "COMMITTER"): text for name, text in somebody.items()}
    subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *words],
        cwd=folder,
        env=os.environ | somebody,
        check=True,
        capture_output=True,
    )


def repository(daemon: Daemon, target: Target, scripts: int) -> None:
    """The scripts folder as a repository whose two branches differ in every script."""
    git(daemon.scripts, "init")
    for branch in BRANCHES:
        git(daemon.scripts, "checkout", "-b", branch)
        for number in range(scripts):
            url = f"{target.url}/{branch}"
            daemon.write(f"shop/{number}.js", hitting(url, iterations=1) + f"// {number}\n")
        git(daemon.scripts, "add", ".")
        git(daemon.scripts, "commit", "-m", branch)


def hold(daemon: Daemon) -> None:
    """From now on, or from the start, nothing starts by itself: it is maintenance."""
    config = daemon.home / "k6d.toml"
    config.write_text('[schedule]\nmaintenance = ["0 0 * * * for 24h"]\n')
    if daemon.process:
        seen = daemon.log.count("nothing starts now")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.until(lambda: daemon.log.count("nothing starts now") > seen, "it to be held")


def release(daemon: Daemon) -> None:
    """The maintenance is over."""
    (daemon.home / "k6d.toml").write_text("")
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)


def to_and_fro(daemon: Daemon) -> None:
    """Every branch is checked out, the last one last."""
    for branch in (*BRANCHES, *BRANCHES):
        git(daemon.scripts, "checkout", branch)


def away_and_back(daemon: Daemon) -> None:
    """The folder leaves the watched one and comes back."""
    folder, outside = daemon.scripts / "shop", daemon.home / "outside"
    folder.rename(outside)
    daemon.barrier()
    outside.rename(folder)
    daemon.barrier()
