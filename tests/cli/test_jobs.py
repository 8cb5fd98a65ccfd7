"""queue, cancel, enable and disable, against a daemon that runs; the same over the API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from k6d.alerts.alerting import Alerts
from k6d.settings import load
from support.daemon import hitting, lasting, until
from support.records import make_anomaly, make_run
from support.serving import Served
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def shop() -> Iterator[Target]:
    """A target for all tests here."""
    with Target() as target:
        yield target


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One daemon for all tests here; each uses scripts of its own."""
    made = Served(tmp_path_factory.mktemp("jobs"))
    try:
        yield made.start()
    finally:
        made.close()


def _queue(daemon: Served) -> dict[str, Any]:
    done = daemon.call("queue", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_jobs_are_listed_and_cancelled(running: Served, shop: Target) -> None:
    """By script, with or without its ending: the running one is stopped and kept, as aborted."""
    running.write("long.js", lasting(f"{shop.url}/cart"))
    until(lambda: [j for j in _queue(running)["running"] if j["test_id"]], "the run to start")
    running.write("next.js", lasting(f"{shop.url}/cart"))
    until(lambda: _queue(running)["pending"], "the next one to wait")
    shown = running.call("queue").stdout
    assert ("long.js" in shown, "next.js" in shown, "pending" in shown) == (True, True, True)

    waiting = running.call("cancel", "next.js")
    assert "is cancelled" in waiting.stdout
    stopped = running.call("cancel", "long", "--json")
    assert [one["script"] for one in json.loads(stopped.stdout)] == ["long.js"]
    assert running.run("long.js").execution.outcome == "aborted"
    assert running.counts() == {"long.js": 1}
    again = running.call("cancel", "long.js")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "k6d: no job 'long.js' waits or runs; 'k6d queue' lists them\n"


def test_a_disabled_script_runs_by_hand_only(running: Served, shop: Target) -> None:
    """No change starts it until it is enabled; its file is not touched."""
    assert "no script has such a name yet" in running.call("disable", "later/*").stdout
    text = hitting(f"{shop.url}/later")
    running.write("later/cart.js", text)
    running.until_logged("later/cart.js does not run: a person disabled later/*")
    running.barrier()
    assert running.counts().get("later/cart.js") is None
    (row,) = [
        one
        for one in json.loads(running.call("scripts", "--json").stdout)
        if one["script"] == "later/cart.js"
    ]
    assert row["disabled"] == "later/*"

    assert running.call("run", "later/cart.js").returncode == 0
    refused = running.call("enable", "later/cart.js").stderr
    assert refused == ("k6d: later/cart.js was not enabled: the pattern later/* disables it\n")
    assert "later/* is enabled" in running.call("enable", "later/*").stdout
    running.write("later/cart.js", f"{text}\n")
    assert running.run("later/cart.js", 2).trigger == "changed"


def test_the_api_does_the_same(running: Served) -> None:
    """With the token; a name that disables nothing is 404; the settings hide what is secret."""
    for path in ("disable", "enable"):
        body = {"script": "api/*", "reason": "x"}
        assert running.post(f"/api/v1/scripts/{path}", body, token=False).status == 401
        assert running.post(f"/api/v1/scripts/{path}", body).status == 200
    assert running.post("/api/v1/scripts/enable", {"script": "api/*"}).status == 404

    assert running.get("/api/v1/settings").status == 401
    found = running.get("/api/v1/settings", token=True).json["settings"]
    (port,) = [one for one in found if one["setting"] == "api.port"]
    assert port == {"setting": "api.port", "value": running.port, "source": "K6D_API__PORT"}


def _decided(daemon: Served, script: str) -> tuple[str, str]:
    """Two runs of one script, saved as a daemon does, the older one first."""
    ids = [f"20261122-12{number:02}00-3f9a2c" for number in (1, 2)]
    runs = [make_run(test_id=one, script=script, comparable=True) for one in ids]
    for run in runs:
        daemon.store.save(run)
    return runs[0].test_id, runs[1].test_id


def test_people_decide_what_is_kept(running: Served) -> None:
    """pin, delete, unaccept and ack in the terminal, each mistake one line with the remedy."""
    old, new = _decided(running, "kept.js")

    def said(*words: str, code: int = 0) -> str:
        done = running.call(*words)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout or done.stderr

    assert said("pin") == "no run is pinned\n"
    assert said("pin", old, "--reason", "release 2.0") == f"run {old} is pinned\n"
    assert f"{old}  kept.js  pinned" in said("pin")
    assert "release 2.0" in said("pin")
    assert "no run of kept.js is pinned" in said("compare", old, "pinned", code=2)
    assert f"shares no series with run {old}" in said("compare", new, "pinned", code=2)
    assert "is pinned; 'k6d pin" in said("delete", old, "--yes", code=2)
    assert "--yes deletes without asking" in said("delete", new, code=2)
    assert said("delete", new, "--yes").startswith("1 run and 0 snapshots deleted")
    assert said("pin", old, "--off") == f"run {old} is not pinned any more\n"
    assert "is not pinned" in said("pin", old, "--off", code=2)
    assert "was accepted" in said("unaccept", "kept.js", code=2)
    said("accept", "kept.js")
    assert "compared with all of its runs again" in said("unaccept", "kept")
    assert "has no open incident" in said("ack", "kept.js", code=2)
    Alerts(load(data=running.data), running.store).record(
        make_run(test_id=new, script="kept.js", anomaly_analysis=make_anomaly())
    )
    assert "is acknowledged" in said("ack", "kept.js", "-m", "Anna looks at it")
    assert ": Anna looks at it" in said("incidents", code=1)
    said("ack", "kept.js", "--off")
    assert "Anna" not in said("incidents", code=1)
    said("incidents", "--end", "kept.js")
    assert said("delete", "--script", "kept.js", "--yes").startswith("1 run ")


def test_the_api_decides_the_same(running: Served) -> None:
    """Pins, deletion, unaccept and ack, with the token; what is not there is 404."""
    old, new = _decided(running, "posted.js")
    assert running.post("/api/v1/pins", {"run": old}, token=False).status == 401
    assert running.post("/api/v1/pins", {"run": old, "reason": "x"}).json["script"] == "posted.js"
    assert [one["run"] for one in running.get("/api/v1/pins").json["pins"]] == [old]
    assert running.ask("DELETE", f"/api/v1/runs/{old}", token=True).status == 409
    assert running.ask("DELETE", "/api/v1/runs/latest", token=True).status == 404
    assert running.ask("DELETE", f"/api/v1/pins/{old}", token=True).json == {"pins": []}
    assert running.ask("DELETE", f"/api/v1/pins/{old}", token=True).status == 404
    accepted = running.post("/api/v1/scripts/accept", {"script": "posted.js"})
    assert accepted.status == 200, accepted.text
    assert running.post("/api/v1/scripts/unaccept", {"script": "posted.js"}).json["levels"] == 1
    assert running.post("/api/v1/scripts/unaccept", {"script": "posted.js"}).status == 404
    assert running.post("/api/v1/incidents/acknowledge", {"script": "posted.js"}).status == 404
    Alerts(load(data=running.data), running.store).record(
        make_run(test_id=new, script="posted.js", anomaly_analysis=make_anomaly())
    )
    known = running.post(
        "/api/v1/incidents/acknowledge", {"script": "posted.js", "comment": "seen"}
    ).json
    assert (known["comment"], known["acknowledged"]) == ("seen", True)
    (incident,) = running.get("/api/v1/incidents").json["incidents"]
    assert incident["comment"] == "seen"
    for run in (old, new):
        assert running.ask("DELETE", f"/api/v1/runs/{run}", token=True).json["runs"] == [run]
        assert running.get(f"/api/v1/runs/{run}").status == 404


def test_without_a_daemon_one_line_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each command that asks the daemon names its address and the remedy."""
    stopped = Served(tmp_path_factory.mktemp("stopped"))
    for words in (("queue",), ("cancel", "cart.js")):
        done = stopped.call(*words)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert f"no daemon answers at http://127.0.0.1:{stopped.port}/" in line
        assert "start 'k6d serve'" in line


def test_a_daemon_without_its_port_is_not_mistaken_for_the_one_that_has_it(
    running: Served, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The jobs of another daemon at that port are not shown as its own."""
    second = Served(tmp_path_factory.mktemp("second"))
    second.port = running.port
    try:
        second.start()
        for words in (("queue",), ("cancel", "cart.js")):
            done = second.call(*words)
            assert (done.returncode, done.stdout) == (2, "")
            (line,) = done.stderr.splitlines()
            assert f"the daemon of {second.data} has no API: cannot listen on 127.0.0.1" in line
            assert "choose another api.port" in line
    finally:
        second.close()
