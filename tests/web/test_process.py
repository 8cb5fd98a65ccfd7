"""The process that answers HTTP: it comes with a request, goes when nobody asks, and may die."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from k6d.daemon.http_supervisor import HEALTHY_S, LONGEST_AGAIN_S, Waits
from k6d.web.server import OTHER_VERSION
from support.daemon import PATIENCE_S, hitting, lasting, until
from support.receivers import closed_port

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import Daemon
    from support.serving import Served
    from support.target import Target

HISTORY = "/api/v1/test/history"


def test_it_comes_and_goes(served: Served) -> None:
    """None before the first request; the same one for the next; none when nobody has asked."""
    served.start(K6D_API__IDLE="2s")
    assert served.answering() == []
    assert served.get(HISTORY).status == 200
    (first,) = served.answering()
    assert served.get("/").status == 200
    assert served.answering() == [first]
    until(lambda: not served.answering(), "the process to end")
    assert served.get(HISTORY).status == 200
    (second,) = served.answering()
    assert second != first
    assert "ended with code" not in served.log


@pytest.mark.long
def test_nobody_is_turned_away_while_it_ends(served: Served) -> None:
    """Asked at just the moments at which it goes, from several sides, everybody gets an answer."""
    served.start(K6D_API__IDLE="1s")
    seen: set[int] = set()
    failed: list[object] = []

    def ask() -> None:
        try:
            assert served.get(HISTORY).status == 200
        except (OSError, http.client.HTTPException, AssertionError) as error:
            failed.append(error)

    for pause_s in (1.9, 2.1, 2.3, 2.5, 2.7, 2.9, 3.1):
        asking = [threading.Thread(target=ask) for _ in range(4)]
        for one in asking:
            one.start()
        for one in asking:
            one.join()
        seen.update(served.answering())
        time.sleep(pause_s)
    assert failed == []
    assert len(seen) > 1


def test_who_listens_keeps_it(served: Served) -> None:
    """An open event stream is no idleness."""
    served.start(K6D_API__IDLE="1s")
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE_S)
    connection.request("GET", "/api/v1/live")
    answer = connection.getresponse()
    assert answer.readline() == b"event: queue\n"
    before = served.answering()
    time.sleep(4.0)
    assert served.answering() == before
    connection.close()
    until(lambda: not served.answering(), "the process to end")


def test_its_death_is_no_end(served: Served, target: Target) -> None:
    """Killed in the midst of a run: said, the run goes on, and the next request is answered."""
    served.start()
    served.write("shop.js", lasting(f"{target.url}/shop", seconds=60))
    served.until(lambda: target.requests["GET /shop"], "the run to start")
    assert served.get("/api/v1/queue").json["running"]
    (first,) = served.answering()
    os.kill(first, signal.SIGKILL)
    served.until_logged("the process that answers requests ended with code -9")
    (job,) = served.get("/api/v1/queue").json["running"]
    assert served.ask("DELETE", f"/api/v1/queue/{job['job']}", token=True).status == 202
    assert served.run("shop.js").metrics.total_requests
    served.until(lambda: served.get("/api/v1/queue").json["ended"], "the end to be told")


FAILING = """
import os, sys
if "k6d.web.server" in sys.orig_argv and os.path.exists(os.environ["TRIP"]):
    os._exit(9)
"""


def test_one_that_cannot_start_is_not_started_for_ever(served: Served) -> None:
    """Who waits is turned away, so that only who asks has another one started; then all is well."""
    trip, own = served.home / "trip", served.home / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text(FAILING)
    trip.touch()
    served.start(PYTHONPATH=str(own), TRIP=str(trip))
    with pytest.raises((OSError, http.client.HTTPException)):
        served.get(HISTORY)
    time.sleep(3.0)
    assert served.log.count("the process that answers requests ended with code 9") == 1
    trip.unlink()
    assert served.get(HISTORY).status == 200


def test_the_waits_grow_and_start_anew_after_good_health() -> None:
    """Killed again and again the process is left alone for longer; good health ends that."""
    waits = Waits()
    assert [waits.after(1.0) for _ in range(3)] == [2.0, 4.0, 8.0]
    assert [waits.after(HEALTHY_S), waits.after(1.0)] == [2.0, 4.0]
    assert max(waits.after(0.0) for _ in range(20)) == LONGEST_AGAIN_S
    assert waits.after(24 * 3600.0) == 2.0


def test_another_version_is_told(tmp_path: Path) -> None:
    """After an upgrade under a running daemon."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "k6d.web.server", "0.0.1", "0"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=PATIENCE_S,
    )
    assert done.returncode == OTHER_VERSION
    assert "k6d 0.0.1 runs" in done.stderr
    assert "restart k6d" in done.stderr


def test_it_does_not_outlive_the_daemon(served: Served) -> None:
    """Killed without a word, the daemon leaves nobody on its port: the next one has it at once."""
    served.start()
    assert served.get(HISTORY).status == 200
    assert served.answering()
    served.end(signal.SIGKILL)
    until(lambda: not served.answering(), "the process to end")
    served.start()
    assert "cannot listen" not in served.log
    assert served.get(HISTORY).status == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_of_them_is_the_daemons_business(
    served: Served, target: Target, number: signal.Signals
) -> None:
    """As Ctrl-C does it: the run that somebody waits for is ended, kept and answered."""
    served.start()
    served.write("shop.js", lasting(f"{target.url}/shop", seconds=60))
    served.until(lambda: target.requests["GET /shop"], "the run to start")
    job = served.get("/api/v1/queue").json["running"][0]["job"]
    answers = []

    def ask() -> None:
        body = {"script": "shop.js"}
        answers.append(served.post("/api/v1/scripts/run?wait=true", body))

    waiting = threading.Thread(target=ask)
    waiting.start()
    served.until(lambda: served.get("/api/v1/queue").json["pending"], "the request to be taken")
    assert served.process is not None
    os.killpg(served.process.pid, number)
    assert served.process.wait(PATIENCE_S) == 0
    waiting.join()
    (answer,) = answers
    assert answer.status == 409
    assert "k6d was stopped before it ran" in answer.text
    assert job
    assert served.store.history()[0]["outcome"] == "aborted"


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_a_token_that_cannot_be_read_costs_the_api_alone(
    daemon: Daemon, target: Target, kind: str
) -> None:
    """It is said why, and scripts run."""
    daemon.data.mkdir()
    token = daemon.data / "api-token"
    token.mkdir() if kind == "folder" else os.mkfifo(token)
    daemon.write("shop.js", hitting(f"{target.url}/shop"))
    daemon.start(K6D_API__ENABLED="true", K6D_API__PORT=str(closed_port()))
    daemon.run("shop.js")
    assert f"no API and no dashboard: {token}: is not a regular file" in daemon.log
    assert "dashboard and API at" not in daemon.log
    assert daemon.end() == 0
