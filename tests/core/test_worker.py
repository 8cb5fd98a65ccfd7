"""Helper processes, real ones: their answers, their ends, and what they leave."""

import os
from pathlib import Path

import pytest

from k6d.core import worker

HELPER = """
import os, signal, sys, time
from k6d.core import worker

def answer(request):
    if request["do"] == "hang":
        time.sleep(60)
    if request["do"] == "exit":
        os._exit(3)
    if request["do"] == "chatter":
        print("no JSON", flush=True)
    if request["do"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"given": request["given"], "pid": os.getpid(), "session": os.getsid(0)}

worker.serve(answer)
"""


@pytest.fixture(autouse=True)
def _helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_helper.py").write_text(HELPER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def _request(do: str = "", timeout_s: float = 20.0) -> dict[str, object]:
    return {"do": do, "given": "ä", "timeout_s": timeout_s}


async def test_a_helper_answers_in_a_session_of_its_own() -> None:
    """A Ctrl-C in the terminal reaches the whole session of its command, not this one."""
    answer = await worker.ask("a_helper", _request(), timeout_s=20)
    assert answer["given"] == "ä"
    assert answer["session"] == answer["pid"] != os.getsid(0)


@pytest.mark.parametrize(
    ("do", "why"), [("exit", "exit 3"), ("chatter", "exit 0"), ("kill", "exit -9")]
)
async def test_a_helper_that_fails(do: str, why: str) -> None:
    """It exits, prints something else, or is killed: an error that names its exit code."""
    with pytest.raises(worker.WorkerError, match=why):
        await worker.ask("a_helper", _request(do), timeout_s=20)


@pytest.mark.parametrize(("own_s", "ours_s"), [(1.0, 20.0), (20.0, 1.0)], ids=["its", "ours"])
async def test_a_helper_that_hangs_is_ended(own_s: float, ours_s: float) -> None:
    """By its own alarm, or killed by the one that waits for it."""
    with pytest.raises(TimeoutError):
        await worker.ask("a_helper", _request("hang", own_s), timeout_s=ours_s)
