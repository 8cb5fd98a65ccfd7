"""Reads which commit of a git checkout a script belongs to, and never runs code of the checkout.

HEAD and the references are read as files. git itself only decodes objects: it gets an empty
repository of ours, and the checkout's folder of objects. So it reads neither the configuration of
the checkout nor that of the user, and knows no hook, filter, helper, pager or remote of them.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from k6d.core.reading import open_regular, text_of
from k6d.core.tags import Commit
from k6d.core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_FOLDERS = 40  # above the script; a `.git` further up is none of it
MOST_REFERENCES = 16 << 20  # bytes of packed-refs
MOST_COMMIT = 64 << 10  # bytes of one commit; a longer one has no author and subject here
MOST_SCRIPT = 16 << 20
LIMIT_S = 5.0
_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BRANCH = re.compile(r"refs/heads/[^\x00-\x20~^:?*\[\\\x7f]+")


def commit_of(script: Path, *, hide: Callable[[str], str] = str) -> Commit | None:
    """The commit that is checked out where the script is; None if that is no git checkout.

    Without git, or if it cannot read the commit, only id and branch are known. `hide` removes
    secrets from texts.
    """
    found = _git_folder(script)
    if found is None:
        return None
    top, git, common = found
    head = (text_of(git / "HEAD", 1024) or "").strip()
    reference = head.removeprefix("ref: ").strip() if head.startswith("ref: ") else None
    if reference is not None and not _is_branch(reference):
        return None
    commit_id = _target(reference, common) if reference else head
    if not _ID.fullmatch(commit_id):
        return None
    branch = hide(one_line(reference.removeprefix("refs/heads/"), 200)) if reference else None
    author, subject, blob = _decoded(commit_id, common, str(script.relative_to(top)))
    return Commit(
        id=commit_id,
        branch=branch,
        author=author and hide(one_line(author, 100)),
        subject=subject and hide(one_line(subject, 200)),
        modified=None if blob is None else _blob_id(script, blob) != blob,
    )


def _git_folder(script: Path) -> tuple[Path, Path, Path] | None:
    """The top of the checkout, its git folder, and the folder that its worktrees share."""
    for top in script.parents[:MOST_FOLDERS]:
        place = top / ".git"
        if place.is_dir():
            git = place
        elif place.is_file():  # a worktree or a submodule
            text = (text_of(place, 4096) or "").strip()
            if not text.startswith("gitdir: ") or "\0" in text:
                return None
            git = top / text.removeprefix("gitdir: ")
        else:
            continue
        shared = (text_of(git / "commondir", 4096) or "").strip()
        return top, git, git / shared if shared and "\0" not in shared else git
    return None


def _is_branch(reference: str) -> bool:
    plain = _BRANCH.fullmatch(reference) is not None
    return plain and not {"", ".", ".."} & set(reference.split("/"))


def _target(reference: str, common: Path) -> str:
    """The id that a branch points to; "" for a branch without a commit."""
    if found := (text_of(common / reference, 1024) or "").strip():
        return found
    packed = text_of(common / "packed-refs", MOST_REFERENCES) or ""
    ending = f" {reference}"
    return next((line[: -len(ending)] for line in packed.splitlines() if line.endswith(ending)), "")


def _decoded(commit_id: str, common: Path, path: str) -> tuple[str | None, str | None, str | None]:
    """Author and subject of the commit, and the id of the script in it; None for what fails."""
    git = shutil.which("git")
    if git is None or "\n" in path:
        return None, None, None
    with tempfile.TemporaryDirectory(prefix="k6d-git-") as empty:
        for name in ("objects", "refs"):
            (Path(empty) / name).mkdir()
        (Path(empty) / "HEAD").write_text("ref: refs/heads/none\n")
        if len(commit_id) == 64:
            config = "[core]\nrepositoryformatversion = 1\n[extensions]\nobjectformat = sha256\n"
            (Path(empty) / "config").write_text(config)
        environment = _environment(Path(empty), common / "objects")
        asked = f"{commit_id}\n{commit_id}:{path}\n".encode(errors="surrogateescape")
        listed = _git([git, "cat-file", "--batch-check"], asked, environment).splitlines()
        kinds = [line.rsplit(b" ", 2) for line in listed]
        if not kinds or kinds[0][1:2] != [b"commit"] or int(kinds[0][2]) > MOST_COMMIT:
            return None, None, None
        text = _git([git, "cat-file", "commit", commit_id], b"", environment)
    blob = kinds[1][0].decode() if len(kinds) > 1 and kinds[1][1:2] == [b"blob"] else None
    return *_author_and_subject(text.decode(errors="replace")), blob


def _environment(empty: Path, objects: Path) -> dict[str, str]:
    """Variables for git: our empty repository, these objects, and no configuration at all."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(empty),
        "LC_ALL": "C",
        "GIT_DIR": str(empty),
        "GIT_OBJECT_DIRECTORY": str(objects),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "",  # no transport may be used, whatever asks for one
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
    }


def _git(command: list[str], given: bytes, environment: dict[str, str]) -> bytes:
    """What git prints; nothing if it fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            input=given,
            env=environment,
            cwd=environment["GIT_DIR"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return done.stdout if done.returncode == 0 else b""


def _author_and_subject(commit: str) -> tuple[str | None, str | None]:
    head, _, message = commit.partition("\n\n")
    lines = (line for line in head.splitlines() if line.startswith("author "))
    author = next(lines, "").removeprefix("author ").partition(" <")[0]
    return author or None, message.strip().partition("\n")[0].strip() or None


def _blob_id(script: Path, like: str) -> str | None:
    """The id that git would give the script now; None if it cannot be read."""
    try:
        with open_regular(script) as file:
            contents = file.read(MOST_SCRIPT + 1)
    except (OSError, ValueError):
        return None
    made = hashlib.sha256() if len(like) == 64 else hashlib.sha1(usedforsecurity=False)
    made.update(b"blob %d\0" % len(contents) + contents)
    return made.hexdigest()
