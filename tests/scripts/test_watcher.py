"""Real files, changed by real tools, in a real folder under a real watcher."""

from __future__ import annotations

# ruff: noqa: ASYNC240  (local files are what these tests are about)
import asyncio
import contextlib
import logging
import os
import resource
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest

from k6d.scripts.candidates import is_candidate
from k6d.scripts.watcher import Watcher
from support.dead_mount import dead_mount
from support.rights import of_an_ordinary_user

if TYPE_CHECKING:
    from collections.abc import Callable

QUIET_S = 0.7  # longer than settle_s and a check of the root: a second report would show


async def batch(watcher: Watcher, *, within_s: float = 5.0) -> frozenset[Path]:
    """The next batch, with a deadline."""
    async with asyncio.timeout(within_s):
        return await watcher.next_batch()


async def quiet(watcher: Watcher, *, for_s: float = QUIET_S) -> None:
    """Nothing more is reported."""
    with contextlib.suppress(TimeoutError):
        more = await batch(watcher, within_s=for_s)
        pytest.fail(f"reported as well: {more}")


async def collect(watcher: Watcher, paths: set[Path], *, within_s: float = 5.0) -> None:
    """Exactly these paths are reported, each once, in however many batches."""
    left = set(paths)
    async with asyncio.timeout(within_s):
        while left:
            got = await watcher.next_batch()
            assert got <= left
            left -= got


async def until(condition: Callable[[], bool], *, within_s: float = 5.0) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  (a log line or a thread sets no event)
            await asyncio.sleep(0.01)


async def tool(*command: str, cwd: Path | None = None) -> None:
    """Run a real tool to its end."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert await process.wait() == 0


def script(path: Path, text: str = "export default function () {}\n") -> Path:
    """A script on disk, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def scripts_in(folder: Path) -> set[Path]:
    """All scripts below a folder."""
    return set(folder.rglob("*.js"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder to watch."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("path", "ignore", "expected"),
    [
        ("a.js", (), True),
        ("deep/er/a b ü.ts", (), True),
        ("a\nb\\c.js", (), True),
        (os.fsdecode(b"a\xff.js"), (), False),
        ("a.JS", (), False),
        ("a.json", (), False),
        ("js", (), False),
        (".a.js", (), False),
        (".git/hooks/a.js", (), False),
        ("node_modules/k/a.js", (), False),
        ("x/node_modules/a.js", (), False),
        ("#a.js#", (), False),
        ("a.js~", (), False),
        (".#a.js", (), False),
        (".a.js.swp", (), False),
        ("4913", (), False),
        ("a.js.tmp", (), False),
        ("a.js___jb_tmp___", (), False),
        ("drafts/x/a.js", ("drafts/**",), False),
        ("x/drafts/a.js", ("drafts/**",), True),
        ("x/drafts/a.js", ("drafts/",), False),
        ("drafts.js", ("drafts",), True),
        ("x/a.draft.js", ("*.draft.js",), False),
        ("x/a.js", ("/a.js",), True),
        ("a.js", ("/a.js",), False),
        ("x/y/z/a.js", ("x/**/a.js",), False),
        ("x/a.js", ("x/**/a.js",), False),
        ("x/y/a.js", ("x/*",), False),
        ("x/y/a.js", ("*/a.js",), True),
        ("a.js", ("a.js/",), True),
    ],
)
def test_decides_what_can_be_a_script(path: str, ignore: tuple[str, ...], expected: bool) -> None:
    """Suffix, hidden components and the user's patterns decide, as the docstring says."""
    assert is_candidate(PurePath(path), ignore) is expected


async def test_first_batch_holds_all_candidates(root: Path) -> None:
    """At the start every candidate is reported at once, and nothing else."""
    scripts = {script(root / "a.js"), script(root / "sub folder/ünï.ts")}
    script(root / "node_modules/m.js")
    script(root / ".git/g.js")
    script(root / "data.csv")
    async with Watcher(root, settle_s=3) as watcher:
        assert await batch(watcher, within_s=2) == scripts
        await quiet(watcher)


async def test_closed_file_is_reported_at_once(root: Path) -> None:
    """A closed or renamed file is reported without waiting for the rest time."""
    path = script(root / "a.js")
    async with Watcher(root, settle_s=60) as watcher:
        await batch(watcher)
        for number in range(15):
            path.write_text("x" * number)
            assert await batch(watcher, within_s=30) == {path}
            script(root / "a.js.tmp", "y" * number).rename(path)
            assert await batch(watcher, within_s=30) == {path}


def vim_save(path: Path) -> None:
    """What vim's `:w` does: test file, backup by rename, new file, sync, chmod, backup removed."""
    probe = path.with_name("4913")
    probe.touch()
    probe.unlink()
    backup = path.with_name(path.name + "~")
    path.rename(backup)
    with path.open("w") as file:
        file.write("// saved\n")
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o644)
    backup.unlink()


def atomic_save(path: Path) -> None:
    """What VS Code's atomic save and many others do."""
    script(path.with_name(f".{path.name}.tmp"), "// saved\n").replace(path)


def jetbrains_save(path: Path) -> None:
    """JetBrains' safe write: new file beside, old one away, new one in its place."""
    new, old = path.with_name("a.js___jb_tmp___"), path.with_name("a.js___jb_old___")
    script(new, "// saved\n")
    path.rename(old)
    new.rename(path)
    old.unlink()


@pytest.mark.parametrize("save", [vim_save, atomic_save, jetbrains_save])
async def test_one_report_for_one_save(root: Path, save: Callable[[Path], None]) -> None:
    """However an editor goes about it, one save is one report of one path."""
    path = script(root / "a.js")
    async with Watcher(root) as watcher:
        await batch(watcher)
        save(path)
        assert await batch(watcher) == {path}
        await quiet(watcher)


async def test_one_report_for_each_tool(root: Path, tmp_path: Path) -> None:
    """`sed -i`, `cp`, `mv` and `touch` make one report each, `chmod` and reading none."""
    path, other = script(root / "a.js", "one\n"), script(tmp_path / "other.js")
    async with Watcher(root, rescan_s=1) as watcher:
        await batch(watcher)
        for command in (
            ("sed", "-i", "s/one/two/", str(path)),
            ("cp", str(other), str(path)),
            ("cp", "-p", str(other), str(path)),
            ("mv", str(other), str(path)),
            ("touch", str(path)),
        ):
            await tool(*command)
            assert await batch(watcher) == {path}, command
        await tool("chmod", "600", str(path))
        await tool("cat", str(path))
        await quiet(watcher, for_s=1.5)


async def test_deletion_and_rename_are_reported(root: Path) -> None:
    """A deleted file is reported, a renamed one under both names, also when it leaves."""
    a, b, c = script(root / "a.js"), script(root / "b.js"), root / "c.js"
    async with Watcher(root) as watcher:
        await batch(watcher)
        a.unlink()
        b.rename(c)
        await collect(watcher, {a, b, c})
        c.rename(root.parent / "away.js")
        assert await batch(watcher) == {c}


SLOW_WRITER = """
    import sys, time
    with open(sys.argv[1], "w") as file:
        for part in range(4):
            file.write("// part\\n"); file.flush(); print(part, flush=True); time.sleep(0.5)
"""


async def test_half_written_file_is_waited_for(root: Path) -> None:
    """A writer that pauses for longer than the rest time keeps its file from being reported."""
    path = root / "slow.js"
    async with Watcher(root, settle_s=0.1, rescan_s=0.2) as watcher:
        await batch(watcher)
        code = textwrap.dedent(SLOW_WRITER)
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(path), stdout=subprocess.PIPE
        )
        assert await batch(watcher) == {path}
        assert path.read_text().count("part") == 4
        assert await writer.wait() == 0
        await quiet(watcher)


async def test_file_being_written_at_the_start_comes_later(root: Path) -> None:
    """A file that is open for writing is not in the first batch, but in one after it is closed."""
    path, ready = root / "slow.js", script(root / "ready.js")
    with path.open("w") as file:
        file.write("half")
        file.flush()
        async with Watcher(root, settle_s=0.1) as watcher:
            assert await batch(watcher) == {ready}
            await quiet(watcher)
            file.close()
            assert await batch(watcher) == {path}


def test_writer_check_survives_writers(root: Path) -> None:
    """Files opened for writing in the moment of the check don't end the process by a signal.

    1. A child opens and closes a file for writing, without pause.
    2. A process with default signals asks as often as it can whether it has a writer.
    Result: it saw both answers and lives.
    """
    path = script(root / "a.js")
    code = """if True:
        import sys, time
        from k6d.scripts.candidates import has_writer
        end, seen = time.monotonic() + 20, set()
        for count in range(10**9):
            seen.add(has_writer(sys.argv[1]))
            if time.monotonic() > end or (count > 5000 and len(seen) == 2): break
        sys.exit(0 if seen == {True, False} else 3)
    """
    hammer = "import os, sys\nwhile True: os.close(os.open(sys.argv[1], os.O_WRONLY))"
    with subprocess.Popen([sys.executable, "-c", hammer, path]) as writer:
        try:
            asked = subprocess.run([sys.executable, "-c", code, path], check=False, timeout=30)
        finally:
            writer.kill()
    assert asked.returncode == 0


async def test_trees_that_appear_at_once(root: Path, tmp_path: Path) -> None:
    """`cp -r`, a folder moved in and folders made with files in them: each file once."""
    for number in range(60):
        script(tmp_path / f"tree/d {number % 7}/é/{number}.js")
    async with Watcher(root) as watcher:
        await batch(watcher)
        await tool("cp", "-r", str(tmp_path / "tree"), str(root / "copy"))
        await collect(watcher, scripts_in(root))
        names = [path.relative_to(tmp_path / "tree") for path in scripts_in(tmp_path / "tree")]
        (tmp_path / "tree").rename(root / "moved")
        await collect(watcher, scripts_in(root / "moved"))
        await collect(watcher, {script(root / f"new/{n}/a.js") for n in range(20)})
        shutil.rmtree(root / "copy")
        await collect(watcher, {root / "copy" / name for name in names})
        await quiet(watcher)


async def test_git_checkout_of_200_files(root: Path) -> None:
    """A checkout reports each changed file once, and nothing below .git."""

    async def git(*words: str) -> None:
        await tool("git", "-c", "user.name=t", "-c", "user.email=t@t", *words, cwd=root)

    files = {script(root / f"d{n % 9}/{n}.js", "one\n") for n in range(200)}
    await git("init", "-q", "-b", "main")
    await git("add", ".")
    await git("commit", "-q", "-m", "one")
    await git("checkout", "-q", "-b", "two")
    for path in files:
        path.write_text("number two\n")
    await git("commit", "-q", "-a", "-m", "two")
    async with Watcher(root) as watcher:
        assert await batch(watcher) == files
        await git("checkout", "-q", "main")
        await collect(watcher, files)
        await quiet(watcher)


async def test_storm_of_files_leaves_the_loop_free(root: Path) -> None:
    """2,000 files at once are all known, once each, and the loop answers all the while."""
    paths = {root / f"s{number}.js" for number in range(2000)}
    code = "import sys\nfor n in range(2000): open(f'{sys.argv[1]}/s{n}.js', 'w').write('x')"
    late, start = 0.0, time.perf_counter()

    async def beat() -> None:
        nonlocal late
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(0.005)
            late = max(late, time.perf_counter() - begin)

    async with Watcher(root) as watcher:
        await batch(watcher)
        heart = asyncio.create_task(beat())
        await tool(sys.executable, "-c", code, str(root))
        await collect(watcher, paths)
        heart.cancel()
    assert late < (time.perf_counter() - start) / 2


async def test_lost_events_are_found_by_the_walk(root: Path) -> None:
    """Polling, which has no events at all, finds additions, changes and deletions."""
    path, gone = script(root / "a.js"), script(root / "gone.js")
    async with Watcher(root, polling=True, rescan_s=0.2, settle_s=0.1) as watcher:
        await batch(watcher)
        path.write_text("// other\n")
        gone.unlink()
        new = script(root / "sub/new.js")
        await collect(watcher, {path, gone, new})


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the stage has logged."""
    return [
        record.getMessage() for record in caplog.records if record.name.startswith("k6d.scripts")
    ]


async def test_root_that_comes_goes_and_comes_back(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A root may be missing, appear, be replaced, vanish: one line for each loss and return.

    1. It does not exist at the start; then it is made, with a script in it.
    2. It is renamed away: nothing is reported as deleted.
    3. It is made anew with another script.
    Result: the scripts added and missing are reported, and later edits are seen by events.
    """
    caplog.set_level(logging.INFO)
    root.rmdir()
    async with Watcher(root, settle_s=0.2) as watcher:
        assert await batch(watcher) == frozenset()
        path = script(root / "a.js")
        assert await batch(watcher) == {path}
        root.rename(root.with_name("away"))
        await until(lambda: len(lines(caplog)) == 3)
        await quiet(watcher)
        other = script(root / "b.js")
        await collect(watcher, {path, other})
        other.write_text("// edited")
        assert await batch(watcher) == {other}
        root.rename(root.with_name("away too"))
        third = script(root / "c.js")  # at once: no check sees it missing
        await collect(watcher, {other, third})
        shutil.rmtree(root)
        root.write_text("a file")
        await until(lambda: len(lines(caplog)) == 5)
    assert ["is back" in line for line in lines(caplog)] == [False, True, False, True, False]


async def test_symbolic_links(root: Path, tmp_path: Path) -> None:
    """Linked scripts and folders are seen, edits of their targets too; loops end.

    Result: an edit behind a link is reported under the link's path, at once.
    """
    real, folder = script(tmp_path / "out/real.js"), tmp_path / "outer"
    inner = script(folder / "deep/x.js").relative_to(folder)
    (root / "link.js").symlink_to(real)
    (root / "folder").symlink_to(folder)
    (root / "loop").symlink_to(root)
    (root / "up").symlink_to("..")
    (root / "self.js").symlink_to("self.js")
    (folder / "back").symlink_to(root)
    (root / "broken.js").symlink_to(tmp_path / "out/missing.js")
    async with Watcher(root, settle_s=1) as watcher:
        assert await batch(watcher) == {root / "link.js", root / "folder" / inner}
        await quiet(watcher, for_s=1.3)  # the walk after the watches were added
        real.write_text("// edited")
        assert await batch(watcher, within_s=0.9) == {root / "link.js"}
        script(folder / "deep/x.js", "// edited")
        assert await batch(watcher, within_s=0.9) == {root / "folder" / inner}
        new = script(folder / "deep/new.js").relative_to(folder)
        assert await batch(watcher) == {root / "folder" / new}
        script(tmp_path / "out/missing.js")
        assert await batch(watcher) == {root / "broken.js"}
        (root / "late").symlink_to(script(tmp_path / "late dir/l.js").parent)
        assert await batch(watcher) == {root / "late/l.js"}
        (root / "late").unlink()
        assert await batch(watcher) == {root / "late/l.js"}


async def test_followed_files(root: Path, tmp_path: Path) -> None:
    """Followed files are reported whatever their name, in or outside of the root, until released.

    1. A data file in the root, a module outside, and a link to a file elsewhere are followed.
    2. Each is edited, deleted, made anew.
    Result: each is reported as it was followed, unfollowed ones are not.
    """
    data, helper = script(root / "data.csv"), script(tmp_path / "lib/helper.mjs")
    target, link = script(tmp_path / "far/real.txt"), tmp_path / "lib/link.txt"
    hidden = script(root / "node_modules/m/index.js")
    link.symlink_to(target)
    async with Watcher(root, settle_s=1) as watcher:
        await batch(watcher)
        watcher.follow([data, helper, link, hidden])
        data.write_text("1,2")
        assert await batch(watcher) == {data}
        for edited, reported in ((helper, helper), (target, link), (hidden, hidden)):
            edited.write_text("// edited")
            assert await batch(watcher, within_s=0.9) == {reported}
        script(tmp_path / "lib/other.mjs")
        helper.unlink()
        assert await batch(watcher) == {helper}
        script(helper, "// again")
        assert await batch(watcher, within_s=0.9) == {helper}
        watcher.follow([data])
        helper.write_text("// nobody cares")
        await quiet(watcher)
        assert set(watcher._paths.folders) == {str(root)}


async def test_edit_between_reading_and_following_is_not_lost(root: Path, tmp_path: Path) -> None:
    """With `since`, a file that changed after the caller began to read is reported."""
    old, edited = script(tmp_path / "old.csv"), script(tmp_path / "edited.csv")
    async with Watcher(root) as watcher:
        await batch(watcher)
        await asyncio.sleep(0.05)  # the clock has to move on, there is nothing to wait for
        since = time.time()
        edited.write_text("1,2")
        watcher.follow([old, edited], since=since)
        assert await batch(watcher) == {edited}
        await quiet(watcher)


async def test_limits_of_inotify_are_survived(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without room for an inotify instance the folder is walked, and the log says what to do.

    The limit of open files stands in for the kernel's own: both refuse with EMFILE.
    """
    path = script(root / "a.js")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with Watcher(root, rescan_s=0.2, settle_s=0.1) as watcher:
        holes = [os.open(root, os.O_RDONLY) for _ in range(20)]
        # An instance of watchdog's needs three; the walk needs one, beside whatever else is open.
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(holes) + 3, hard))
        try:
            await batch(watcher)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for hole in holes:
                os.close(hole)
        path.write_text("// edited")
        assert await batch(watcher) == {path}
    assert len(lines(caplog)) == 1
    assert "sysctl fs.inotify.max_user_instances" in lines(caplog)[0]


async def test_dead_observer_is_replaced(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When watchdog's thread ends, it is started again within a second or so."""
    path = script(root / "a.js")
    async with Watcher(root, settle_s=1) as watcher:
        await batch(watcher)
        watcher._events._threads[-1].stop()
        await until(lambda: bool(lines(caplog)))
        await quiet(watcher)
        path.write_text("// edited")
        assert await batch(watcher, within_s=0.9) == {path}


async def test_stops_promptly_and_ends_the_iteration(root: Path) -> None:
    """Leaving the context ends a waiting iteration, however long it had still waited."""
    script(root / "a.js")
    batches = []

    async def consume() -> None:
        batches.extend([got async for got in watcher])

    async with Watcher(root, settle_s=10_000) as watcher:
        consumer = asyncio.create_task(consume())
        await asyncio.sleep(0.1)  # a moment to be waiting in
    await asyncio.wait_for(consumer, 100)
    assert len(batches) <= 1


async def test_a_followed_file_may_become_a_pipe_and_a_file_again(
    root: Path, tmp_path: Path
) -> None:
    """Each is a change that is reported; watching goes on, in and outside of the root."""
    script(root / "a.js")
    inside, outside = root / "dep.txt", tmp_path / "out" / "dep.txt"
    outside.parent.mkdir()
    async with Watcher(root, settle_s=0.1, rescan_s=1) as watcher:
        assert await batch(watcher) == {root / "a.js"}
        for path in (inside, outside):
            path.write_text("1")
        watcher.follow([inside, outside])
        with contextlib.suppress(TimeoutError):
            while True:  # they may count as changed since they are followed
                await batch(watcher, within_s=QUIET_S)
        for path in (inside, outside):
            path.unlink()
            os.mkfifo(path)
            await collect(watcher, {path})
            path.unlink()
            path.write_text("2")
            await collect(watcher, {path})
        await collect(watcher, {script(root / "b.js")})


async def test_a_mount_that_is_gone_costs_its_own_files_only(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Followed files on it are said to be silent, once; changes in the root are seen, it closes."""
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(dead_mount(tmp_path / "dead"))
        except OSError as error:
            pytest.skip(f"no mount without an answer can be made here: {error}")
        path = script(root / "a.js")
        async with Watcher(root, settle_s=0.1, rescan_s=0.5) as watcher:
            assert await batch(watcher) == {path}
            watcher.follow([folder / "one.csv", folder / "two.csv"])
            await until(lambda: "one.csv does not answer" in caplog.text, within_s=20)
            for number in range(3):
                path.write_text(f"// {number}")
                assert await batch(watcher, within_s=20) == {path}
    assert caplog.text.count("one.csv does not answer") == 1


async def test_a_root_that_does_not_answer_is_said_and_closes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look hangs for ever in its thread; that is told, and the watcher ends all the same."""
    monkeypatch.setattr("k6d.scripts.watcher.SLOW_S", 0.2)
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(dead_mount(tmp_path / "dead"))
        except OSError as error:
            pytest.skip(f"no mount without an answer can be made here: {error}")
        async with Watcher(folder / "scripts", settle_s=0.1):
            await until(lambda: "does a mount not answer?" in caplog.text)


async def test_a_mistake_in_a_look_does_not_end_the_watch(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and what changed meanwhile is seen later."""
    path = script(root / "a.js")
    async with Watcher(root, settle_s=0.1, rescan_s=0.5) as watcher:
        assert await batch(watcher) == {path}
        watcher._settling.seen = None  # type: ignore[assignment]  # as a mistake of ours would leave it
        path.write_text("// edited")
        await until(lambda: "a mistake of k6d's own" in caplog.text)
        watcher._settling.seen = {}
        assert path in await batch(watcher, within_s=20)


async def test_an_unreadable_subfolder_is_said_once(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With what to do; the others are watched, and scripts in it are not reported as deleted."""
    path, inner = script(root / "a.js"), script(root / "closed/b.js")
    with of_an_ordinary_user():
        async with Watcher(root, settle_s=0.1, rescan_s=0.2) as watcher:
            assert await batch(watcher) == {path, inner}
            inner.parent.chmod(0)
            try:
                await until(lambda: "closed cannot be read" in caplog.text)
                await quiet(watcher)
            finally:
                inner.parent.chmod(0o700)
    assert caplog.text.count("closed cannot be read") == 1
