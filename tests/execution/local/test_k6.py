"""The real k6 (both versions) and real processes: found, archived, run, stopped, killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from k6d.execution import archive
from k6d.execution.local import discovery, k6, variables
from k6d.execution.local.process_group import ProcessGroup
from k6d.execution.log_buffer import LogBuffer
from support.binaries import BINARIES, NEW, bare_run
from support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.target import Target

PATIENCE_S = 120.0
both = pytest.mark.parametrize("binary", BINARIES.values(), ids=BINARIES)


async def _until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not happened():  # noqa: ASYNC110  (another process makes it happen)
            await asyncio.sleep(0.02)


def _script(folder: Path, body: str, *, top: str = "") -> Path:
    path = folder / "script.js"
    path.write_text(
        f"import http from 'k6/http';\n{top}\nexport default function () {{ {body} }}\n"
    )
    return path


def _alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _program(path: Path, shell: str, mode: int = 0o755) -> Path:
    path.write_text(f"#!/bin/sh\n{shell}\n")
    path.chmod(mode)
    return path


@both
async def test_a_configured_binary_tells_its_version(binary: Path) -> None:
    """The version comes from the binary itself, and so does what compares."""
    found = await discovery.find(binary)
    version = next(v for v, path in BINARIES.items() if path == binary)
    assert (found.path, found.version) == (binary, version)
    assert found.minor == version.rpartition(".")[0]


async def test_k6_is_looked_for_beside_python_then_on_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a configured path the environment's own k6 comes before the one on PATH."""
    other = _program(tmp_path / "k6", "echo other")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert discovery.candidates(None) == [NEW, other]
    assert discovery.candidates(other) == [other]
    assert (await discovery.find(None)).path == NEW


@pytest.mark.parametrize(
    ("shell", "mode", "words"),
    [
        (None, 0, "is not at"),
        ("exit 0", 0o644, "is not executable; chmod +x"),
        ("echo hello", 0o755, "is not k6 (`version` says 'hello')"),
        ("exit 1", 0o755, "is not k6 (`version` says nothing)"),
        ("echo 'k6 v0.56.9 (go1.22)'", 0o755, "is k6 0.56.9, k6d needs 0.57 or newer"),
        ("yes", 0o755, "is not k6 (`version` says 'y')"),
        ("echo 'tool v2.2.0'", 0o755, "is not k6 (`version` says 'tool v2.2.0')"),
    ],
)
async def test_an_unusable_k6_is_one_line_with_a_remedy(
    tmp_path: Path, shell: str | None, mode: int, words: str
) -> None:
    """Missing, not executable, something else, too old: what, where, how to get one."""
    path = tmp_path / "k6"
    if shell is not None:
        _program(path, shell, mode)
    with pytest.raises(discovery.K6UnavailableError) as caught:
        await discovery.find(path)
    text = str(caught.value)
    assert words in text
    assert str(path) in text
    assert "K6D_K6__PATH" in text
    assert "\n" not in text


@pytest.mark.parametrize("name", ["k6-custom", "k6-linux-amd64", "my k6.exe", "k6"])
@pytest.mark.parametrize("build", ["commit/0e3fb953be, go1.24.4", "go1.22, linux/amd64"])
async def test_k6_may_have_any_name(tmp_path: Path, name: str, build: str) -> None:
    """k6 prints the name of its own file before the version; extensions follow on lines below."""
    said = f"{name} v2.3.0-rc1 ({build})\nExtensions:\n  github.com/x/xk6-y v0.9.1, k6/x/y [js]"
    found = await discovery.find(_program(tmp_path / name, f"echo '{said}'"))
    assert (found.version, found.release) == ("2.3.0", (2, 3))


@both
async def test_a_renamed_or_linked_k6_is_one(tmp_path: Path, binary: Path) -> None:
    """xk6 and version managers rename it."""
    version = next(v for v, path in BINARIES.items() if path == binary)
    (link := tmp_path / "k6-link").symlink_to(binary)
    copy = shutil.copy2(binary, tmp_path / "k6-custom")
    for path in (link, copy):
        assert (await discovery.find(path)).version == version


async def test_a_folder_is_no_k6(tmp_path: Path) -> None:
    """What is wrong, and what to name instead."""
    with pytest.raises(discovery.K6UnavailableError, match="is a folder; name the k6 in it"):
        await discovery.find(tmp_path)


async def test_a_k6_that_does_not_answer_is_told_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs at `version`: one line after the time limit; nothing of it lives on."""
    monkeypatch.setattr(discovery, "VERSION_TIMEOUT_S", 0.5)
    pid_file = tmp_path / "pid"
    path = _program(tmp_path / "k6", f"sleep 1000 & echo $! > {pid_file}; wait")
    with pytest.raises(
        discovery.K6UnavailableError, match=r"did not answer `version` within 0\.5 s: "
    ):
        await discovery.find(path)
    await _until(lambda: not _alive(int(pid_file.read_text())))


async def test_a_file_that_cannot_be_executed_is_named(tmp_path: Path) -> None:
    """A binary of another machine is a clear error, not an exception of Python's."""
    path = tmp_path / "k6"
    path.write_bytes(b"\x7fELF not really")
    path.chmod(0o755)
    with pytest.raises(discovery.K6UnavailableError, match="cannot be run"):
        await discovery.find(path)


def test_the_environment_of_k6_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing passes but path, home, locale, zone, certificates and proxies, and what is named."""
    for name in ("GEMINI_API_KEY", "K6D_NOTIFY__URLS", "K6_VUS", "AWS_SECRET", "XPATH", "PATHS"):
        monkeypatch.setenv(name, "secret")
    passed = ("HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "HTTPS_PROXY", "no_proxy")
    for name in passed:
        monkeypatch.setenv(name, "passed")
    made = variables.environment({"BASE_URL": "http://x", "HOME": "/elsewhere"})
    assert "secret" not in made.values()
    assert all(made[name] == "passed" for name in passed if name != "HOME")
    assert (made["BASE_URL"], made["HOME"]) == ("http://x", "/elsewhere")
    monkeypatch.delenv("PATH")
    assert variables.environment({})["PATH"] == os.defpath


@both
async def test_an_archive_holds_the_options_and_no_environment(
    tmp_path: Path, binary: Path
) -> None:
    """The script sees its variables in init code; the tar holds the overrides but no value."""
    script = _script(tmp_path, "", top="if (__ENV.TOKEN !== 'hunter2') throw new Error('no token')")
    target = tmp_path / "x.tar"
    found = await discovery.find(binary)
    env = variables.environment({"TOKEN": "hunter2"})
    async with ProcessGroup() as group:
        options = {"vus": "3", "duration": "1m30s"}
        ended = await found.archive(script, target, env=env, options=options)
        plan = await found.inspect(target, group=group, env=env, options={"vus": 3})
        gone = script.with_name("gone.tar")
        no_plan = await found.inspect(gone, group=group, env=env, options={})
    assert (ended.exit_code, ended.errors) == (0, [])
    assert plan == k6.Plan(total_s=120.0, max_vus=3)  # k6 adds 30 s to stop gracefully
    assert no_plan is None
    with tarfile.open(target) as tar:
        file = tar.extractfile("metadata.json")
        assert file is not None
        metadata = orjson.loads(file.read())
    assert metadata["options"]["vus"] == 3
    assert not metadata["env"]


SCENARIO = """export const options = { scenarios: { s: {
  executor: 'constant-vus', vus: 1, duration: '12m', exec: 'go' } } };
export function go() {}
"""
DURATION = "export const options = { duration: '3s' };\nexport default function () {}\n"


@both
@pytest.mark.parametrize(
    ("text", "env", "planned_s"),
    [
        (SCENARIO.replace(", exec: 'go'", "") + "export default go;", {}, 750),
        (SCENARIO, {}, 750),
        (DURATION, {}, 33),
        (DURATION, {"K6_VUS": "7", "K6_DURATION": "5s"}, 35),
        ("export default function () {}", {}, 630),
    ],
)
async def test_the_plan_is_that_of_the_snapshot(
    tmp_path: Path, binary: Path, text: str, env: dict[str, str], planned_s: float
) -> None:
    """With scenarios, with and without a default function, by shortcuts, by variables."""
    script = tmp_path / "s.js"
    script.write_text(text)
    (work := tmp_path / "work").mkdir()
    found = await discovery.find(binary)
    passed = variables.environment(env)
    async with ProcessGroup() as group:
        looked = await archive.look(script, name="s.js", k6=found, workdir=work, env=passed)
        assert looked.archive is not None, looked.error
        plan = await found.inspect(looked.archive, group=group, env=passed, options=looked.options)
    assert plan is not None
    assert plan.total_s == planned_s


@both
async def test_init_code_that_never_ends_is_ended(tmp_path: Path, binary: Path) -> None:
    """An endless loop, silent or chatty, ends at the time-out with a word about it."""
    found = await discovery.find(binary)
    for loop in ("while (true) {}", "while (true) { console.log('x'.repeat(1000)) }"):
        script = _script(tmp_path, "", top=loop)
        ended = await found.archive(
            script,
            tmp_path / "x.tar",
            env=variables.environment({}),
            options={},
            timeout_s=0.5,
        )
        assert ended.timed_out
        assert ended.errors == ["the script's init code did not end within 0.5 s"]


@both
async def test_a_run_is_measured_and_its_words_are_kept(
    tmp_path: Path, binary: Path, target: Target
) -> None:
    """Exit 0, k6's printed summary on one side, the script's console on the other."""
    bare = await bare_run(
        _script(tmp_path, f"http.get('{target.url}/a'); console.log('hi', 'there')"), binary=binary
    )
    assert (bare.ended.exit_code, bare.ended.signals, bare.ended.errors) == (0, [], [])
    assert not bare.ended.timed_out
    assert not bare.ended.stopped
    assert bare.ended.elapsed_s > 0
    assert bare.summary.metrics.total_requests == target.requests["GET /a"] == 1
    assert "info console hi there" in bare.log.head
    assert "http_req_duration" in bare.output.head


@both
async def test_handle_summary_prints_and_writes_in_the_runs_own_folder(
    tmp_path: Path, binary: Path
) -> None:
    """What handleSummary prints is kept, and files go where the run works; our summary stays."""
    top = "export function handleSummary() { return { stdout: 'own words', 'own.txt': 'kept' }; }"
    bare = await bare_run(_script(tmp_path, "", top=top), binary=binary)
    assert bare.output.head == "own words"
    assert (tmp_path / "work" / "files" / "own.txt").read_text() == "kept"
    assert bare.summary.metrics.iterations == 1


@both
async def test_at_the_deadline_k6_is_interrupted_and_its_summary_kept(
    tmp_path: Path, binary: Path, target: Target
) -> None:
    """SIGINT is enough for k6; what was measured until then is in the summary."""
    top = "import { sleep } from 'k6'; export const options = { duration: '1m' };"
    script = _script(tmp_path, f"http.get('{target.url}/a'); sleep(0.1)", top=top)

    async def under_load() -> float:
        while target.requests["GET /a"] < 3:  # however long k6 takes to start  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return 0.0

    bare = await bare_run(script, binary=binary, deadline=under_load())
    assert bare.ended.timed_out
    assert bare.ended.signals == ["SIGINT"]
    assert bare.ended.exit_code == 105
    cut_off = target.requests["GET /a"] - (bare.summary.metrics.total_requests or 0)
    assert cut_off in (0, 1), "the one, if any, that was under way when the signal came"


async def test_being_told_to_stop_is_not_a_time_out(tmp_path: Path, target: Target) -> None:
    """The run ends by SIGINT at once, as stopped."""
    top = "import { sleep } from 'k6'; export const options = { duration: '1m' };"
    script = _script(tmp_path, f"http.get('{target.url}/a'); sleep(0.1)", top=top)
    bare = await bare_run(script, stop_after_s=1.5)
    assert (bare.ended.stopped, bare.ended.timed_out) == (True, False)
    assert bare.ended.signals == ["SIGINT"]


async def _run_command(
    folder: Path, shell: str, *, deadline_s: float = PATIENCE_S
) -> tuple[k6.Ended, LogBuffer, LogBuffer]:
    """A shell in k6's place, for what k6 does only when it is ill."""
    log, output = LogBuffer(4096), LogBuffer(4096)
    deadline: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    deadline.set_result(deadline_s)
    async with ProcessGroup() as group:
        ended = await k6.K6(NEW, "1.1.0").run(
            ["/bin/sh", "-c", shell],
            group=group,
            env=variables.environment({}),
            cwd=folder,
            log=log,
            output=output,
            deadline=deadline,
            stop=asyncio.Event(),
            stop_grace_s=0.3,
        )
    return ended, log, output


async def test_who_heeds_no_signal_is_killed(tmp_path: Path) -> None:
    """SIGINT, SIGTERM, SIGKILL to the whole group; the exit code tells the last."""
    pid_file = tmp_path / "pid"
    shell = f"trap '' INT TERM; sleep 1000 & echo $! > {pid_file}; while :; do sleep 0.1; done"
    ended, _, _ = await _run_command(tmp_path, shell, deadline_s=0.5)
    assert ended.signals == ["SIGINT", "SIGTERM", "SIGKILL"]
    assert (ended.exit_code, ended.timed_out) == (-signal.SIGKILL, True)
    await _until(lambda: not _alive(int(pid_file.read_text())))


async def test_a_child_that_keeps_the_pipes_open_does_not_keep_us(tmp_path: Path) -> None:
    """The run ends with k6; whoever holds its pipes after that is killed."""
    pid_file = tmp_path / "pid"
    ended, _, output = await _run_command(
        tmp_path, f"sleep 1000 & echo $! > {pid_file}; echo done; exit 3"
    )
    assert (ended.exit_code, ended.signals) == (3, [])
    assert output.log().head == "done"
    await _until(lambda: not _alive(int(pid_file.read_text())))


async def test_garbage_is_read_away(tmp_path: Path) -> None:
    """A megabyte of random bytes on both pipes is no error and keeps to its bound."""
    ended, log, output = await _run_command(
        tmp_path, "head -c 1000000 /dev/urandom; head -c 1000000 /dev/urandom >&2"
    )
    assert ended.exit_code == 0
    for kept in (log.log(), output.log()):
        assert kept.cut_bytes > 0
        assert len(kept.head) + len(kept.tail) < 10_000


ORPHAN_MAKER = """
import asyncio, pathlib, sys
from k6d.execution.local.process_group import ProcessGroup

async def main():
    async with ProcessGroup() as group:
        process = await group.spawn(["sleep", "1000"], env={}, cwd=pathlib.Path("/"))
        print(process.pid, flush=True)
        await process.wait()

asyncio.run(main())
"""


def test_no_process_survives_its_daemon() -> None:
    """Kill -9 of the process that holds the group takes everything in the group with it."""
    with subprocess.Popen([sys.executable, "-c", ORPHAN_MAKER], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        assert _alive(pid)
        holder.kill()
        holder.wait()
        asyncio.run(_until(lambda: not _alive(pid)))


async def test_leaving_the_guard_kills_what_is_left() -> None:
    """A process that nobody waited for is gone when the job is over."""
    async with ProcessGroup() as group:
        process = await group.spawn(["sleep", "1000"], env={"PATH": os.defpath}, cwd=Path("/"))
    async with asyncio.timeout(PATIENCE_S):
        assert await process.wait() == -signal.SIGKILL


async def test_a_run_can_be_cancelled(tmp_path: Path) -> None:
    """Cancelling leaves no process behind and takes no grace period."""
    pid_file = tmp_path / "pid"
    shell = f"echo $$ > {pid_file}; exec sleep 1000"
    task = asyncio.create_task(_run_command(tmp_path, shell))
    await _until(lambda: pid_file.exists() and bool(pid_file.read_text().strip()))
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < PATIENCE_S
    assert not _alive(int(pid_file.read_text()))


async def test_a_cancelled_run_has_ended_when_that_is_told(tmp_path: Path) -> None:
    """Also one that takes its time to die, as k6 with its memory does."""
    pid_file = tmp_path / "pid"
    program = tmp_path / "large.py"
    program.write_text(
        "import os, pathlib, sys, time\n"
        "held = bytearray(300 << 20)\n"
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        "time.sleep(1000)\n"
    )
    task = asyncio.create_task(
        _run_command(tmp_path, f"exec {sys.executable} {program} {pid_file}")
    )
    await _until(lambda: pid_file.exists() and bool(pid_file.read_text()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not _alive(int(pid_file.read_text()))


@pytest.mark.parametrize(
    ("own", "flags"),
    [
        ({}, ["--tag", "testid=1", "--tag", "script=s.js"]),
        ({"script": "mine", "a": "b=c"}, ["testid=1", "script=mine", "a=b=c"]),
        ({"empty": ""}, []),
        ({"a=b": "c"}, []),
    ],
)
def test_tags_of_the_script_survive_those_of_ours(own: dict[str, str], flags: list[str]) -> None:
    """`--tag` replaces `options.tags`: all are given, or, where a flag cannot give one, none."""
    command, _ = k6.K6(NEW, "1.1.0").run_command(
        Path("x.tar"),
        summary=Path("s.json"),
        options={"tags": own},
        env={},
        tags={"testid": "1", "script": "s.js"},
    )
    given = [one for flag, one in itertools.pairwise(command) if flag == "--tag"]
    assert given == [flag for flag in flags if flag != "--tag"]


def test_the_docs_name_the_versions_that_were_tried() -> None:
    """The newest that k6d knows has a column and the oldest, too."""
    page = (ROOT / "daemon" / "docs" / "k6-versions.md").read_text()
    table = next(line for line in page.splitlines() if line.startswith("| |"))
    columns = [tuple(map(int, name.split(".")[:2])) for name in re.findall(r"[\d.]+", table)]
    assert (columns[0], columns[-1]) == (discovery.OLDEST, discovery.NEWEST_TRIED)
