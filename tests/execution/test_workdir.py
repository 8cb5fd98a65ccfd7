"""The folder of a job under way, and what is found of jobs whose process was killed."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from k6d.core.model import Trigger
from k6d.execution.workdir import UnderWay, leftovers, workdir

if TYPE_CHECKING:
    from pathlib import Path

JOB = UnderWay(
    test_id="20261122-120000-3f9a2c",
    script="shop/cart.js",
    trigger=Trigger.CHANGED,
    started=datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
)
KILLED = """
import os, pathlib, signal, sys
from datetime import UTC, datetime
from k6d.core.model import Trigger
from k6d.execution.workdir import UnderWay, workdir

started = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
job = UnderWay(test_id="20261122-120000-3f9a2c", script="shop/cart.js",
               trigger=Trigger.CHANGED, started=started)
with workdir(pathlib.Path(sys.argv[1]), job) as folder:
    (folder / "files").mkdir()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _killed(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False, timeout=120)


def test_the_folder_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    """Also after an error."""
    with workdir(tmp_path, JOB) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "big").write_bytes(b"x")
    assert not folder.exists()
    with pytest.raises(RuntimeError), workdir(tmp_path, JOB) as folder:
        raise RuntimeError
    assert not folder.exists()


def test_a_job_under_way_is_left_alone(tmp_path: Path) -> None:
    """Its lock is held, so it is nobody's leftover."""
    with workdir(tmp_path, JOB) as folder:
        with leftovers(tmp_path) as dead:
            assert dead == []
        assert folder.is_dir()


def test_a_killed_job_is_found_once_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    """The next process gets the record and removes the folder after it has dealt with it."""
    _killed(tmp_path)
    with leftovers(tmp_path) as dead:
        assert dead == [JOB]
        assert (tmp_path / "work" / JOB.test_id).is_dir()
    assert list((tmp_path / "work").iterdir()) == []


def test_dying_while_dealing_with_it_finds_it_again(tmp_path: Path) -> None:
    """The folder goes only when the context is left in peace."""
    _killed(tmp_path)
    with pytest.raises(RuntimeError), leftovers(tmp_path):
        raise RuntimeError
    with leftovers(tmp_path) as dead:
        assert dead == [JOB]


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"test_id": "x"}'])
def test_a_job_that_had_not_begun_is_cleaned_away(tmp_path: Path, content: bytes | None) -> None:
    """Killed before or while its record was written: there is nothing to record."""
    folder = tmp_path / "work" / JOB.test_id
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "job.json").write_bytes(content)
    with leftovers(tmp_path) as dead:
        assert dead == []
    assert not folder.exists()


def test_no_folder_no_leftovers(tmp_path: Path) -> None:
    """The first start of all."""
    with leftovers(tmp_path / "none") as dead:
        assert dead == []
