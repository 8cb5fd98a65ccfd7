"""Scripts in a cluster change by swapped links: those of a ConfigMap, and those of git-sync."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from k6d.scripts.watcher import Watcher

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "export default function () {}\n"


def link(path: Path, target: str) -> None:
    """Set a link in one step, as both do."""
    path.with_name("new-link").symlink_to(target)
    path.with_name("new-link").rename(path)


def put_configmap(root: Path, number: int, scripts: dict[str, str]) -> None:
    """Update a volume as the kubelet does: a new folder, a link to it, the old folder goes."""
    old = (root / "..data").resolve() if (root / "..data").exists() else None
    folder = root / f"..2026_11_27_{number}"
    folder.mkdir(parents=True)
    for name, text in scripts.items():
        (folder / name).write_text(text)
    link(root / "..data", folder.name)
    for name in scripts:
        if not (root / name).is_symlink():
            (root / name).symlink_to(f"..data/{name}")
    for one in root.glob("*.js"):
        if not one.exists():
            one.unlink()
    if old:
        shutil.rmtree(old)


def put_commit(root: Path, number: int, scripts: dict[str, str]) -> None:
    """Check a commit out as git-sync does: a work tree of its own, and the link to it."""
    old = (root / "current").resolve() if (root / "current").exists() else None
    folder = root / ".worktrees" / f"commit-{number}"
    folder.mkdir(parents=True)
    for name, text in scripts.items():
        (folder / name).write_text(text)
    link(root / "current", f".worktrees/{folder.name}")
    if old:
        shutil.rmtree(old)


async def collect(watcher: Watcher, paths: set[Path]) -> None:
    """These paths are reported. Others may be: their file is another one with the same text."""
    left = set(paths)
    async with asyncio.timeout(10):
        while left:
            left -= await watcher.next_batch()


async def test_a_configmap_is_followed(tmp_path: Path) -> None:
    """A changed, a new and a removed script are reported under the names that stay."""
    first, second = tmp_path / "first.js", tmp_path / "second.js"
    put_configmap(tmp_path, 1, {"first.js": TEXT})
    async with Watcher(tmp_path, settle_s=0.1, rescan_s=0.3) as watcher:
        await collect(watcher, {first})
        put_configmap(tmp_path, 2, {"first.js": TEXT + "// changed\n", "second.js": TEXT})
        await collect(watcher, {first, second})
        put_configmap(tmp_path, 3, {"second.js": TEXT})
        await collect(watcher, {first})


async def test_git_sync_is_followed(tmp_path: Path) -> None:
    """The scripts folder is the link that a new commit replaces."""
    current = tmp_path / "current"
    first, second = current / "first.js", current / "second.js"
    put_commit(tmp_path, 1, {"first.js": TEXT})
    async with Watcher(current, settle_s=0.1, rescan_s=0.3) as watcher:
        await collect(watcher, {first})
        put_commit(tmp_path, 2, {"first.js": TEXT + "// changed\n", "second.js": TEXT})
        await collect(watcher, {first, second})
        put_commit(tmp_path, 3, {"second.js": TEXT})
        await collect(watcher, {first})
