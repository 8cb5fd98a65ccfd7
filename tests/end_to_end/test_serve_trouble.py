"""`k6d serve`: what it keeps and tells, what scripts can see, and trouble it lives through."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tarfile
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import orjson
import pytest

from k6d.core.model import Outcome, Trigger
from k6d.core.numbers import seconds
from support.daemon import K6, PATIENCE_S, Daemon, Mailbox, hitting, until
from support.receivers import TestCa, closed_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from support.target import Target


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A receiver of JSON."""
    with Mailbox() as running:
        yield running


def test_scripts_folder_may_come_late_vanish_and_return(
    daemon: Daemon, target: Target, tmp_path: Path
) -> None:
    """A folder that is not there is waited for; back with the same contents, nothing runs."""
    daemon.scripts.rmdir()
    daemon.start()
    daemon.until_logged(f"{daemon.scripts} can't be read")
    daemon.write("a.js", hitting(f"{target.url}/1"))
    daemon.run("a.js")
    daemon.until_logged(f"{daemon.scripts} is back")

    daemon.scripts.rename(tmp_path / "away")
    daemon.until(lambda: daemon.log.count("can't be read") == 2, "the loss to be noticed")
    (tmp_path / "away").rename(daemon.scripts)
    daemon.until(lambda: daemon.log.count("is back") == 2, "the return to be noticed")
    daemon.barrier()
    assert daemon.counts() == {"a.js": 1}

    daemon.write("a.js", hitting(f"{target.url}/2"))
    daemon.run("a.js", 2)
    shutil.rmtree(daemon.scripts)
    daemon.write("a.js", hitting(f"{target.url}/3"))
    daemon.run("a.js", 3)
    daemon.barrier()
    assert daemon.counts() == {"a.js": 3}


def test_unreadable_scripts_disturb_nothing(daemon: Daemon, target: Target, tmp_path: Path) -> None:
    """A dangling link, a folder named like a script, a file without permissions: others run."""
    (daemon.scripts / "dangling.js").symlink_to(tmp_path / "later.js")
    daemon.write("folder.js/inside.js", hitting(f"{target.url}/inside"))
    forbidden = daemon.write("forbidden.js", hitting(f"{target.url}/forbidden"))
    forbidden.chmod(0)
    daemon.start()
    assert daemon.run("folder.js/inside.js").execution.outcome is Outcome.COMPLETED
    daemon.barrier()
    assert set(daemon.counts()) - {"forbidden.js"} == {"folder.js/inside.js"}
    if os.geteuid() != 0:  # root may read everything
        assert "forbidden.js cannot be read" in daemon.log
    (tmp_path / "later.js").write_text(hitting(f"{target.url}/later"))
    forbidden.chmod(0o600)
    daemon.run("forbidden.js")
    daemon.run("dangling.js")


def test_a_name_that_is_no_text_is_said_and_disturbs_nothing(
    daemon: Daemon, target: Target
) -> None:
    """A script whose name is not UTF-8 is one line in the log; renamed, it runs."""
    latin = daemon.scripts / os.fsdecode(b"caf\xe9.js")
    latin.write_text(hitting(f"{target.url}/latin"))
    daemon.write("café\n\\.js", hitting(f"{target.url}/utf8"))
    daemon.start(K6D_WATCH__RESCAN="1s")
    daemon.until_logged("caf\\udce9.js' does not run: its name is not UTF-8; rename it")
    daemon.run("café\n\\.js")
    latin.write_text(hitting(f"{target.url}/again"))
    daemon.barrier()
    assert daemon.counts() == {"café\n\\.js": 1}
    assert daemon.log.count("not UTF-8") == 1
    by_hand = daemon.call("run", str(latin))
    assert (by_hand.returncode, by_hand.stdout) == (2, "")
    assert "caf\\udce9.js' is not UTF-8: rename it" in by_hand.stderr
    latin.rename(daemon.scripts / "cafe.js")
    daemon.run("cafe.js")


@pytest.fixture
def link(daemon: Daemon, target: Target, tmp_path: Path) -> Path:
    """Where the daemon finds k6; it is started, and a.js ran once."""
    link = tmp_path / "k6"
    link.symlink_to(K6)
    daemon.write("a.js", hitting(f"{target.url}/a"))
    daemon.start(K6D_K6__PATH=str(link))
    daemon.run("a.js")
    return link


def test_removed_k6_holds_the_queue_until_it_is_back(
    daemon: Daemon, target: Target, link: Path
) -> None:
    """One run says that k6 is gone, the rest waits; with k6 back, or at the next start, it runs."""
    link.unlink()
    daemon.write("a.js", hitting(f"{target.url}/a2"))
    gone = daemon.run("a.js", 2)
    assert gone.execution.outcome is Outcome.K6_UNAVAILABLE
    assert str(link) in (gone.execution.error or "")
    assert gone.status == "failed"
    assert gone.metrics.total_requests is None
    daemon.write("b.js", hitting(f"{target.url}/b"))

    link.symlink_to(K6)
    again = daemon.run("a.js", 3)
    assert again.execution.outcome is Outcome.COMPLETED
    assert again.trigger is Trigger.RECOVERY
    assert daemon.run("b.js").execution.outcome is Outcome.COMPLETED
    daemon.barrier()
    assert daemon.counts() == {"a.js": 3, "b.js": 1}
    assert daemon.log.count("k6 is back") == 1

    link.unlink()
    daemon.write("a.js", hitting(f"{target.url}/a3"))
    assert daemon.run("a.js", 4).execution.outcome is Outcome.K6_UNAVAILABLE
    assert daemon.end() == 0
    link.symlink_to(K6)
    daemon.start(K6D_K6__PATH=str(link))
    assert daemon.run("a.js", 5).execution.outcome is Outcome.COMPLETED


def test_what_a_schedule_wanted_without_k6_runs_in_the_life_in_which_k6_is_back(
    daemon: Daemon, link: Path
) -> None:
    """The run that says that k6 is gone is not the run that was wanted."""
    daemon.end()
    daemon.wanted("a.js", Trigger.SCHEDULED)
    link.unlink()
    daemon.start(K6D_K6__PATH=str(link))
    assert daemon.run("a.js", 2).execution.outcome is Outcome.K6_UNAVAILABLE
    daemon.end(signal.SIGKILL)
    link.symlink_to(K6)
    daemon.start(K6D_K6__PATH=str(link))
    again = daemon.run("a.js", 3)
    assert (again.execution.outcome, again.trigger) == (Outcome.COMPLETED, Trigger.SCHEDULED)


def test_a_module_server_that_is_down_is_tried_again_by_itself(
    daemon: Daemon, tmp_path: Path
) -> None:
    """No mistake of the script, no incident; killed in between, the next life tries again."""
    authority, port = TestCa(tmp_path), closed_port()
    trust = {"SSL_CERT_FILE": str(authority.path)}
    module = f"https://127.0.0.1:{port}/x.js"
    daemon.start(**trust)
    daemon.write(
        "a.js", f"import {{ check }} from 'k6';\nimport x from '{module}';\n"
        "export default () => check(x, { one: (v) => v === 1 });\n"
    )  # fmt: skip
    down = daemon.run("a.js")
    assert down.execution.outcome is Outcome.MODULE_SERVER
    assert (down.anomaly_analysis.severity, down.anomaly_analysis.anomalies_detected) == (None, 0)
    assert "unavailable" in down.anomaly_analysis.issues[0]
    assert "Mend the script" not in "".join(down.anomaly_analysis.recommendations)
    assert daemon.end(signal.SIGKILL) == -signal.SIGKILL
    daemon.start(**trust)
    assert daemon.run("a.js", 2).execution.outcome is Outcome.MODULE_SERVER
    with _serving(b"export default 1;\n", authority.server_context("localhost"), port):
        again = daemon.run("a.js", 3)
    assert (again.execution.outcome, again.anomaly_analysis.severity) == (Outcome.COMPLETED, None)
    daemon.barrier()
    assert daemon.counts() == {"a.js": 3}
    incidents = daemon.store.state("incidents").all()
    assert all(kept["incident"] is None for kept in incidents.values())
    assert daemon.store.state("outages").all() == {}


@contextmanager
def _serving(body: bytes, context: ssl.SSLContext, port: int) -> Iterator[None]:
    """An HTTPS server that answers everything with `body`."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _put_in_the_way(place: Path, aside: Path) -> None:
    """A file where the folder was, which the daemon may be about to make anew."""
    file = aside.with_name("in-the-way")
    file.write_text("in the way\n")
    place.rename(aside)
    while file.exists():
        shutil.rmtree(place, ignore_errors=True)
        with suppress(IsADirectoryError):
            file.rename(place)


@pytest.mark.long
@pytest.mark.parametrize("folder", ["runs", "snapshots", "state", "work", "index", "slots"])
def test_data_folder_that_refuses_is_no_end(daemon: Daemon, target: Target, folder: str) -> None:
    """A part of the data folder that cannot be used is one clear line; afterwards all is well."""
    daemon.write("a.js", hitting(f"{target.url}/a"))
    daemon.start()
    daemon.run("a.js")
    place, aside = daemon.data / folder, daemon.data / f"{folder}-aside"
    daemon.barrier()
    _put_in_the_way(place, aside)
    daemon.write("b.js", hitting(f"{target.url}/b"))
    daemon.until(
        lambda: any(str(place) in line for line in daemon.log.splitlines() if "ERROR" in line),
        "an error that names the folder",
    )
    place.unlink()
    aside.rename(place)
    daemon.until(lambda: daemon.runs("b.js"), "b.js to run without another edit")
    daemon.write("a.js", hitting(f"{target.url}/mended"))
    run = daemon.run("a.js", 2)
    assert run.execution.outcome is Outcome.COMPLETED
    daemon.write("b.js", hitting(f"{target.url}/b again"))
    daemon.until(lambda: target.requests["GET /b%20again"] == 2, "b.js to run")
    daemon.barrier()
    assert daemon.runs("b.js")[-1].execution.outcome is Outcome.COMPLETED


def test_a_data_folder_that_vanishes_holds_everything_until_it_is_back(
    daemon: Daemon, target: Target
) -> None:
    """A disk that was unmounted, say: nothing begins anew in the empty place, nothing is lost."""
    daemon.write("a.js", hitting(f"{target.url}/a"))
    daemon.start()
    daemon.run("a.js")
    daemon.barrier()
    assert daemon.process is not None
    daemon.data.rename(daemon.home / "away")
    daemon.process.send_signal(signal.SIGHUP)  # which makes it look at once
    daemon.until_logged(f"nothing starts now: {daemon.data} is not what it was at the start")
    daemon.write("a.js", hitting(f"{target.url}/a?2"))
    daemon.write("b.js", hitting(f"{target.url}/b"))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until(lambda: daemon.log.count("settings read again") == 2, "another look")
    assert not daemon.data.exists()
    (daemon.home / "away").rename(daemon.data)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until_logged("runs start again")
    daemon.run("a.js", 2)
    daemon.run("b.js")
    daemon.barrier()
    assert daemon.counts() == {"a.js": 2, "b.js": 1}


def test_unusable_data_folder_is_a_users_mistake(daemon: Daemon) -> None:
    """A data folder below a file is refused in one line, with exit code 2."""
    daemon.data.write_text("a file\n")
    refused = daemon.call("serve")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert str(daemon.data) in refused.stderr
    daemon.data.unlink()


def test_a_misspelt_variable_is_in_the_log(daemon: Daemon) -> None:
    """The daemon starts, and its log says which variable is none of its settings."""
    daemon.start(K6D_NOTFY__URLS="json://127.0.0.1:9/")
    daemon.until_logged("K6D_NOTFY__URLS is not a setting of k6d, did you mean K6D_NOTIFY__URLS?")


def test_scripts_see_no_secrets(daemon: Daemon, target: Target, mailbox: Mailbox) -> None:
    """__ENV holds PATH, HOME, locale, proxies and k6.env; nothing else of the daemon's."""
    text = f"""import http from 'k6/http';
const atStart = Object.assign({{}}, __ENV);
export const options = {{ iterations: 1 }};
export default function () {{
  http.post('http://{mailbox.address}/env', JSON.stringify({{ atStart, now: __ENV }}));
}}
"""
    daemon.write("nosy.js", text)
    credentials = daemon.home / "credentials"
    credentials.mkdir()
    (credentials / "ai.api_key").write_text("credential-5ecret")
    secrets = {
        "GEMINI_API_KEY": "gemini-5ecret",
        "K6D_AI__API_KEY": "ai-5ecret",
        "K6D_NOTIFY__URLS": "slack://5ecretA/5ecretB/5ecretC",
        "K6D_API__TOKEN": "token-5ecret",
        "AWS_SECRET_ACCESS_KEY": "aws-5ecret",
        "K6_CLOUD_TOKEN": "cloud-5ecret",
        "CREDENTIALS_DIRECTORY": str(credentials),
    }
    given = {"K6D_K6__ENV": '{"BASE_URL": "https://shop.example"}', "NO_PROXY": "localhost"}
    daemon.start(**secrets, **given)
    daemon.run("nosy.js")
    [seen] = mailbox.letters["/env"]
    assert "5ecret" not in orjson.dumps(seen).decode()
    for variables in seen.values():
        ours = ("K6_PROMETHEUS_RW_", "K6_FEATURES", "GOGC", "SSL_CERT_")  # conftest.py: the last
        own = {name for name in variables if not name.startswith(ours)}
        assert own == {"PATH", "HOME", "LANG", "NO_PROXY", "BASE_URL"}
        assert variables["BASE_URL"] == "https://shop.example"
        assert variables["HOME"] == str(daemon.home)
    daemon.end()  # or folders of jobs go while we look
    stored = [path.read_bytes() for path in daemon.data.rglob("*") if path.is_file()]
    assert not any(b"5ecret" in content for content in stored)
    assert "5ecret" not in daemon.log


BROKEN_SHOP = """import http from 'k6/http';
import {{ sleep }} from 'k6';
export const options = {{ iterations: 15, thresholds: {{ http_req_failed: ['rate<0.01'] }} }};
export default function () {{
  http.get('{url}/ok');
  http.get('{url}/checkout');
}}
"""


def test_anomalous_run_is_told_once_to_every_receiver(
    daemon: Daemon, target: Target, mailbox: Mailbox
) -> None:
    """A healthy run tells nobody; an anomalous one sends one message to each URL of both lists.

    Result: the title has script, severity and worst finding; the body observed and expected, the
    endpoint, the threshold, the duration, and a command that works.
    """
    config = daemon.home / "apprise.yml"
    config.write_text(f"version: 1\nurls:\n  - json://{mailbox.address}/yaml\n")
    urls = [f"json://{mailbox.address}/{name}" for name in ("first", "second")]
    daemon.write("shop.js", BROKEN_SHOP.format(url=target.url))
    daemon.start(K6D_NOTIFY__URLS=orjson.dumps(urls).decode(), K6D_NOTIFY__CONFIG=str(config))
    healthy = daemon.run("shop.js")
    assert not healthy.anomaly_analysis.anomalies_detected, healthy.anomaly_analysis
    target.status["/checkout"] = 503
    daemon.write("shop.js", BROKEN_SHOP.format(url=target.url) + "// again\n")
    run = daemon.run("shop.js", 2)
    until(lambda: len(mailbox.letters) == 3, "the messages")
    daemon.until(lambda: daemon.log.count(" to json://") == 3, "the log to say so")
    daemon.write("shop.js", BROKEN_SHOP.format(url=f"{target.url}/fine") + "// healthy\n")
    daemon.run("shop.js", 3)
    daemon.until(lambda: daemon.log.count(" to json://") == 6, "the end of it to be told")
    assert daemon.end() == 0

    assert {path: len(letters) for path, letters in mailbox.letters.items()} == {
        "/first": 2,
        "/second": 2,
        "/yaml": 2,
    }
    letter, last = mailbox.letters["/first"]
    assert last["title"].startswith("[RESOLVED] shop: healthy again after ")
    title, body = letter["title"], letter["message"]
    assert letter["type"] == "failure"
    assert title.startswith("[HIGH] shop: ")
    assert run.anomaly_analysis.issues[0][:40] in title
    assert "50 %" in body
    assert "10 %" in body
    assert "/checkout" in body
    assert "http_req_failed" in body
    assert "rate<0.01" in body
    assert seconds(run.execution_time) in body
    command = next(line for line in body.splitlines() if "k6d show" in line)
    command = command.removeprefix("Look closer: ")
    shown = daemon.call(*shlex.split(command)[1:-2])
    assert shown.returncode == 0
    assert run.test_id in shown.stdout


def test_receivers_that_refuse_or_hang_disturb_nothing(
    daemon: Daemon, target: Target, mailbox: Mailbox
) -> None:
    """They are logged without the secrets of their URLs; others are told, and tests go on."""
    mailbox.hanging.add("/h4ngingT0ken")
    urls = [
        "json://user:hunter2@127.0.0.1:1/refusingT0ken",
        f"json://user:hunter2@{mailbox.address}/h4ngingT0ken?rto=60",
        f"json://{mailbox.address}/good",
        "nonsense://hunter2/T0ken",
    ]
    target.failing = True
    daemon.write("a.js", hitting(f"{target.url}/a"))
    daemon.start(
        K6D_NOTIFY__URLS=orjson.dumps(urls).decode(),
        K6D_NOTIFY__TIMEOUT="3s",
        K6D_NOTIFY__GROUP_INTERVAL="0",
    )
    first = daemon.run("a.js")
    assert first.anomaly_analysis.anomalies_detected
    until(lambda: mailbox.letters.get("/h4ngingT0ken"), "a receiver to hang")
    daemon.write("b.js", hitting(f"{target.url}/b"))
    daemon.run("b.js")
    daemon.until(
        lambda: daemon.log.count("could not deliver ") == 2,
        "both failures to be logged",
    )
    until(lambda: len(mailbox.letters["/good"]) == 2, "both good messages")
    assert "receiver URL 4: Apprise does not understand it (schema nonsense://)" in daemon.log
    assert daemon.end() == 0
    for secret in ("hunter2", "T0ken"):
        assert secret not in daemon.log


FIELDS = {
    *("schema_version", "test_id", "timestamp", "script", "trigger", "execution_time", "status"),
    *("metrics", "anomaly_analysis", "execution", "snapshot", "breakdown", "checks"),
    *("thresholds", "k6_metrics", "custom_metrics", "overrides", "log", "output"),
}
METRICS = {
    *("response_time_avg", "response_time_p95", "error_rate", "requests_per_second"),
    *("virtual_users", "total_requests", "duration_ms"),
}
ANALYSIS = {"anomalies_detected", "severity", "issues", "recommendations", "confidence"}


def test_run_file_snapshot_and_index(daemon: Daemon, target: Target, tmp_path: Path) -> None:
    """One JSON file a run with the known names, the snapshot once for the same contents.

    1. A script runs, runs again by `k6d run`, and once more after an edit.
    Result: three files, two snapshots, no temporary file; k6 itself can run the snapshot.
    2. The index is deleted; `k6d reindex`. Result: the same history.
    """
    script = daemon.write("a.js", hitting(f"{target.url}/a"))
    daemon.start()
    first = daemon.run("a.js")
    by_hand = daemon.call("run", str(script), "--json")
    assert by_hand.returncode == 0, by_hand.stderr
    second = orjson.loads(by_hand.stdout)
    assert second["script"] == "a.js"
    assert first.snapshot is not None
    assert second["snapshot"]["id"] == first.snapshot.id
    snapshots = list((daemon.data / "snapshots").glob("*.tar"))
    assert [path.stem for path in snapshots] == [first.snapshot.id]
    daemon.write("a.js", hitting(f"{target.url}/edited"))
    third = daemon.run("a.js", 3)
    daemon.barrier()
    assert daemon.end() == 0

    record = orjson.loads(daemon.store.run_path(third.test_id).read_bytes())
    assert record.keys() >= FIELDS
    assert record["metrics"].keys() >= METRICS
    assert record["anomaly_analysis"].keys() >= ANALYSIS
    assert record["status"] == "completed"
    assert record["metrics"]["total_requests"] == 2
    files = {path.suffix for path in (daemon.data / "runs").rglob("*") if path.is_file()}
    assert files == {".json"}
    assert len(list((daemon.data / "runs").rglob("*.json"))) == 3
    assert not [path for path in daemon.data.rglob("*") if ".tmp" in path.name]
    assert len(list((daemon.data / "snapshots").glob("*.tar"))) == 2
    with tarfile.open(snapshots[0]) as archive:
        assert "metadata.json" in archive.getnames()
    before = target.requests["GET /a"]
    replay = [str(K6), "run", "--quiet", "--no-usage-report", "--address", "", str(snapshots[0])]
    subprocess.run(replay, check=True, capture_output=True, timeout=PATIENCE_S)
    assert target.requests["GET /a"] == before + 2

    history = daemon.store.history(limit=None)
    shutil.rmtree(daemon.data / "index")
    assert daemon.call("reindex").stdout == "3 runs indexed\n"
    assert daemon.store.history(limit=None) == history
    listed = daemon.call("history", "--json")
    assert orjson.loads(listed.stdout) == history
