"""`k6d serve`: deadlines, signals, kill -9, restarts; the real daemon and k6."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from k6d.core.model import FindingKind, Outcome, Trigger
from support.daemon import K6, PATIENCE_S, Gate, Mailbox, hitting, lasting, until

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import Daemon
    from support.target import Target

# As k6, but what it runs is a child of its own, and itself it ignores every polite signal.
STUBBORN = f"""#!/bin/sh
[ "$1" = run ] || exec {K6} "$@"
trap "" INT TERM HUP
{K6} "$@"
while :; do sleep 60; done
"""


# As k6, but it stays when the test is over, until SIGINT.
LINGERING = f"""#!/bin/sh
[ "$1" = run ] || exec {K6} "$@"
trap "exit 105" INT
{K6} "$@"
while :; do sleep 0.1; done
"""


# As k6, but its plan comes when a short run is over.
SLOW_PLAN = f"""#!/bin/sh
[ "$1" = inspect ] && sleep 0.8
exec {K6} "$@"
"""


def program(folder: Path, text: str) -> str:
    """A program that stands in k6's place; its path."""
    path = folder / "odd-k6"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def under_way(daemon: Daemon, target: Target, path: str) -> None:
    """Wait until the target has been asked for the path."""
    daemon.until(lambda: target.requests[f"GET {path}"], f"a request for {path}")


def test_run_that_takes_too_long_is_stopped_and_kept(
    daemon: Daemon, target: Target, tmp_path: Path
) -> None:
    """Past the script's own time-out: SIGINT, what was measured is kept; k6 ends a long setup().

    The deadline is on record though k6's plan comes after the end of the run.
    """
    hanging = "export function setup() { while (true) sleep(1); }"
    granted = "setupTimeout: '500ms'"
    script = lasting(f"{target.url}/hanging", seconds=1, more=hanging, options=granted)
    daemon.write("hanging.js", script)
    own = "ext: { k6d: { timeout: '4s' } }"
    daemon.write("own.js", lasting(f"{target.url}/own", options=own))
    daemon.write("quick.js", lasting(f"{target.url}/quick", seconds=1))
    daemon.start(K6D_K6__GRACE="1s", K6D_K6__PATH=program(tmp_path, SLOW_PLAN))

    run = daemon.run("own.js")
    assert run.execution.outcome is Outcome.TIMED_OUT
    assert run.execution.deadline_s == 4
    # SIGINT also ends the k6 that says what it plans, if it has not said so by then.
    assert run.execution.planned_s in (30, None)
    assert run.execution.signals == ["SIGINT"]
    assert run.metrics.total_requests
    cut_off = target.requests["GET /own"] - run.metrics.total_requests
    assert cut_off in (0, 1), "the one, if any, that was under way when the signal came"
    assert [e.count for e in run.breakdown.endpoints] == [run.metrics.total_requests]
    assert run.anomaly_analysis.findings[0].kind is FindingKind.TIMED_OUT
    assert run.status == "failed"

    run = daemon.run("hanging.js")
    assert run.execution.outcome is Outcome.SCRIPT_ERROR
    assert (run.execution.error or "").startswith("setup() took too long")
    assert (run.execution.planned_s, run.execution.deadline_s) == (1, 2.5)
    assert daemon.run("quick.js").execution.outcome is Outcome.COMPLETED


def test_k6_that_stays_after_its_end_is_stopped(
    daemon: Daemon, target: Target, tmp_path: Path
) -> None:
    """Past its plan and grace: SIGINT, and what was measured is kept (grafana/k6#2937)."""
    daemon.write("a.js", lasting(f"{target.url}/a", seconds=1))
    daemon.start(K6D_K6__PATH=program(tmp_path, LINGERING), K6D_K6__GRACE="1s")
    run = daemon.run("a.js")
    assert run.execution.outcome is Outcome.TIMED_OUT
    assert (run.execution.planned_s, run.execution.deadline_s) == (1, 2)
    assert run.execution.signals == ["SIGINT"]
    cut_off = target.requests["GET /a"] - (run.metrics.total_requests or 0)
    assert cut_off in (0, 1), "the one, if any, that was under way at the end of the duration"


def test_k6_that_ignores_signals_is_killed(daemon: Daemon, target: Target, tmp_path: Path) -> None:
    """With the global time-out: SIGINT, SIGTERM, SIGKILL to the whole group; the numbers stay."""
    daemon.write("a.js", lasting(f"{target.url}/a"))
    daemon.start(
        K6D_K6__PATH=program(tmp_path, STUBBORN), K6D_K6__TIMEOUT="1", K6D_K6__STOP_GRACE="500ms"
    )
    run = daemon.run("a.js")
    assert run.execution.signals == ["SIGINT", "SIGTERM", "SIGKILL"]
    assert run.execution.outcome is Outcome.TIMED_OUT
    assert run.execution.deadline_s == 1
    (count,) = [endpoint.count for endpoint in run.breakdown.endpoints]
    cut_off = target.requests["GET /a"] - count
    assert cut_off in (0, 1), "the one, if any, that was under way when the signal came"
    until(lambda: not daemon.processes(), "the whole group to be gone")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_run_gracefully_and_saves_it(
    daemon: Daemon, target: Target, number: signal.Signals
) -> None:
    """SIGTERM or Ctrl-C: teardown runs, the run is saved as aborted, no other begins, exit 0.

    Started again, the daemon runs both the one that was aborted and the one that waited.
    """
    teardown = f"export function teardown() {{ http.get('{target.url}/teardown'); }}"
    daemon.write("a.js", lasting(f"{target.url}/a", seconds=6, more=teardown))
    daemon.write("b.js", hitting(f"{target.url}/b"))
    daemon.start()
    under_way(daemon, target, "/a")
    until(lambda: target.requests["GET /a"] >= 3, "some requests")
    assert daemon.end(number) == 0
    assert daemon.processes() == []
    assert daemon.log.rstrip().endswith("stopped")
    run = daemon.run("a.js")
    assert run.execution.outcome is Outcome.ABORTED
    assert run.status == "failed"
    assert run.execution.signals == ["SIGINT"]
    assert not run.anomaly_analysis.anomalies_detected
    # k6 counts a request that it had to cut off no more, though the target has seen it.
    assert run.metrics.total_requests in (sum(target.requests.values()) - i for i in (0, 1))
    assert target.requests["GET /teardown"] == 1
    assert daemon.counts() == {"a.js": 1}

    daemon.start()
    assert daemon.run("a.js", 2).execution.outcome is Outcome.COMPLETED
    assert daemon.run("b.js").execution.outcome is Outcome.COMPLETED
    daemon.barrier()
    assert daemon.counts() == {"a.js": 2, "b.js": 1}


def test_second_signal_forces(daemon: Daemon, target: Target, tmp_path: Path) -> None:
    """While a k6 that ignores signals is being ended, a second signal ends all at once."""
    daemon.write("a.js", lasting(f"{target.url}/a"))
    daemon.start(K6D_K6__PATH=program(tmp_path, STUBBORN), K6D_K6__STOP_GRACE="1h")
    under_way(daemon, target, "/a")
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGTERM)
    daemon.until_logged("SIGTERM: stopping; ending a.js")
    assert daemon.end(signal.SIGINT) == 1
    until(lambda: not daemon.processes(), "every process to be gone")
    daemon.start()
    assert daemon.runs("a.js")[0].execution.outcome is Outcome.ABORTED


def test_stopping_waits_neither_for_others_nor_for_init_code(
    daemon: Daemon, target: Target
) -> None:
    """A job that has not begun is left for the next start: in line behind k6d run, or in init.

    1. `k6d run` holds the slot, the daemon's job waits for it. Result: SIGTERM ends the daemon.
    2. A script's init code never ends. Result: the same, and no k6 is left.
    """
    gate = Gate()
    target.latency["/cli"] = gate
    daemon.write("daemon.js", hitting(f"{target.url}/daemon"))
    beside = daemon.write(str(daemon.home / "cli.js"), hitting(f"{target.url}/cli", iterations=1))
    cli = subprocess.Popen(
        daemon.command("run", str(beside)),
        cwd=daemon.home,
        env=daemon.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(gate.reached.is_set, "k6d run to be under way")
    daemon.start()
    daemon.until_logged("daemon.js waits: a load test of its group, or outside this daemon")
    assert daemon.end() == 0
    gate.opened.set()
    assert cli.wait(PATIENCE_S) in (0, 1)
    assert target.requests["GET /daemon"] == 0

    daemon.write("daemon.js", "import 'k6';\nwhile (true) {}\nexport default function () {}\n")
    daemon.start()
    daemon.until(lambda: any(" archive " in p for p in daemon.processes()), "init code to run")
    assert daemon.end() == 0
    assert daemon.processes() == []
    daemon.write("daemon.js", hitting(f"{target.url}/daemon"))
    daemon.start()
    daemon.run("daemon.js")
    daemon.barrier()
    assert set(daemon.counts().values()) == {1}


@pytest.mark.long
def test_stopping_gives_up_a_message_that_hangs(daemon: Daemon, target: Target) -> None:
    """A receiver that never answers holds up no run, and the end for ten seconds at most."""
    target.failing = True
    daemon.write("a.js", hitting(f"{target.url}/a"))
    with Mailbox() as mailbox:
        mailbox.hanging.add("/hangs")
        urls = f"json://{mailbox.address}/hangs?rto=60"  # Apprise itself gives up after 4 s
        daemon.start(K6D_NOTIFY__URLS=urls, K6D_NOTIFY__TIMEOUT="1h")
        assert daemon.run("a.js").anomaly_analysis.anomalies_detected
        until(lambda: mailbox.letters, "the receiver to hang")
        target.failing = False
        daemon.write("b.js", hitting(f"{target.url}/b"))
        daemon.run("b.js")
        assert daemon.end() == 0
    assert "the delivery to a receiver that hangs is left for the next start" in daemon.log
    assert daemon.processes() == []


def test_kill_9_leaves_no_k6_and_the_run_is_recorded(daemon: Daemon, target: Target) -> None:
    """After kill -9 no process survives; the next start records the interruption and runs anew."""
    daemon.write("a.js", lasting(f"{target.url}/a", seconds=2))
    daemon.start()
    under_way(daemon, target, "/a")
    assert any(" run " in process for process in daemon.processes())
    assert daemon.end(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not daemon.processes(), "k6 to be gone")
    assert daemon.counts() == {}

    daemon.start()
    interrupted, again = daemon.run("a.js"), daemon.run("a.js", 2)
    assert interrupted.execution.outcome is Outcome.ABORTED
    assert interrupted.status == "failed"
    assert "interrupted" in interrupted.anomaly_analysis.doubts[0]
    assert not interrupted.anomaly_analysis.anomalies_detected
    assert again.execution.outcome is Outcome.COMPLETED
    assert again.trigger is Trigger.ADDED
    daemon.barrier()
    assert daemon.counts() == {"a.js": 2}
    work = daemon.data / "work"  # a folder goes only after its run was saved
    until(lambda: list(work.iterdir()) == [], "the folders of the jobs to go")


def test_a_stop_leaves_what_a_schedule_wanted_to_the_next_start(
    daemon: Daemon, target: Target
) -> None:
    """SIGTERM during the run, as at an upgrade: it is saved as aborted, and runs again once."""
    daemon.write("a.js", lasting(f"{target.url}/a", seconds=3))
    daemon.start()
    assert daemon.run("a.js").execution.outcome is Outcome.COMPLETED
    assert daemon.end() == 0
    daemon.wanted("a.js", Trigger.SCHEDULED)
    target.served.clear()
    target.requests.clear()
    daemon.start()
    under_way(daemon, target, "/a")
    assert daemon.end() == 0
    assert daemon.run("a.js", 2).execution.outcome is Outcome.ABORTED

    daemon.start()
    again = daemon.run("a.js", 3)
    assert (again.execution.outcome, again.trigger) == (Outcome.COMPLETED, Trigger.SCHEDULED)
    daemon.barrier()
    assert daemon.store.state("queue").all() == {}
    assert daemon.counts() == {"a.js": 3}


def test_what_is_due_runs_though_it_was_changed_and_put_back_meanwhile(
    daemon: Daemon, target: Target
) -> None:
    """The change came to nothing, the schedule did not."""
    text = hitting(f"{target.url}/a")
    daemon.write("a.js", text)
    daemon.write("long.js", lasting(f"{target.url}/long", seconds=4))
    daemon.start()
    daemon.run("a.js")
    daemon.run("long.js")
    assert daemon.end() == 0
    daemon.wanted("long.js", Trigger.MANUAL)
    daemon.wanted("a.js", Trigger.SCHEDULED)
    target.served.clear()
    target.requests.clear()
    daemon.start(LOG_LEVEL="debug")
    under_way(daemon, target, "/long")
    daemon.write("a.js", f"{text}// changed\n")
    daemon.until_logged("a.js is pending already")
    daemon.write("a.js", text)
    assert daemon.run("a.js", 2).execution.outcome is Outcome.COMPLETED
    daemon.barrier()
    assert daemon.counts() == {"a.js": 2, "long.js": 2}


def test_second_daemon_on_the_same_data_is_refused(daemon: Daemon) -> None:
    """It says who has the data folder, exits with 2, and disturbs nothing."""
    daemon.start()
    assert daemon.process is not None
    second = daemon.call("serve")
    assert second.returncode == 2
    assert f"another k6d (pid {daemon.process.pid}) serves {daemon.data}" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    daemon.barrier()
    daemon.end(signal.SIGKILL)
    daemon.start()
