"""Helpers that fork from a warm process: their answers, their ends, and what they leave."""

import asyncio
import fcntl
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from k6d.core import fork_server
from k6d.core.fork_server import WorkerError, ask
from support.daemon import PATIENCE_S, until

PROGRAM = ("a_forked_helper", "an argument")
HELPER = """
import os, signal, sys, time
from k6d.core import fork_server

loaded_by = os.getpid()

def answer(request):
    do = request["do"]
    if do == "hang":
        time.sleep(60)
    if do == "exit":
        os._exit(3)
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "end the server":
        os.kill(loaded_by, signal.SIGKILL)
    if do == "touch":
        time.sleep(0.5)
        open(request["path"], "w").close()
    if do == "wait":
        open(request["path"] + ".begun", "w").close()
        while not os.path.exists(request["path"] + ".go"):
            time.sleep(0.01)
        open(request["path"], "w").close()
    return {
        "given": request["given"], "pid": os.getpid(), "session": os.getsid(0),
        "server": loaded_by, "arguments": sys.argv[2:], "variable": os.environ.get("A_VARIABLE"),
    }

fork_server.serve(answer)
"""

KILLED_EARLY = """
import os, signal
from k6d.core import fork_server, memory

memory.limit = lambda: os.kill(os.getpid(), signal.SIGKILL)
fork_server.serve(dict)
"""


@pytest.fixture(scope="module", autouse=True)
def _helper(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("helper")
    (folder / "a_forked_helper.py").write_text(HELPER)
    (folder / "a_helper_killed_early.py").write_text(KILLED_EARLY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        yield


async def _ask(do: str = "", *, timeout_s: float = 20.0, own_s: float = 20.0, **more: Any) -> Any:
    request = {"do": do, "given": "ä", "timeout_s": own_s} | more
    lock = request.pop("lock", None)
    return await ask(PROGRAM, request, timeout_s=timeout_s, lock=lock)


async def test_each_request_has_a_process_of_its_own_and_the_libraries_load_once() -> None:
    """The processes differ, their server does not; each is out of reach of a terminal's Ctrl-C."""
    answers = await asyncio.gather(*(_ask() for _ in range(4)))
    assert len({answer["pid"] for answer in answers}) == 4
    assert len({answer["server"] for answer in answers}) == 1
    assert all(answer["session"] == answer["pid"] != os.getsid(0) for answer in answers)
    assert {answer["given"] for answer in answers} == {"ä"}
    assert answers[0]["arguments"] == ["an argument"]


async def test_a_request_has_the_environment_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is not UTF-8, which variables may be."""
    monkeypatch.setenv("A_VARIABLE", "one")
    first = await _ask()
    monkeypatch.setenv("A_VARIABLE", os.fsdecode(b"caf\xe9").replace("\udce9", "e"))
    monkeypatch.setenv("ANOTHER", os.fsdecode(b"caf\xe9"))
    second = await _ask()
    assert (first["variable"], second["variable"]) == ("one", "cafe")
    assert first["server"] == second["server"]


@pytest.mark.parametrize(("do", "why"), [("exit", "exit 3"), ("kill", "exit -9")])
async def test_a_helper_that_fails(do: str, why: str) -> None:
    """It exits or is killed: an error that names its exit code; the next request is answered."""
    with pytest.raises(WorkerError, match=why):
        await _ask(do)
    assert (await _ask())["given"] == "ä"


async def test_a_helper_that_is_killed_before_it_reads_the_request() -> None:
    """The system is short of memory, for example: an error like that of any other kill."""
    with pytest.raises(WorkerError, match=r"killed|exit -9"):
        await ask(("a_helper_killed_early",), {"timeout_s": 20}, timeout_s=20)


async def _retire() -> None:
    """The next request has a new server."""
    if server := fork_server._servers.get(PROGRAM):
        fork_server._retire(PROGRAM, server)


def _open_files() -> list[str]:
    return [link.name for link in Path("/proc/self/fd").iterdir()]


@pytest.mark.parametrize("free", [0, 1, 2, 3, 4, 5])
def test_a_helper_without_room_for_its_files(free: int) -> None:
    """The process has as many files open as it may: an error that says so, and no file more."""
    runner = asyncio.Runner()
    runner.run(_retire())
    before = _open_files()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = next(number for number in range(soft) if not Path(f"/proc/self/fd/{number}").exists())
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + free, hard))
    try:
        with pytest.raises(WorkerError, match="it did not start: Too many open files"):
            runner.run(_ask())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert _open_files() == before
    runner.close()


async def test_a_server_that_is_killed_is_replaced() -> None:
    """The request under way is still answered; the next one has a new server."""
    first = await _ask("end the server")
    second = await _ask()
    assert first["given"] == second["given"] == "ä"
    assert first["server"] != second["server"]


@pytest.mark.parametrize(("own_s", "ours_s"), [(1.0, 20.0), (20.0, 1.0)], ids=["its", "ours"])
async def test_a_helper_that_hangs_is_ended(own_s: float, ours_s: float) -> None:
    """By its own alarm, or killed by the one that waits for it; another one is not disturbed."""
    await _ask()
    other = asyncio.create_task(_ask())
    with pytest.raises(TimeoutError):
        await _ask("hang", own_s=own_s, timeout_s=ours_s)
    assert (await other)["given"] == "ä"


async def test_a_helper_that_was_not_started_in_time_does_nothing(tmp_path: Path) -> None:
    """Its server is still loading, or about to fork: it is killed, and nothing happens later."""
    await _retire()
    with pytest.raises(TimeoutError):
        await _ask("touch", timeout_s=0.001, path=str(tmp_path / "touched"))
    await _ask("touch", path=str(tmp_path / "other"))
    assert not (tmp_path / "touched").exists()


async def test_a_cancelled_request_leaves_no_process(tmp_path: Path) -> None:
    """The lock that the helper inherited is free afterwards."""
    path = tmp_path / "lock"
    lock = path.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    asking = asyncio.create_task(_ask("hang", lock=lock))
    async with asyncio.timeout(20):
        while not lock.closed:  # noqa: ASYNC110  (closed once the helper has it)
            await asyncio.sleep(0.01)
    with path.open("w") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_helper_outlives_the_one_that_asks(tmp_path: Path) -> None:
    """Killed in mid-request, its parent leaves a helper that holds the lock and does its work."""
    path, touched = tmp_path / "lock", tmp_path / "touched"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pid = os.fork()
        if pid == 0:
            fork_server._servers.clear()
            asyncio.run(_killed_at_once(lock, touched))
            os._exit(0)
    os.waitpid(pid, 0)
    with path.open("w") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(f"{touched}.go").touch()
        until(touched.exists, "the helper to do its work")
        fcntl.flock(other, fcntl.LOCK_EX)


async def _killed_at_once(lock: Any, touched: Path) -> None:
    await _ask()
    asking = asyncio.create_task(_ask("wait", lock=lock, path=str(touched), own_s=PATIENCE_S))
    while not Path(f"{touched}.begun").exists():  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
    await asking


async def test_the_server_ends_when_it_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reaped, too; the next request starts another one."""
    monkeypatch.setattr(fork_server, "WARM_S", 0.2)
    first = await _ask()
    await asyncio.to_thread(
        until, lambda: not Path(f"/proc/{first['server']}").exists(), "the server to end"
    )
    assert (await _ask())["server"] != first["server"]
