"""queue, cancel, enable and disable, against a daemon that runs; the same over the API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import hitting, lasting, until
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


def test_without_a_daemon_one_line_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each command that asks the daemon names its address and the remedy."""
    stopped = Served(tmp_path_factory.mktemp("stopped"))
    for words in (("queue",), ("cancel", "cart.js")):
        done = stopped.call(*words)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert f"no daemon answers at http://127.0.0.1:{stopped.port}/" in line
        assert "start 'k6d serve'" in line
