"""Files that a script wrote, kept beside its run: found by name, removed and exported with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from k6d.core.measurements import KeptFile
from k6d.core.model import K6dError
from k6d.storage import backup
from k6d.storage.data_folder import LinkError
from k6d.storage.store import Store
from support.records import make_run

if TYPE_CHECKING:
    from pathlib import Path

FILES = [("report.json", b"{}"), ("out/a.html", b"<b>"), ("../up", b"up")]


def _filled(data: Path) -> tuple[Store, str]:
    store, run = Store(data), make_run(files=[KeptFile(name="report.json", bytes=2)])
    store.keep_files(run.test_id, FILES)
    store.save(run)
    return store, run.test_id


def test_a_file_is_found_by_its_name_alone(tmp_path: Path) -> None:
    """Nothing is unpacked, so no name leads anywhere."""
    store, test_id = _filled(tmp_path / "data")
    for name, contents in FILES:
        assert store.kept_file(test_id, name) == contents
    for name in ("other", "out", "/etc/passwd", "../../state"):
        with pytest.raises(K6dError, match="has no file"):
            store.kept_file(test_id, name)
    assert not list(tmp_path.rglob("up"))
    assert store.load(test_id).files == [KeptFile(name="report.json", bytes=2)]


def test_a_run_without_files_says_so(tmp_path: Path) -> None:
    """In one line."""
    store, run = Store(tmp_path), make_run()
    store.save(run)
    with pytest.raises(K6dError, match=r"has no file 'report\.json'"):
        store.kept_file(run.test_id, "report.json")


def test_they_go_with_their_run_and_count_as_its_bytes(tmp_path: Path) -> None:
    """What is removed leaves nothing behind."""
    store, test_id = _filled(tmp_path)
    assert store.run_bytes(test_id) > store.run_path(test_id).stat().st_size
    store.delete([test_id])
    assert [path for path in (tmp_path / "runs").rglob("*") if path.is_file()] == []


def test_they_are_exported_and_come_back(tmp_path: Path) -> None:
    """With their run, which is counted once."""
    _, test_id = _filled(tmp_path / "old")
    assert backup.export(tmp_path / "old", tmp_path / "k6d.tar.gz") == 1
    new = Store(tmp_path / "new")
    assert backup.restore(tmp_path / "new", tmp_path / "k6d.tar.gz", new).runs == 1
    assert new.kept_file(test_id, "report.json") == b"{}"


def test_a_link_in_their_place_is_not_followed(tmp_path: Path) -> None:
    """What is behind it is not k6d's."""
    store, test_id = _filled(tmp_path / "data")
    (archive,) = (tmp_path / "data" / "runs").rglob("*.tar")
    archive.rename(tmp_path / "elsewhere.tar")
    archive.symlink_to(tmp_path / "elsewhere.tar")
    with pytest.raises(LinkError):
        store.kept_file(test_id, "report.json")
