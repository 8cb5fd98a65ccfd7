"""The commit of a script, from real checkouts; a hostile one runs nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from k6d.scripts.commit import commit_of
from support.checkout import git

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a script in a folder, on the branch shop/faster."""
    top = tmp_path / "checkout"
    (top / "load").mkdir(parents=True)
    git(top, "init", "-q", "-b", "shop/faster")
    (top / "load" / "cart.js").write_text("export default function () {}\n")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "Faster checkout\n\nWith a body.")
    return top


@pytest.mark.parametrize("packed", [False, True])
def test_commit_branch_author_and_subject(checkout: Path, packed: bool) -> None:
    """Also when objects and references are packed, as after a clone; an edit is seen."""
    if packed:
        git(checkout, "gc", "-q")
        git(checkout, "pack-refs", "--all")
    script = checkout / "load" / "cart.js"
    found = commit_of(script)
    assert found is not None
    assert found.id == git(checkout, "rev-parse", "HEAD")
    assert (found.branch, found.author) == ("shop/faster", "Anna")
    assert (found.subject, found.modified) == ("Faster checkout", False)
    assert found.line == f"{found.id[:8]} on shop/faster, Anna: Faster checkout"
    script.write_text("export default function () { }\n")
    edited = commit_of(script)
    assert edited is not None
    assert edited.modified is True
    assert edited.line.endswith("; the script was changed since")


def test_a_worktree_a_detached_head_and_sha256(checkout: Path, tmp_path: Path) -> None:
    """Each names its own commit; a script that is not in it is not known to be modified."""
    git(checkout, "worktree", "add", "-q", "-b", "other", str(tmp_path / "tree"))
    (tmp_path / "tree" / "new.js").touch()
    other = commit_of(tmp_path / "tree" / "new.js")
    assert other is not None
    assert (other.branch, other.modified) == ("other", None)
    git(checkout, "checkout", "-q", "--detach")
    detached = commit_of(checkout / "load" / "cart.js")
    assert detached is not None
    assert (detached.branch, detached.subject) == (None, "Faster checkout")
    new = tmp_path / "new"
    new.mkdir()
    git(new, "init", "-q", "--object-format=sha256", "-b", "main")
    assert commit_of(new / "a.js") is None, "it has no commit yet"
    (new / "a.js").touch()
    git(new, "add", ".")
    git(new, "commit", "-q", "-m", "First")
    long = commit_of(new / "a.js")
    assert long is not None
    assert (len(long.id), long.subject, long.modified) == (64, "First", False)


def test_without_git_id_and_branch_are_known(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are read from files."""
    monkeypatch.setenv("PATH", str(tmp_path))
    found = commit_of(checkout / "load" / "cart.js")
    assert found is not None
    assert (found.branch, found.author, found.modified) == ("shop/faster", None, None)


def test_secrets_in_a_subject_are_hidden(checkout: Path) -> None:
    """By the function that hides them everywhere."""
    found = commit_of(checkout / "load" / "cart.js", hide=lambda t: t.replace("checkout", "…"))
    assert found is not None
    assert found.subject == "Faster …"


def test_a_hostile_checkout_runs_nothing(checkout: Path, tmp_path: Path) -> None:
    """Whatever its configuration, hooks, attributes and references say."""
    trap = tmp_path / "trap"
    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {trap}\n")
    evil.chmod(0o755)
    for key in (
        *("core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "gpg.program"),
        *("core.gitProxy", "diff.external", "filter.evil.clean", "filter.evil.smudge"),
        *("alias.cat-file", "credential.helper", "core.alternateRefsCommand", "core.askPass"),
    ):
        git(checkout, "config", key, str(evil))
    git(checkout, "config", "log.showSignature", "true")
    git(checkout, "config", "core.hooksPath", str(tmp_path))
    git(checkout, "config", "remote.evil.url", f"ext::{evil}")
    git(checkout, "config", "remote.evil.promisor", "true")
    git(checkout, "config", "protocol.ext.allow", "always")
    git(checkout, "config", "extensions.partialClone", "evil")
    git(checkout, "config", "core.repositoryformatversion", "1")
    (checkout / ".gitattributes").write_text("* filter=evil diff=evil\n")
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        (checkout / ".git" / "hooks" / hook).write_bytes(evil.read_bytes())
        (checkout / ".git" / "hooks" / hook).chmod(0o755)
    script = checkout / "load" / "cart.js"
    known = commit_of(script)
    assert known is not None
    assert known.subject == "Faster checkout"
    # A commit that is missing would be fetched from the promisor, which runs its command.
    (checkout / ".git" / "refs" / "heads" / "shop" / "faster").write_text(f"{'1' * 40}\n")
    missing = commit_of(script)
    assert missing is not None
    assert (missing.id, missing.subject) == ("1" * 40, None)
    assert not trap.exists()


@pytest.mark.parametrize(
    "head",
    [
        "", "\0", "ref: refs/heads/../../../etc/passwd", "ref: /etc/passwd", "ref: refs/heads/",
        "--upload-pack=x", "0" * 39, "ref: refs/heads/a\nb", "g" * 40, "ref: refs/tags/x",
    ],
)  # fmt: skip
def test_a_head_that_is_none_gives_no_commit(checkout: Path, head: str) -> None:
    """It names a file outside, an option or nothing."""
    (checkout / ".git" / "HEAD").write_text(f"{head}\n")
    assert commit_of(checkout / "load" / "cart.js") is None


def test_pipes_in_place_of_files_hold_nothing_up(checkout: Path) -> None:
    """HEAD, a reference or an object: each is a pipe that nobody writes to."""
    script, folder = checkout / "load" / "cart.js", checkout / ".git"
    commit_id = git(checkout, "rev-parse", "HEAD")
    (folder / "HEAD").unlink()
    os.mkfifo(folder / "HEAD")
    assert commit_of(script) is None
    (folder / "HEAD").unlink()
    (folder / "HEAD").write_text(f"{commit_id}\n")
    (folder / "packed-refs").unlink(missing_ok=True)
    os.mkfifo(folder / "packed-refs")
    found = commit_of(script)
    assert found is not None
    assert found.id == commit_id


def test_no_checkout_no_commit(tmp_path: Path) -> None:
    """A folder without .git, and one whose .git is a text of another kind."""
    (tmp_path / "a.js").touch()
    assert commit_of(tmp_path / "a.js") is None
    (tmp_path / ".git").write_text("hello")
    assert commit_of(tmp_path / "a.js") is None
