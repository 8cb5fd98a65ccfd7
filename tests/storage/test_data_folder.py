"""k6d removes and renames only what it made, follows no link, and lets nobody else read."""

from __future__ import annotations

import ast
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import k6d
from k6d.core.model import K6dError
from k6d.storage import data_folder
from k6d.storage.data_folder import FILES, FOLDERS, LinkError
from k6d.storage.locks import daemon_of, only_daemon, try_lock
from k6d.storage.permissions import make_private
from k6d.storage.store import Store
from support.daemon import hitting
from support.records import make_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.daemon import Daemon
    from support.target import Target

REMOVING = {"unlink", "rmtree", "rmdir", "removedirs", "rename", "renames"}
RUN = "20261122-120000-3f9a2c"


def _contents(folder: Path) -> dict[str, bytes | None]:
    found = sorted(folder.rglob("*"))
    return {str(p): p.read_bytes() if p.is_file() else None for p in found}


def _precious(folder: Path) -> Path:
    """A folder with names in it that k6d gives to its own."""
    for name in (RUN, "notes", "generation-00000000-00000000", "193ab01234567890"):
        (folder / name).mkdir(parents=True)
        (folder / name / "thesis.txt").write_text("years of work")
    for name in (f"{RUN}.json", "scripts.json", "current", ".x.json.99999999-00000000.tmp"):
        (folder / name).write_text("{")
    return folder


@pytest.mark.parametrize("place", ["gone", "empty"])
def test_a_daemon_begins_no_new_data_folder_where_its_own_vanished(
    tmp_path: Path, place: str
) -> None:
    """Whatever it writes fails until the folder is back; a new daemon makes a folder.

    A disk that was unmounted leaves nothing, or the empty folder on which it was.
    """
    data, away = tmp_path / "data", tmp_path / "away"
    with only_daemon(data):
        store = Store(data)
        store.save(make_run())
        data.rename(away)
        if place == "empty":
            data.mkdir()
        for write in (
            lambda: store.save(make_run()),
            lambda: store.state("scripts").put("a.js", {}),
            store.repair,
        ):
            with pytest.raises(K6dError, match=f"{data} is not what it was at the start"):
                write()
        assert not data.exists() or not list(data.iterdir())
        if place == "empty":
            data.rmdir()
        away.rename(data)
        store.save(run := make_run())
        assert run.test_id in [row["test_id"] for row in store.history()]
        data.rename(away)
    with only_daemon(data):
        assert Store(data).history() == []


def test_a_daemon_says_why_it_has_no_api(tmp_path: Path) -> None:
    """In its lock, while it lives; a name that is no text does no harm."""
    with only_daemon(tmp_path) as lock:
        pid = str(os.getpid())
        assert daemon_of(tmp_path) == (pid, "")
        lock.say(no_api="cannot read café/\udcff")
        assert daemon_of(tmp_path) == (pid, "cannot read café/?")
        lock.say()
        assert daemon_of(tmp_path) == (pid, "")
        lock.say(no_api="cannot listen")
    assert daemon_of(tmp_path) is None


def test_only_one_module_removes_and_renames() -> None:
    """So that no caller can forget to look for links."""
    package = Path(k6d.__file__).parent
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            of_os = isinstance(node.value, ast.Name) and node.value.id == "os"
            if node.attr in REMOVING or (of_os and node.attr in {"remove", "replace"}):
                found.add(path.relative_to(package).as_posix())
    assert found == {"storage/data_folder.py"}


def test_a_link_in_the_data_folder_is_refused_by_every_command(daemon: Daemon) -> None:
    """In one line that names it; what is behind the link is as before."""
    precious = _precious(daemon.home / "precious")
    daemon.data.mkdir()
    (daemon.data / "work").symlink_to(precious)
    before = _contents(precious)
    told = f"{daemon.data}/work: is a link, and nothing behind it is k6d's; remove the link"
    empty = daemon.home / "empty.json"
    empty.write_text('{"_default": {}}')
    daemon.write("shop.js", "import 'k6'; export default function () {}")
    for words in (
        ("serve",),
        ("run", "shop.js"),
        ("prune",),
        ("import", str(empty)),
        ("export", str(daemon.home / "backup.tar.gz")),
        ("reindex",),
        ("history",),
    ):
        done = daemon.call(*words)
        assert done.returncode, words
        assert done.stderr.count("\n") == 1, done.stderr
        assert told in done.stderr
    assert _contents(precious) == before
    assert list(daemon.data.iterdir()) == [daemon.data / "work"]


@pytest.mark.parametrize(
    "place",
    [
        *(*FOLDERS, *FILES, "runs/2026-11", "index/generation-00000000-00000000", "index/current"),
        *("outbox/waiting", "outbox/key", "outbox/sender.lock", "state/x.json", "slots/0.lock"),
    ],
)
def test_a_link_is_refused_wherever_it_is(tmp_path: Path, place: str) -> None:
    """A folder, a month, an index, a folder of the outbox, a state, a lock."""
    precious = _precious(tmp_path / "precious")
    path = tmp_path / "data" / place
    path.parent.mkdir(parents=True)
    path.symlink_to(precious)
    before = _contents(precious)
    with pytest.raises(LinkError, match=f"^{path}: is a link"), only_daemon(tmp_path / "data"):
        pass
    with pytest.raises(LinkError, match=f"^{path}: is a link"):
        Store(tmp_path / "data").repair()
    assert _contents(precious) == before


ACTS: dict[str, tuple[str, Callable[[Path, Path], object]]] = {
    "make": ("state", lambda path, root: data_folder.make_folder(path / "new", root=root)),
    "lock": ("slots", lambda path, root: try_lock(path / "0.lock", root=root)),
    "remove a file": ("state", lambda path, root: data_folder.remove_file(path / "x", root=root)),
    "set aside": ("state", lambda path, root: data_folder.set_aside(path / "x", root=root)),
    "remove a job": ("work", lambda path, root: data_folder.remove_folder(path / RUN, root=root)),
    "list jobs": ("work", lambda path, root: list(data_folder.removable(path))),
    "list posted": ("one-off", lambda path, root: list(data_folder.removable(path))),
    "list indexes": ("index", lambda path, root: list(data_folder.removable(path))),
    "save": ("runs", lambda _, root: Store(root).save(make_run())),
    "state": ("state", lambda _, root: Store(root).state("scripts").put("a.js", {})),
}  # fmt: skip


@pytest.mark.parametrize("act", ACTS)
def test_a_link_that_comes_later_is_refused_by_each_act(tmp_path: Path, act: str) -> None:
    """Also while the daemon runs."""
    precious = _precious(tmp_path / "precious")
    name, do = ACTS[act]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).symlink_to(precious)
    before = _contents(precious)
    with pytest.raises(LinkError):
        do(tmp_path / "data" / name, tmp_path / "data")
    assert _contents(precious) == before


def test_the_data_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    """It often is one, to a larger disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    store = Store(tmp_path / "data")
    with only_daemon(tmp_path / "data"):
        store.repair()
        store.save(make_run())
        store.delete([make_run().test_id])
    assert store.history() == []


def test_what_others_put_into_the_data_folder_stays(daemon: Daemon, target: Target) -> None:
    """Whatever its name, at the start, at the end and when k6d prunes."""
    kept = [
        daemon.data / folder / name
        for folder in ("", *FOLDERS)
        for name in ("notes.txt", "photos/holiday.jpg", "notes.json")
        if (folder, name) != ("slots", "notes.json")
    ]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    daemon.write("shop.js", hitting(f"{target.url}/shop"))
    daemon.start()
    daemon.run("shop.js")
    daemon.barrier()
    daemon.end()
    assert daemon.call("prune").returncode == 0
    assert daemon.call("reindex").returncode == 0
    daemon.start()
    daemon.end()
    assert [path for path in kept if not path.exists()] == []


@pytest.mark.parametrize("name", ["work/notes", "state/scripts.json", "work", "runs/2026-11"])
def test_no_other_folder_is_removed(tmp_path: Path, name: str) -> None:
    """A mistake of the caller's is an error and no loss."""
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"not a folder that k6d removes|unpack"):
        data_folder.remove_folder(tmp_path / name, root=tmp_path)
    assert (tmp_path / name).is_dir()


def _odd(path: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["fifo", "folder", "link"])
@pytest.mark.parametrize("name", ["daemon.lock", "slots/0.lock"])
def test_a_lock_that_is_no_file_is_a_mistake_and_no_hang(
    tmp_path: Path, name: str, kind: str
) -> None:
    """It is named; nothing waits for it."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    _odd(tmp_path / name, kind)
    with pytest.raises((K6dError, OSError), match=r"is a link|not a regular file|directory"):
        try_lock(tmp_path / name, root=tmp_path)
    assert daemon_of(tmp_path) is None


def _open_to_others(data: Path) -> list[Path]:
    found = [data, *data.rglob("*")]
    return [path for path in found if stat.S_IMODE(path.lstat().st_mode) & 0o077]


def test_nobody_else_can_read_or_lock(daemon: Daemon, target: Target) -> None:
    """Whatever the umask, while a run is under way and afterwards."""
    target.status["/broken"] = 500
    daemon.write("broken.js", hitting(f"{target.url}/broken"))
    before = os.umask(0)
    try:
        daemon.start(
            K6D_NOTIFY__URLS="json://127.0.0.1:9/", K6D_SCHEDULE__SCRIPTS='{"*": "@daily"}'
        )
    finally:
        os.umask(before)
    daemon.until(lambda: list(daemon.data.glob("work/*/job.json")), "a run to be under way")
    daemon.run("broken.js")
    daemon.until(lambda: list(daemon.data.glob("outbox/waiting/*.json")), "a message to wait")
    daemon.barrier()
    daemon.end()
    work = daemon.data / "work"
    assert [path for path in _open_to_others(daemon.data) if work not in path.parents] == []


def test_an_older_data_folder_is_made_private_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All that k6d made in it; not what others keep there, and nothing behind a link."""
    data, outside = tmp_path / "data", tmp_path / "outside"
    store = Store(data)
    store.save(make_run())
    store.state("scripts").put("a.js", {})
    (data / "notes.txt").write_text("mine")
    outside.mkdir()
    (outside / "file").write_text("")
    (data / "work").mkdir()
    (data / "work" / "link").symlink_to(outside)
    for path in (data, *data.rglob("*"), outside, outside / "file"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with only_daemon(data):
        pass
    assert _open_to_others(data) == [data / "notes.txt", data / "work" / "link"]
    assert _open_to_others(outside) == [outside, outside / "file"]
    assert caplog.text.count("was open to other users of this machine; it is private now") == 1
    with only_daemon(data):
        pass
    assert caplog.text.count("open to other users") == 1
    assert store.load(make_run().test_id) == make_run()


def test_making_it_private_goes_on_after_a_kill(tmp_path: Path) -> None:
    """Whatever was done of it, a part that is open is found."""
    data = tmp_path / "data"
    Store(data).save(make_run())
    data.chmod(0o700)
    (data / "runs").chmod(0o750)
    run = next(data.glob("runs/*/*.json"))
    run.chmod(0o640)
    make_private(data)
    assert _open_to_others(data) == []


@pytest.mark.parametrize("sign", ["folder", "sticky", "owner"])
def test_a_place_of_others_is_not_locked(tmp_path: Path, sign: str) -> None:
    """`/`, `/tmp` or a home as data folder: what k6d makes there is private, the place is not."""
    data = tmp_path / "data"
    Store(data).save(make_run())
    (data / "runs").chmod(0o755)
    data.chmod(0o1777 if sign == "sticky" else 0o755)
    if sign == "folder":
        (data / ".ssh").mkdir(mode=0o755)
    if sign == "owner":
        if os.geteuid():
            pytest.skip("only root can give a folder away")
        os.chown(data, 65534, 65534)
    with only_daemon(data):
        pass
    assert stat.S_IMODE(data.stat().st_mode) == (0o1777 if sign == "sticky" else 0o755)
    assert _open_to_others(data) == ([data, data / ".ssh"] if sign == "folder" else [data])


def test_a_mount_with_a_folder_of_its_own_is_private(tmp_path: Path) -> None:
    """`lost+found` is the file system's."""
    data = tmp_path / "data"
    Store(data).save(make_run())
    data.chmod(0o755)
    (data / "lost+found").mkdir(mode=0o700)
    make_private(data)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
