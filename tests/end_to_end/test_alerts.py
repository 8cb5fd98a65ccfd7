"""From a failing script to its receiver: the real daemon, the real k6, the real commands."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from rich.console import Console

from k6d import settings
from k6d.alerts.alerting import Alerts
from k6d.alerts.delivery.heartbeat import Heartbeat
from k6d.alerts.outbox import Outbox
from k6d.cli.render.alerts import incidents_table
from k6d.core.model import Severity, Trigger
from k6d.daemon.__main__ import command_line
from k6d.storage.locks import only_daemon
from k6d.storage.store import Store
from support.commands import run_k6d
from support.receivers import HttpReceiver, closed_port
from support.records import NOON, make_anomaly, make_run
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k6d.alerts.records import OutboxEntry

PATIENCE_S = 120.0
SCRIPT = """
import http from 'k6/http';
export const options = { vus: 1, iterations: 25, ext: { k6d: { notify: ['shop'] } } };
export default function () { http.get('%s/cart'); }
// %d
"""
SECRET = "hunter2-hunter2"
HERE = socket.gethostname()


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    """Takes messages, and heartbeats at /beat."""
    with HttpReceiver() as made:
        yield made


def messages(receiver: HttpReceiver) -> list[dict[str, Any]]:
    """The messages that came, without heartbeats."""
    return [got.json for got in receiver.taken if got.path != "/beat"]


def environment(folder: Path, receiver: HttpReceiver, **more: str) -> dict[str, str]:
    """An environment with settings for a daemon in the folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("K6", "GEMINI", "AI_"))}
    config = folder / "apprise.yml"
    url = f"json://user:{SECRET}@127.0.0.1:{receiver.port}/{SECRET}"
    config.write_text(f'version: 1\nurls:\n  - "{url}":\n      - tag: shop\n')
    return kept | {
        "K6D_SCRIPTS": str(folder / "scripts"),
        "K6D_DATA": str(folder / "data"),
        "K6D_NOTIFY__CONFIG": str(config),
        "K6D_NOTIFY__GROUP_WAIT": "0.1",
        "K6D_NOTIFY__RETRY": "0.5",
        "K6D_NOTIFY__HEARTBEAT": f"http://127.0.0.1:{receiver.port}/beat",
        "K6D_NOTIFY__HEARTBEAT_EVERY": "1s",
        "K6D_LOG_LEVEL": "debug",
        "K6D_COMPARE__MAX_CPU": "100",
        "K6D_API__ENABLED": "false",
        **more,
    }


def k6d(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    return run_k6d(*arguments, cwd=Path.cwd(), env=env, timeout_s=PATIENCE_S)


def until(happened: Callable[[], object], what: str) -> None:
    """Wait for it, with a deadline."""
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


@contextmanager
def daemon(env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`k6d serve`, ended at the end."""
    with log.open("ab") as file:
        process = subprocess.Popen(command_line(None), env=env, stderr=file)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


def test_the_daemon_tells_of_an_incident_from_beginning_to_end(
    tmp_path: Path, receiver: HttpReceiver
) -> None:
    """Opened once, killed with its message undelivered, told after all, resolved once."""
    scripts, log = tmp_path / "scripts", tmp_path / "log"
    scripts.mkdir()
    env = environment(tmp_path, receiver)
    with Target() as target:
        target.failing = True
        receiver.plan = [404] * 50
        (scripts / "shop.js").write_text(SCRIPT % (target.url, 1))
        with daemon(env, log) as process:
            refused = "could not deliver"
            until(lambda: refused in log.read_text(), "a refused delivery")
            process.kill()
        listed = orjson.loads(k6d(env, "outbox", "--json").stdout)
        assert [(row["state"], row["change"]) for row in listed] == [("waiting", "opened")]
        doctor = k6d(env, "doctor").stdout
        assert "HTTP 404: no_service" in doctor
        receiver.plan = []
        with daemon(env, log):
            until(lambda: messages(receiver), "the message after the restart")
            target.failing = False
            (scripts / "shop.js").write_text(SCRIPT % (target.url, 2))
            until(lambda: len(messages(receiver)) == 2, "the end of it")
            until(lambda: not Outbox(tmp_path / "data").waiting(), "the outbox to be empty")
    first, last = messages(receiver)
    assert first["title"].startswith("[CRITICAL] shop: ")
    assert f"k6d mute shop.js --for 2h --data {tmp_path}/data" in first["message"]
    assert last["title"].startswith("[RESOLVED] shop: healthy again after")
    assert any(got.path == "/beat" for got in receiver.got)
    everything = log.read_text() + doctor + orjson.dumps(listed).decode()
    everything += "".join(p.read_text() for p in (tmp_path / "data/outbox").rglob("*.json"))
    everything += "".join(p.read_text() for p in (tmp_path / "data/state").rglob("*.json"))
    assert SECRET not in everything
    assert "/beat" not in everything
    assert k6d(env, "incidents").stdout == "no open incident\n"


def test_a_script_that_breaks_is_told_to_those_it_named(
    tmp_path: Path, receiver: HttpReceiver
) -> None:
    """What k6 cannot read says nothing of who is to be told: it stays as the script said last."""
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts/shop.js"
    env = environment(tmp_path, receiver)
    with Target() as target:
        script.write_text(SCRIPT % (target.url, 1))
        assert k6d(env, "run", str(script)).returncode == 0
        script.write_text("import 'k6'; export default function () {")
        assert k6d(env, "run", str(script)).returncode == 2
        script.write_text((SCRIPT % (target.url, 1)).replace("notify:", "nottify:"))
        assert k6d(env, "run", str(script)).returncode == 2
    (kept,) = Outbox(tmp_path / "data").done()
    assert kept.message.tags == ["shop"]
    standing = orjson.loads((tmp_path / "data/state/incidents.json").read_bytes())
    assert SECRET not in str(standing)
    assert "'notify': ['shop']" in str(standing)


def test_a_run_without_a_daemon_delivers_by_itself(tmp_path: Path, receiver: HttpReceiver) -> None:
    """`k6d run` tells before it exits; the commands show, mute and test."""
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts/shop.js"
    env = environment(tmp_path, receiver)
    with Target() as target:
        target.failing = True
        script.write_text(SCRIPT % (target.url, 1))
        assert k6d(env, "run", str(script)).returncode == 1
        assert len(messages(receiver)) == 1
        assert [got.path for got in receiver.got][-1] == "/beat"
        assert k6d(env, "run", str(script)).returncode == 1
        assert len(messages(receiver)) == 1, "it is known"
        shown = k6d(env, "incidents", "--json")
        (incident,) = orjson.loads(shown.stdout)["incidents"]
        assert (shown.returncode, incident["runs"], incident["told"]) == (1, 2, "critical")
        assert "critical" in k6d(env, "incidents").stdout
        assert "is muted until" in k6d(env, "mute", "*.js", "--for", "1h").stdout
        assert "muted: *.js until" in k6d(env, "incidents").stdout
        assert "*.js is not muted" in k6d(env, "mute", "*.js", "--off").stdout
        for length in ("soon", "400d", "99999999999999d"):
            told = k6d(env, "mute", "a.js", "--for", length).stderr
            assert f"--for {length}: should be a duration" in told
        receiver.plan = [500]
        tried = k6d(env, "notify-test", "--tag", "shop")
        assert tried.stdout == f"✗ json://127.0.0.1:{receiver.port}/…: HTTP 500: no_service\n"
        assert tried.returncode == 1
        assert "✓" in k6d(env, "notify-test").stdout
        nobody = k6d(env, "notify-test", "--tag", "nobody").stderr
        assert "there is no receiver with the tag nobody" in nobody
        assert k6d(env, "incidents", "--end", "shop").stdout == "the incident of shop.js is over\n"
        assert k6d(env, "incidents", "--end", "shop.js").stdout == "shop.js has none\n"
        assert k6d(env, "incidents").returncode == 0
        assert "a.js" not in k6d(env, "outbox").stdout
        assert "delivered" in k6d(env, "outbox", "--all").stdout


@pytest.mark.long
def test_a_daemon_that_is_stopped_while_a_receiver_hangs(
    tmp_path: Path, receiver: HttpReceiver
) -> None:
    """It ends without waiting for ever; the next one sends again, by the same key, and says so."""
    scripts, log = tmp_path / "scripts", tmp_path / "log"
    scripts.mkdir()
    quiet = {"K6D_NOTIFY__HEARTBEAT": "", "K6D_NOTIFY__TIMEOUT": "10m"}
    env = environment(tmp_path, receiver, **quiet)
    receiver.plan = ["hang"]
    (scripts / "shop.js").write_text("import 'k6'; export default function () {")
    with daemon(env, log):
        until(lambda: receiver.got, "the attempt")
    assert "is left for the next start" in log.read_text()
    with daemon(env, log):
        until(lambda: messages(receiver), "the message")
        until(lambda: not Outbox(tmp_path / "data").waiting(), "the outbox to be empty")
    first, second = receiver.got
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert "Sent again: an earlier attempt may have reached you" in second.json["message"]


def test_scripts_that_fail_for_one_cause_are_one_message(
    tmp_path: Path, receiver: HttpReceiver
) -> None:
    """The real daemon, three scripts and a target that is down: one message, worst of all three."""
    scripts, log = tmp_path / "scripts", tmp_path / "log"
    scripts.mkdir()
    env = environment(tmp_path, receiver, K6D_NOTIFY__GROUP_WAIT="1h")
    url, outbox = f"http://127.0.0.1:{closed_port()}", Outbox(tmp_path / "data")
    for number in range(3):
        (scripts / f"shop{number}.js").write_text(SCRIPT % (url, number))
    with daemon(env, log):
        until(lambda: len(outbox.waiting()) == 3, "all three to wait for company")
    assert messages(receiver) == []
    with Target() as target:  # whoever comes next takes along what waits
        (scripts / "well.js").write_text(SCRIPT % (target.url, 1))
        assert k6d(env, "run", str(scripts / "well.js")).returncode == 0
    (told,) = messages(receiver)
    assert told["title"].startswith(f"[CRITICAL] 3 scripts: target {url[7:]}: the target is")
    assert told["message"].count("k6d show") == 3
    assert outbox.waiting() == []


def test_what_was_given_up_is_shown_and_can_be_tried_again(
    tmp_path: Path, receiver: HttpReceiver
) -> None:
    """doctor and outbox say so, with why, until it is tried again, or forgotten."""
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts/shop.js"
    # The second run finds the message due, however soon it comes.
    soon = {"K6D_NOTIFY__RETRY": "0.01"}
    more = {"K6D_NOTIFY__HORIZON": "1ms", "K6D_NOTIFY__HEARTBEAT": ""} | soon
    env = environment(tmp_path, receiver, **more)
    receiver.plan = [500] * 9
    script.write_text("import 'k6'; export default function () {")
    assert k6d(env, "run", str(script)).returncode == 2
    assert k6d(env, "run", str(script)).returncode == 2
    doctor, shown = k6d(env, "doctor"), k6d(env, "outbox", "--json")
    assert doctor.returncode == 1
    assert "1 message could not be delivered" in " ".join(doctor.stdout.split())
    (row,) = orjson.loads(shown.stdout)
    assert (row["state"], row["error"]) == ("undeliverable", "HTTP 500: no_service")
    assert k6d(env, "outbox", "--retry").stdout == "1 message will be tried again\n"
    receiver.plan = []
    assert k6d(env, "run", str(script)).returncode == 2
    (told,) = messages(receiver)
    assert told["title"].startswith("[HIGH] shop: ")
    assert k6d(env, "outbox").stdout == "nothing waits, nothing was given up\n"


def _alerts(tmp_path: Path, **notify: Any) -> tuple[Alerts, Store, Outbox]:
    notify = {"urls": ["json://127.0.0.1:1/"], **notify}
    more = {f"notify__{name}": value for name, value in notify.items()}
    loaded = settings.load(data=tmp_path, scripts=tmp_path / "scripts", **more)
    store, outbox = Store(tmp_path), Outbox(tmp_path)
    return Alerts(loaded, store), store, outbox


def _record(alerts: Alerts, store: Store, test_id: str, **changes: Any) -> None:
    run = make_run(**{"test_id": test_id, "script": "shop/a.js"} | changes)
    store.save(run)
    alerts.record(run, True)


def _told_at(alerts: Alerts) -> datetime:
    """When the open incident of shop/a.js was told."""
    told = alerts.incident_states()["shop/a.js"].incident
    assert told is not None
    assert told.told_at is not None
    return told.told_at


def test_what_a_message_says(tmp_path: Path) -> None:
    """Since when, what changed since it was healthy, the metric's history, whom it is for."""
    routes = [{"tags": ["oncall"], "scripts": ["shop/*"], "min_severity": "high"}]
    alerts, store, outbox = _alerts(tmp_path, routes=routes, dashboard="https://k6d.example/")
    for number in range(3):
        _record(alerts, store, f"20261122-12000{number}-aaaaaa")
    _record(alerts, store, "20261122-120009-aaaaaa", anomaly_analysis=make_anomaly())
    (kept,) = outbox.waiting()
    message = kept.message
    assert message.tags == ["oncall"]
    assert message.severity is Severity.HIGH
    address = "https://k6d.example/runs/20261122-120009-aaaaaa"
    assert message.link == ("Open the dashboard", address)
    assert message.chart is not None
    assert [point.bad for point in message.chart.points] == [False, False, False, True]
    facts = dict(message.facts)
    assert facts["Where"] == "GET /cart"
    same = "nothing of script, workload and k6 since 20261122-120002-aaaaaa, the last healthy run"
    assert facts["Changed"] == same
    assert facts["Since"].endswith("this run")


@pytest.mark.parametrize(
    ("api", "link"),
    [
        ({}, (f"Open the dashboard (on {HERE} itself)", "http://127.0.0.1:8000")),
        ({"host": "0.0.0.0", "port": 81}, ("Open the dashboard", f"http://{HERE}:81")),
        ({"host": "fd00::1"}, ("Open the dashboard", "http://[fd00::1]:8000")),
        ({"enabled": False}, None),
    ],
)
def test_a_link_to_the_dashboard_if_it_is_on(
    tmp_path: Path, api: dict[str, Any], link: tuple[str, str] | None
) -> None:
    """As its readers reach it; none where it is off. So does `k6d run` beside the daemon."""
    with only_daemon(tmp_path):
        kept = _alert_of_an_anomaly(tmp_path, **api)
    assert kept.message.link == (link and (link[0], f"{link[1]}/runs/20261122-120009-aaaaaa"))


def test_no_link_to_a_dashboard_that_nobody_serves(tmp_path: Path) -> None:
    """No daemon runs, or another program has its port: the link would lead to that program."""
    assert _alert_of_an_anomaly(tmp_path / "alone").message.link is None
    with only_daemon(tmp_path / "taken") as lock:
        lock.say(no_api="cannot listen on 127.0.0.1 port 8000: address already in use")
        assert _alert_of_an_anomaly(tmp_path / "taken").message.link is None
    with only_daemon(tmp_path / "later") as lock:
        lock.say(no_api="cannot listen on 127.0.0.1 port 8000: address already in use")
        lock.say()
        assert _alert_of_an_anomaly(tmp_path / "later").message.link


def _alert_of_an_anomaly(data: Path, **api: Any) -> OutboxEntry:
    more = {f"api__{name}": value for name, value in api.items()}
    loaded = settings.load(data=data, notify__urls=["json://127.0.0.1:1/"], **more)
    store = Store(data)
    alerts = Alerts(loaded, store)
    _record(alerts, store, "20261122-120009-aaaaaa", anomaly_analysis=make_anomaly())
    (kept,) = Outbox(data).waiting()
    return kept


def test_a_damaged_run_holds_up_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither as the last healthy one of an alert nor as one that a crash kept from being told."""
    alerts, store, outbox = _alerts(tmp_path)
    _record(alerts, store, "20261122-120001-aaaaaa")
    alerts.expect("shop/a.js", "20261122-120001-bbbbbb")
    alerts.expect("shop/a.js", "20261122-120002-aaaaaa")
    store.save(make_run(test_id="20261122-120001-bbbbbb", script="shop/a.js"))
    store.save(
        make_run(
            test_id="20261122-120002-aaaaaa", script="shop/a.js", anomaly_analysis=make_anomaly()
        )
    )
    for test_id in ("20261122-120001-aaaaaa", "20261122-120001-bbbbbb"):
        os.truncate(store.run_path(test_id), 100)
    alerts.recover()
    assert [kept.message.change for kept in outbox.waiting()] == ["opened"]
    assert caplog.text.count("alerts go without run 20261122-120001-") == 2
    caplog.clear()
    alerts.recover()
    assert caplog.text == "", "said once"
    told_at = _told_at(alerts)
    os.truncate(store.run_path("20261122-120002-aaaaaa"), 100)
    (tmp_path / "scripts" / "shop").mkdir(parents=True)
    (tmp_path / "scripts" / "shop" / "a.js").touch()
    alerts.remind(told_at + timedelta(days=1))
    reminder = outbox.waiting()[-1].message
    assert reminder.change == "still open"
    assert reminder.subject.endswith("p95 of GET /cart is 912 ms, the limit is 500 ms")


def test_a_run_that_the_disk_refuses_for_now_is_taken_in_later(tmp_path: Path) -> None:
    """It is neither forgotten nor told without what it says."""
    alerts, store, outbox = _alerts(tmp_path)
    test_id = "20261122-120001-aaaaaa"
    alerts.expect("shop/a.js", test_id)
    store.save(make_run(test_id=test_id, script="shop/a.js", anomaly_analysis=make_anomaly()))
    path, aside = store.run_path(test_id), tmp_path / "aside"
    path.rename(aside)
    path.mkdir()
    alerts.recover()
    assert alerts.incident_states()["shop/a.js"].expected == [test_id]
    path.rmdir()
    aside.rename(path)
    alerts.recover()
    (kept,) = outbox.waiting()
    assert kept.message.chart or kept.message.commands


def test_muted_scripts_and_what_comes_after(tmp_path: Path) -> None:
    """A mute tells nothing; when it ends, what is still wrong is told."""
    alerts, store, outbox = _alerts(tmp_path)
    alerts.mutes.put("shop/*", "1h")
    _record(alerts, store, "20261122-120001-aaaaaa", anomaly_analysis=make_anomaly())
    assert outbox.waiting() == []
    alerts.remind(datetime.now(UTC))
    assert outbox.waiting() == []
    alerts.mutes.put("[id].js", "1h")
    assert list(alerts.mutes.of("[id].js", datetime.now(UTC))) == ["[id].js"]
    alerts.mutes.put("shop/*", "0s")
    alerts.remind(datetime.now(UTC))
    assert [kept.message.change for kept in outbox.waiting()] == ["opened"]
    _record(alerts, store, "20261122-120002-aaaaaa", anomaly_analysis=make_anomaly())
    assert len(outbox.waiting()) == 1, "it is known"


def test_what_the_disk_refused_is_told_later(tmp_path: Path) -> None:
    """A message that the outbox could not take is put there at the next look."""
    alerts, store, outbox = _alerts(tmp_path)
    (tmp_path / "outbox").write_text("in the way")
    _record(alerts, store, "20261122-120001-aaaaaa", anomaly_analysis=make_anomaly())
    (tmp_path / "outbox").unlink()
    alerts.remind(NOON + timedelta(hours=1))
    assert [kept.message.change for kept in outbox.waiting()] == ["opened"]
    assert alerts.incident_states()["shop/a.js"].outgoing == []


@pytest.mark.parametrize("width", [40, 120])
def test_incidents_in_a_terminal(tmp_path: Path, width: int) -> None:
    """A row each; where it has no room, a paragraph in which no word is cut."""
    alerts, store, _ = _alerts(tmp_path)
    _record(alerts, store, "20261122-120001-aaaaaa", anomaly_analysis=make_anomaly())
    incident = alerts.incident_states()["shop/a.js"].incident
    assert incident is not None
    console = Console(width=width, file=StringIO())
    table = incidents_table([incident], {}, now=NOON + timedelta(minutes=2), width=console.width)
    console.print(table)
    assert isinstance(console.file, StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    words = " ".join(" ".join(lines).split())
    assert ("script shop/a.js since 2026-11-22 12:00" in words) == (width < 80)
    for problem in incident.problems.values():
        assert set(problem.split()) <= set(words.split())
    assert len(lines) == 2 or width < 80


@pytest.mark.parametrize("notify", [{}, {"remind": 0}, {"min_severity": "critical"}, {"urls": []}])
def test_the_incident_of_a_script_that_is_gone_ends_a_day_later(
    tmp_path: Path, notify: dict[str, Any]
) -> None:
    """Untold, whoever is told of what; a folder that is away says nothing about its scripts."""
    alerts, store, outbox = _alerts(tmp_path, **notify)
    _record(alerts, store, "20261122-120001-aaaaaa", anomaly_analysis=make_anomaly())
    scripts, hour = tmp_path / "scripts", timedelta(hours=1)
    scripts.mkdir(exist_ok=True)
    for hours in (1, 26):
        alerts.remind(NOON + hours * hour)
        assert alerts.incident_states()["shop/a.js"].incident is not None
    (scripts / "other.js").touch()
    alerts.remind(NOON + 60 * hour)
    (scripts / "shop").mkdir()
    (scripts / "shop" / "a.js").touch()
    alerts.remind(NOON + 61 * hour)
    (scripts / "shop" / "a.js").unlink()
    told = len(outbox.waiting())
    for hours in (62, 85, 86):
        standing = alerts.incident_states()["shop/a.js"]
        assert standing.incident is not None, "it came back in between"
        alerts.remind(NOON + hours * hour)
    standing = alerts.incident_states()["shop/a.js"]
    assert standing.incident is None
    assert standing.last is not None
    assert standing.gone_since is None
    assert len(outbox.waiting()) == told


def test_a_run_says_that_a_script_is_not_gone(tmp_path: Path) -> None:
    """One that is written for each run: its incident ends a day after the last, not the first."""
    alerts, store, _ = _alerts(tmp_path)
    (tmp_path / "scripts").mkdir(exist_ok=True)
    (tmp_path / "scripts" / "other.js").touch()
    name, bad = str(tmp_path / "smoke.js"), make_anomaly()
    for number, hours in enumerate((1, 20, 39, 58)):
        test_id = f"20261122-12000{number}-aaaaaa"
        _record(alerts, store, test_id, script=name, anomaly_analysis=bad)
        alerts.remind(NOON + timedelta(hours=hours))
        incident = alerts.incident_states()[name].incident
        assert incident is not None
        assert incident.runs == number + 1
    alerts.remind(NOON + timedelta(hours=82))
    assert alerts.incident_states()[name].incident is None


def test_an_end_is_compared_with_the_last_failing_run(tmp_path: Path) -> None:
    """What mended it is what changed since then; who has no snapshot says nothing of changes."""
    alerts, store, outbox = _alerts(tmp_path)
    snapshot = make_run().snapshot
    assert snapshot is not None
    mended = replace(snapshot, fingerprint="mended", dependencies={"/srv/k6/a.js": "mended"})
    _record(alerts, store, "20261122-120001-aaaaaa")
    _record(alerts, store, "20261122-120002-aaaaaa", snapshot=None, anomaly_analysis=make_anomaly())
    _record(alerts, store, "20261122-120003-aaaaaa", anomaly_analysis=make_anomaly())
    _record(alerts, store, "20261122-120004-aaaaaa", snapshot=mended)
    opened, resolved = (dict(kept.message.facts).get("Changed") for kept in outbox.waiting())
    assert opened is None
    assert resolved == "the script (a.js), since 20261122-120003-aaaaaa, the last failing run"
    assert alerts.end("shop/a.js") is False


def test_a_confirmation_is_not_the_last_healthy_run(tmp_path: Path) -> None:
    """A re-run judges nothing, so an alert does not compare with it."""
    alerts, store, outbox = _alerts(tmp_path)
    _record(alerts, store, "20261122-120001-aaaaaa")
    store.save(
        make_run(test_id="20261122-120002-aaaaaa", script="shop/a.js", trigger=Trigger.CONFIRMATION)
    )
    _record(alerts, store, "20261122-120003-aaaaaa", anomaly_analysis=make_anomaly())
    (kept,) = outbox.waiting()
    said = " ".join(text for _, text in (*kept.message.facts, *kept.message.commands))
    assert "20261122-120001-aaaaaa" in said
    assert "20261122-120002-aaaaaa" not in said


def test_reminders_and_other_announcements(tmp_path: Path) -> None:
    """A reminder is due a day later; what no run says, as a missed schedule, is told once."""
    alerts, store, outbox = _alerts(tmp_path)
    _record(alerts, store, "20261122-120001-aaaaaa", anomaly_analysis=make_anomaly())
    told_at = _told_at(alerts)
    alerts.remind(told_at + timedelta(hours=23))
    assert len(outbox.waiting()) == 1
    for hours in (24, 25):
        alerts.remind(told_at + timedelta(hours=hours))
        assert len(outbox.waiting()) == 2
    missed = {"key": "missed-1", "script": "shop/a.js", "subject": "did not run at 12:00"}
    assert alerts.announce(**missed, severity=Severity.HIGH)
    assert not alerts.announce(**missed, severity=Severity.HIGH)
    assert len(outbox.waiting()) == 3


def test_heartbeats_log_changes_only(
    receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """A URL that fails is a line, once, without the URL; so is its recovery."""
    caplog.set_level("INFO")
    receiver.plan = [503, "close", 200, 200]
    beating = Heartbeat(f"http://127.0.0.1:{receiver.port}/{SECRET}")

    async def beat() -> None:
        for _ in range(4):
            await beating.beat()
        await Heartbeat(None).beat()

    asyncio.run(beat())
    said = [
        record.getMessage()
        for record in caplog.records
        if record.name == "k6d.alerts.delivery.heartbeat"
    ]
    assert said == [
        "the heartbeat URL does not take calls: HTTP 503",
        "the heartbeat URL takes calls again",
    ]


def test_a_heartbeat_that_is_redirected_is_none(
    receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """A login page that answers in its place is no dead man's switch; it is not called."""
    with HttpReceiver() as login:
        receiver.plan = [(302, {"Location": f"http://127.0.0.1:{login.port}/{SECRET}"})]
        asyncio.run(Heartbeat(f"http://127.0.0.1:{receiver.port}/{SECRET}").beat())
        assert login.got == []
    assert "does not take calls: HTTP 302: it redirects to http://127.0.0.1" in caplog.text
    assert SECRET not in caplog.text


def test_a_heartbeat_whose_answer_never_ends_holds_nobody_up(
    receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop ends although the answer goes on, and one call at a time is under way."""
    receiver.plan = ["trickle"]
    beating = Heartbeat(f"http://127.0.0.1:{receiver.port}/", timeout_s=0.5)

    async def beat() -> None:
        await beating.beat()
        await beating.beat()

    asyncio.run(beat())
    assert "does not take calls: no answer within 0.5 s" in caplog.text
    assert len(receiver.got) == 1
