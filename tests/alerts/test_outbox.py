"""Nothing lost, nothing twice: real processes killed with SIGKILL at every step."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from k6d import settings
from k6d.alerts.alerting import Alerts
from k6d.alerts.delivery.sender import Sender
from k6d.alerts.outbox import Outbox
from k6d.alerts.records import Change, Message, Sending
from k6d.cli.doctor import examine
from k6d.core.model import K6dError, Severity
from k6d.storage.store import Store
from support.commands import run_k6d
from support.helpers import helpers, own_fork_server
from support.receivers import HttpReceiver
from support.records import make_anomaly, make_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k6d.settings import Settings

PATIENCE_S = 120.0
HERE = Path(__file__).parent

# For each line on its standard input this does one of the two things below in a fork of its own,
# which is killed just before the n-th change of the disk or start of a process. An audit hook sees
# those; nothing of k6d is changed.
DRIVER = """
import json, os, signal, sys
sys.path[:0] = sys.argv[1:]
import test_outbox
def work(what, data, url, left):
    def hook(event, args):
        nonlocal left
        if event in ("os.rename", "os.remove", "os.link", "subprocess.Popen"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    loaded = test_outbox.load(data, url)
    sys.addaudithook(hook)
    getattr(test_outbox, what)(loaded)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        work(*json.loads(line))
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


# In the helpers alone, by Python's own sitecustomize in the server from which they fork: the first
# one that comes to its n-th change of the disk or use of the network is killed just before it.
KILLER = """
import os, signal, sys
server, done = os.getpid(), 0
def hook(event, args):
    global done
    if os.getpid() != server and event in ("os.rename", "socket.connect", "http.client.send"):
        done += 1
        mark = os.environ["KILLED"]
        if done == int(os.environ["KILL_AT"]) and not os.path.exists(mark):
            os.close(os.open(mark, os.O_CREAT))
            os.kill(os.getpid(), signal.SIGKILL)
if "k6d.alerts.delivery.apprise_worker" in sys.orig_argv:
    sys.addaudithook(hook)
"""


class Driver:
    """Does things of k6d in processes that are killed at a step; 0 is never."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", DRIVER, str(HERE), str(HERE.parent)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, text=True, **pipes)

    def begin(self, what: str, data: Path, url: str, kill_at: int = 0) -> int:
        """Start; the process id."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([what, str(data), url, kill_at]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def killed(self) -> bool:
        """Wait for its end; whether it was killed."""
        code = self._answer()
        assert code in (0, -signal.SIGKILL)
        return code != 0

    def _answer(self) -> int:
        assert self._process.stdout
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def driver() -> Iterator[Driver]:
    """A process that does things of k6d."""
    made = Driver()
    yield made
    made.close()


def load(data: str, url: str) -> Settings:
    """Settings for one receiver, without waiting."""
    more = {"notify__group_wait": 0, "notify__retry": 0.2, "notify__timeout": 20}
    return settings.load(data=Path(data), scripts=Path(data), notify__urls=[url], **more)


def run_is_told(loaded: Settings) -> None:
    """What the pipeline does with a run, once k6 has ended."""
    store = Store(loaded.data)
    alerts = Alerts(loaded, store)
    run = make_run(script="a.js", anomaly_analysis=make_anomaly())
    alerts.expect(run.script, run.test_id)
    store.save(run)
    alerts.record(run, True)


def outbox_is_sent(loaded: Settings) -> None:
    """What the sender does."""
    asyncio.run(Sender(loaded.notify, Outbox(loaded.data)).flush())


def _message(number: int = 1) -> Message:
    return Message(
        id=f"m-{number}",
        at=datetime.now(UTC),
        change=Change.OPENED,
        script="a.js",
        subject="slow",
        severity=Severity.HIGH,
        incident=f"i-{number}",
    )


def _flush(outbox: Outbox, loaded: Settings) -> None:
    """Send until nothing waits, as the daemon would after its restart."""
    deadline = time.monotonic() + PATIENCE_S
    outbox_is_sent(loaded)
    while outbox.waiting():
        assert time.monotonic() < deadline, "messages wait for ever"
        outbox_is_sent(loaded)


def test_killed_at_every_step_from_the_run_to_the_outbox(tmp_path: Path, driver: Driver) -> None:
    """Once the run is on the disk, its message is in the outbox after the next start; once."""
    told = 0
    for step in range(1, 100):
        data = tmp_path / str(step)
        driver.begin("run_is_told", data, "json://127.0.0.1:1/", step)
        killed = driver.killed()
        store, outbox = Store(data), Outbox(data)
        store.repair()
        saved = bool(store.history())
        loaded = load(str(data), "json://127.0.0.1:1/")
        for _ in range(2):
            Alerts(loaded, store).recover()
            assert len(outbox.waiting()) == saved, f"killed before step {step}"
        standing = Alerts(loaded, store).incident_states().get("a.js")
        if saved:
            assert standing is not None
            assert (standing.expected, standing.outgoing) == ([], [])
            assert standing.incident is not None
            told += 1
        if not killed:
            break
    assert told >= 5
    assert step > 8


def test_killed_at_every_step_of_sending(tmp_path: Path, driver: Driver) -> None:
    """The receiver gets the message once, wherever the sender was killed."""
    for step in range(1, 100):
        data = tmp_path / str(step)
        with HttpReceiver() as receiver:
            url = f"json://127.0.0.1:{receiver.port}/"
            outbox = Outbox(data)
            outbox.put(_message())
            driver.begin("outbox_is_sent", data, url, step)
            killed = driver.killed()
            _flush(outbox, load(str(data), url))
            assert len(receiver.got) == 1, f"killed before step {step}"
            assert [kept.message.id for kept in outbox.done()] == ["m-1"]
            assert outbox.sendings() == []
            assert not outbox.put(_message()), "what was told is known"
        if not killed:
            break
    assert step > 6


def test_a_helper_outlives_its_daemon(tmp_path: Path, driver: Driver) -> None:
    """Killed while the receiver thinks, the daemon finds at its restart that all went well."""
    with HttpReceiver() as receiver:
        url = f"json://127.0.0.1:{receiver.port}/"
        outbox = Outbox(tmp_path)
        outbox.put(_message())
        pids: list[int] = []
        receiver.on_request = lambda _got: os.kill(pids[0], signal.SIGKILL)
        pids.append(driver.begin("outbox_is_sent", tmp_path, url))
        assert driver.killed()
        _flush(outbox, load(str(tmp_path), url))
        assert len(receiver.got) == 1


def test_a_helper_that_is_killed_sends_again_by_the_same_key(tmp_path: Path) -> None:
    """Nobody can know whether the receiver has it: it gets it again, marked, by the same key."""
    with HttpReceiver() as receiver:
        url = f"json://127.0.0.1:{receiver.port}/"
        outbox = Outbox(tmp_path)
        outbox.put(_message())

        def kill_once(_got: Any) -> None:
            if len(receiver.got) == 1:
                for pid in helpers():
                    os.kill(pid, signal.SIGKILL)

        receiver.on_request = kill_once
        _flush(outbox, load(str(tmp_path), url))
        first, second = receiver.got
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert "Sent again: an earlier attempt may have reached you" in second.json["message"]


def test_the_helper_killed_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, but where it had no time to write what the receiver said: then again, by one key."""
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with own_fork_server():
        twice, step = _killed_at_steps(tmp_path, monkeypatch)
    assert step > 4
    assert twice == 1


def _killed_at_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How many of the messages came twice, and the first step that no helper comes to."""
    twice = 0
    for step in range(1, 100):
        data, mark = tmp_path / str(step), tmp_path / f"{step}.killed"
        monkeypatch.setenv("KILL_AT", str(step))
        monkeypatch.setenv("KILLED", str(mark))
        with HttpReceiver() as receiver:
            url = f"json://127.0.0.1:{receiver.port}/"
            outbox = Outbox(data)
            outbox.put(_message())
            _flush(outbox, load(str(data), url))
            assert [kept.message.id for kept in outbox.done()] == ["m-1"]
            assert 1 <= len(receiver.got) <= 2, f"killed before step {step}"
            assert len({got.headers["Idempotency-Key"] for got in receiver.got}) == 1
            if len(receiver.got) == 2:
                twice += 1
                assert "Sent again: an earlier attempt" in receiver.got[1].json["message"]
        if not mark.exists():
            break
    return twice, step


def test_what_a_killed_helper_left_half_written_goes_with_its_sending(tmp_path: Path) -> None:
    """At once: a daemon that goes on looks for leftovers only at its start and once a day."""
    outbox, sending = Outbox(tmp_path), Sending(key="a1", receiver="r", label="r", messages=[])
    with subprocess.Popen(["/bin/true"]) as killed:
        killed.wait()
    lock = outbox.begin(sending)
    assert lock is not None
    lock.close()
    half = tmp_path / f"outbox/sending/.a1.json.{killed.pid}-00000000.tmp"
    half.write_text("{")
    outbox.end(sending)
    assert not half.exists()
    assert outbox.sendings() == []


def test_two_processes_never_send_the_same(tmp_path: Path, driver: Driver) -> None:
    """`k6d run` beside another one leaves its messages to it, or sends them itself."""
    with HttpReceiver() as receiver:
        url = f"json://127.0.0.1:{receiver.port}/"
        outbox = Outbox(tmp_path)
        for number in (1, 2):
            outbox.put(_message(number))
        driver.begin("outbox_is_sent", tmp_path, url)
        outbox_is_sent(load(str(tmp_path), url))
        assert not driver.killed()
        assert outbox.waiting() == []
        assert sum("slow" in got.json["title"] for got in receiver.got) == len(receiver.got)
        assert len({got.headers["Idempotency-Key"] for got in receiver.got}) == len(receiver.got)
        keys = [kept.message.id for kept in outbox.done()]
        assert keys == ["m-1", "m-2"]


def test_what_does_not_parse_is_set_aside(tmp_path: Path) -> None:
    """A damaged file stops nobody."""
    outbox = Outbox(tmp_path)
    outbox.put(replace(_message(), cause="target shop"))
    (tmp_path / "outbox/waiting/m-0.json").write_text('{"message": 1}')
    assert [kept.message.id for kept in outbox.waiting()] == ["m-1"]
    damaged = tmp_path / "outbox/waiting/m-0.json.unreadable"
    assert outbox.unreadable() == [damaged]
    environment = os.environ | {"COLUMNS": "300"}
    done = run_k6d(
        *("outbox", "--data", str(tmp_path)), cwd=tmp_path, env=environment, timeout_s=PATIENCE_S
    )
    assert done.returncode == 0
    assert "waits for more of the same cause, target shop" in done.stdout
    assert f"{damaged} did not read and will not be delivered" in done.stdout
    checks = asyncio.run(examine(settings.load(data=tmp_path)))
    assert any(not c.ok and str(damaged) in (c.remedy or "") for c in checks)


def test_names_are_checked(tmp_path: Path) -> None:
    """What must not touch a path is refused."""
    bad = Message(id="../x", at=datetime.now(UTC), change=Change.NOTICE, script="", subject="")
    with pytest.raises(K6dError, match="cannot name a message"):
        Outbox(tmp_path).put(bad)


def test_the_key_is_secret_and_stays(tmp_path: Path) -> None:
    """The key of the hashes is for its owner alone, and the same for everybody."""
    keys = {Outbox(tmp_path).key() for _ in range(3)}
    assert len(keys) == 1
    assert (tmp_path / "outbox/key").stat().st_mode & 0o777 == 0o600


def test_old_ones_are_removed(tmp_path: Path) -> None:
    """Delivered messages are kept for two weeks."""
    outbox = Outbox(tmp_path)
    outbox.put(_message())
    (kept,) = outbox.waiting()
    outbox.update(type(kept)(message=kept.message, deliveries={}))
    outbox.repair(datetime.now(UTC) + timedelta(days=14))
    assert len(outbox.done()) == 1
    outbox.repair(datetime.now(UTC) + timedelta(days=16))
    assert outbox.done() == []
