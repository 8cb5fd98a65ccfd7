"""Backup and restore: complete, checked, harmless to what is there."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from k6d.cli.legacy_import import take_over
from k6d.core.model import K6dError
from k6d.storage import backup, legacy_records
from k6d.storage.store import Store
from support.daemon import lasting
from support.records import make_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.daemon import Daemon
    from support.target import Target


def _filled(data: Path, count: int = 3) -> Store:
    store = Store(data)
    for number in range(count):
        run = make_run(test_id=f"2026112{number}-120000-00000{number}")
        store.save(run)
    source = data.parent / "source.tar"
    source.write_bytes(b"archive")
    store.put_snapshot("5d41402abc4b2a76", source)
    store.state("scripts").put("a.js", {"kind": "test"})
    return store


def test_what_is_exported_comes_back(tmp_path: Path) -> None:
    """Runs, snapshots and state, with the index; a second time there is nothing to do."""
    old = _filled(tmp_path / "old")
    file = tmp_path / "backup.tar.gz"
    assert backup.export(tmp_path / "old", file) == 3
    assert file.stat().st_mode & 0o077 == 0
    new = Store(tmp_path / "new")
    done = backup.restore(tmp_path / "new", file, new)
    assert (done.runs, done.snapshots, done.states, done.present) == (3, 1, 1, 0)
    assert new.history() == old.history()
    assert new.load("20261120-120000-000000") == old.load("20261120-120000-000000")
    assert new.snapshot_path("5d41402abc4b2a76").read_bytes() == b"archive"
    assert new.state("scripts").all() == {"a.js": {"kind": "test"}}
    assert backup.restore(tmp_path / "new", file, new).present == 5


def test_what_is_there_is_never_replaced(tmp_path: Path) -> None:
    """A run that differs stays and is named."""
    _filled(tmp_path / "old")
    file = tmp_path / "backup.tar.gz"
    backup.export(tmp_path / "old", file)
    new = Store(tmp_path / "new")
    mine = make_run(test_id="20261120-120000-000000", script="mine.js")
    new.save(mine)
    done = backup.restore(tmp_path / "new", file, new)
    assert done.different == ["runs/2026-11/20261120-120000-000000.json"]
    assert new.load(mine.test_id) == mine
    assert len(new.history()) == 3


def test_no_data_folder_is_no_empty_backup(tmp_path: Path) -> None:
    """A mistyped name is said before an archive is made; a folder without runs is one."""
    file, plain = tmp_path / "backup.tar.gz", tmp_path / "plain"
    plain.touch()
    for data in (tmp_path / "typo", plain):
        with pytest.raises(K6dError, match=f"^{data} is no data folder"):
            backup.export(data, file)
    assert not file.exists()
    (tmp_path / "data").mkdir()
    assert backup.export(tmp_path / "data", file) == 0


@pytest.mark.parametrize("damage", ["cut", "flipped", "no archive"])
def test_a_damaged_archive_changes_nothing(tmp_path: Path, damage: str) -> None:
    """Not one file of it is restored, and the message names the archive."""
    _filled(tmp_path / "old")
    file = tmp_path / "backup.tar.gz"
    backup.export(tmp_path / "old", file)
    contents = bytearray(file.read_bytes())
    if damage == "cut":
        del contents[-200:]
    elif damage == "flipped":
        contents[len(contents) // 2] ^= 0xFF
    else:
        contents = bytearray(b"hello")
    file.write_bytes(contents)
    with pytest.raises(K6dError, match="not restored") as caught:
        backup.restore(tmp_path / "new", file, Store(tmp_path / "new"))
    assert str(file) in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "name", ["../evil.json", "/etc/evil", "runs/../../evil.json", "daemon.lock"]
)
def test_nothing_is_written_outside_the_data_folder(tmp_path: Path, name: str) -> None:
    """A name that k6d did not make refuses the whole archive."""
    file = tmp_path / "evil.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = 2
        tar.addfile(member, io.BytesIO(b"{}"))
    with pytest.raises(K6dError, match="did not put there"):
        backup.restore(tmp_path / "new", file, Store(tmp_path / "new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.tar.gz"]


def test_a_file_that_claims_to_be_huge_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A sparse member of 2^60 bytes takes a few in the archive."""
    file = tmp_path / "evil.tar.gz"
    with tarfile.open(file, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("snapshots/aaaa.tar")
        sparse = {"map": "0,1", "size": str(1 << 60), "numblocks": "1"}
        member.pax_headers = {f"GNU.sparse.{name}": text for name, text in sparse.items()}
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(K6dError, match="are free; not restored"):
        backup.restore(tmp_path / "new", file, Store(tmp_path / "new"))


RUN = "runs/2026-11/20261120-120000-000000.json"


def _packed(file: Path, members: list[tuple[str, bytes]], manifest: bytes) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for name, contents in (*members, ("k6d-export.json", manifest)):
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
    return file


@pytest.mark.parametrize(
    "manifest", [b"{", b"[]", b'{"files":{}}', b'{"schema_version":"x","files":{}}', b'{"files":1}']
)
def test_a_manifest_that_is_none_restores_nothing(tmp_path: Path, manifest: bytes) -> None:
    """Said in one line, whatever it is instead."""
    file = _packed(tmp_path / "evil.tar.gz", [(RUN, b"{}")], manifest)
    with pytest.raises(K6dError, match="no archive of 'k6d export'"):
        backup.restore(tmp_path / "new", file, Store(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_name_that_comes_twice_restores_nothing(tmp_path: Path) -> None:
    """Which of the two was meant nobody knows."""
    twice = [("state/queue.json", b"{}"), ("state/queue.json", b'{"x":1}')]
    file = _packed(tmp_path / "evil.tar.gz", twice, b"{}")
    with pytest.raises(K6dError, match="did not put there"):
        backup.restore(tmp_path / "new", file, Store(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_nothing_goes_through_links_out_of_the_data_folder(tmp_path: Path) -> None:
    """Neither written by import, taken by export nor removed: what they lead to is not k6d's."""
    old = _filled(tmp_path / "old")
    file = tmp_path / "backup.tar.gz"
    backup.export(tmp_path / "old", file)
    outside, month = tmp_path / "outside", tmp_path / "new" / "runs" / "2026-11"
    month.parent.mkdir(parents=True)
    outside.mkdir()
    month.symlink_to(outside)
    new = Store(tmp_path / "new")
    with pytest.raises(K6dError, match="is a link"):
        backup.restore(tmp_path / "new", file, new)
    with pytest.raises(K6dError, match="is a link"):
        new.save(old.load("20261120-120000-000000"))
    assert list(outside.iterdir()) == []

    precious = outside / "20261121-120000-000001.json"
    precious.write_bytes(old.load_raw("20261121-120000-000001"))
    with pytest.raises(K6dError, match="is a link"):
        new.delete(["20261121-120000-000001"])
    assert precious.exists()
    with pytest.raises(K6dError, match="is a link"):
        backup.export(tmp_path / "new", tmp_path / "new.tar.gz")
    month.unlink()
    (tmp_path / "new" / "state").mkdir()
    (tmp_path / "new" / "state" / "queue.json").symlink_to(precious)
    with pytest.raises(K6dError, match="is a link"):
        backup.export(tmp_path / "new", tmp_path / "new.tar.gz")
    assert not (tmp_path / "new.tar.gz").exists()


@pytest.mark.parametrize("name", ["runs", "snapshots"])
def test_nothing_goes_from_behind_a_link_at_the_top(tmp_path: Path, name: str) -> None:
    """No run or snapshot is removed, restored, exported or made smaller there."""
    data, outside = tmp_path / "data", tmp_path / "outside"
    store = _filled(data)
    backup.export(data, tmp_path / "backup.tar.gz")
    (tmp_path / "tests.json").write_text('{"_default": {}}')
    (data / name).rename(outside)
    (data / name).symlink_to(outside)
    (outside / ".a.json.99999999-00000000.tmp").touch()  # what a dead writer leaves
    before = sorted(outside.rglob("*"))
    test_ids = [document["test_id"] for document in store.history()]
    removes: list[Callable[[], object]] = [
        lambda: store.delete(test_ids),
        lambda: store.drop_snapshots(["5d41402abc4b2a76"]),
        lambda: store.shrink(test_ids[0], lambda _: b"{}"),
        lambda: backup.restore(data, tmp_path / "backup.tar.gz", store),
        lambda: take_over(tmp_path / "tests.json", store),
        lambda: backup.export(data, tmp_path / "again.tar.gz"),
        store.repair,
    ]
    for remove in removes:
        with pytest.raises(K6dError, match=f"^{data / name}: is a link, and nothing behind it"):
            remove()
    assert sorted(outside.rglob("*")) == before
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    (data / name).unlink()
    outside.rename(data / name)
    store.delete(test_ids)
    assert store.history() == []


def test_export_beside_a_running_daemon(daemon: Daemon, target: Target) -> None:
    """It does not disturb a run under way; import is refused as long as the daemon runs."""
    daemon.write("cart.js", lasting(f"{target.url}/cart", seconds=2))
    daemon.start()
    daemon.until(lambda: target.requests["GET /cart"], "the run to be under way")
    file = daemon.home / "backup.tar.gz"
    assert daemon.call("export", str(file)).returncode == 0
    refused = daemon.call("import", str(file))
    assert refused.returncode == 2
    assert daemon.process is not None
    assert f"another k6d (pid {daemon.process.pid}) serves" in refused.stderr
    daemon.run("cart.js")
    daemon.end()
    again = daemon.call("export", str(file))
    assert "exists: name another file" in again.stderr
    restored = daemon.call("import", str(file))
    assert restored.returncode == 0
    assert "0 runs" in restored.stdout


def _long_header(file: Path, kind: bytes) -> Path:
    """An archive that begins with a further header of 64 MiB, as the format allows."""
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 64 << 20
    with gzip.open(file, "wb", compresslevel=1) as out:
        out.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(64):
            out.write(b"0" * (1 << 20))
    return file


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_is_huge_is_not_read(tmp_path: Path, kind: bytes) -> None:
    """Refused by its size; tarfile would hold all of it in memory."""
    file = _long_header(tmp_path / "bomb.tar.gz", kind)
    with pytest.raises(K6dError, match="a header of 67,108,864 bytes"):
        backup.restore(tmp_path / "data", file, Store(tmp_path / "data"))


def test_a_pipe_among_the_files_is_told_at_once(tmp_path: Path) -> None:
    """Named like a snapshot; nobody writes into it."""
    _filled(tmp_path / "data")
    os.mkfifo(tmp_path / "data" / "snapshots" / "a.tar")
    with pytest.raises(K6dError, match=r"snapshots/a\.tar: is not a regular file"):
        backup.export(tmp_path / "data", tmp_path / "backup.tar.gz")
    assert not (tmp_path / "backup.tar.gz").exists()


def test_only_a_regular_file_is_imported(tmp_path: Path) -> None:
    """A pipe or a device has no end."""
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(K6dError, match=f"^{file}: cannot be read: is a "):
            list(legacy_records.read(file))
