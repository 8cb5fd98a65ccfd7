"""Suites: order, stop at a failure, one message; by hand, over the API and by the clock."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from k6d.core.job import Job
from k6d.core.model import Trigger
from k6d.jobs.queue import JobQueue
from support.daemon import Mailbox, hitting
from support.serving import Served
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUITES = """
[[suites]]
name = "shop"
scripts = ["cart.js", "pay.js", "login.js", "search.js"]
after = { "cart.js" = "login.js", "pay.js" = "cart.js" }
stop = false

[[suites]]
name = "short"
scripts = ["login.js", "search.js"]

[[suites]]
name = "gone"
scripts = ["gone.js", "search.js"]
stop = false
"""
NAMES = ("login", "cart", "pay", "search")


@pytest.fixture(scope="module")
def shop() -> Iterator[Target]:
    """A target for all tests here."""
    with Target() as target:
        yield target


@pytest.fixture(scope="module")
def box() -> Iterator[Mailbox]:
    """The receiver of the messages."""
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shop: Target, box: Mailbox) -> Iterator[Served]:
    """Four scripts, each with its own address; a daemon that has run each of them once."""
    made = Served(tmp_path_factory.mktemp("suites"))
    for name in NAMES:
        made.write(f"{name}.js", hitting(f"{shop.url}/{name}", iterations=30))
    (made.home / "k6d.toml").write_text(SUITES)
    receiver = {"K6D_NOTIFY__URLS": f"json://{box.address}/x", "K6D_NOTIFY__GROUP_WAIT": "1s"}
    try:
        made.start(K6D_COMPARE__ENABLED="false", **receiver)
        for name in NAMES:
            made.run(f"{name}.js")
        made.barrier()
        yield made
    finally:
        made.close()


def _ran(home: Served, before: dict[str, int]) -> list[str]:
    """The scripts that ran since, in their order."""
    newest = home.store.history(limit=sum(home.counts().values()) - sum(before.values()))
    return [one["script"] for one in reversed(newest)]


def test_what_waits_for_a_failed_script_is_left_out(home: Served, shop: Target) -> None:
    """The others run, in the order that `after` makes; exit code and JSON say what happened."""
    shop.status["/cart"] = 500
    before = home.counts()
    done = home.call("run", "--suite", "shop", "--json", "--no-incident")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert _ran(home, before) == ["login.js", "cart.js", "search.js"]
    assert found["left_out"] == {"pay.js": "it comes after cart.js, which did not run well"}
    assert found["not_run"] == {}
    shop.status.clear()
    shop.status["/login"] = 500
    before = home.counts()
    assert home.call("run", "--suite", "short", "--no-incident").returncode == 1
    assert _ran(home, before) == ["login.js"], "a failure stops the rest"
    shop.status.clear()


def test_a_suite_is_one_job_and_one_message(home: Served, shop: Target, box: Mailbox) -> None:
    """Over the API: its scripts run one by one, and one message names those that fail."""
    shop.status |= {"/cart": 500, "/search": 500}
    before = home.counts()
    answer = home.post("/api/v1/suites/shop/run", {})
    assert answer.status == 202, answer.text
    job = answer.json["job"]
    home.until(
        lambda: home.get(f"/api/v1/queue/{job}").json["state"] == "finished", "the suite to end"
    )
    assert _ran(home, before) == ["login.js", "cart.js", "search.js"]
    home.until(lambda: box.letters.get("/x"), "the message")
    (letter,) = box.letters["/x"]
    said = letter["title"] + letter["message"]
    assert "suite shop, 1 script not run" in said
    assert ("cart" in said, "search" in said) == (True, True)
    shop.status.clear()


def test_a_script_that_is_not_there_has_no_run(home: Served) -> None:
    """The rest runs, and the exit code says that there is no verdict on the whole."""
    done = home.call("run", "--suite", "gone", "--no-incident")
    assert done.returncode == 2
    assert "gone.js has no run: " in done.stdout
    assert "search.js" in done.stdout


def test_unknown_suites_are_named(home: Served) -> None:
    """In the terminal and over the API, with those that there are."""
    done = home.call("run", "--suite", "shops")
    assert done.stderr == ("k6d: no suite 'shops' in the settings; there are: shop, short, gone\n")
    assert "name the scripts to run, or a suite" in home.call("run").stderr
    assert "or a suite" in home.call("run", "cart.js", "--suite", "shop").stderr
    assert home.post("/api/v1/suites/shops/run", {}).status == 404
    listed = home.get("/api/v1/suites").json["suites"]
    assert listed[0]["scripts"] == ["login.js", "cart.js", "pay.js", "search.js"]


async def test_a_script_never_runs_beside_its_suite(tmp_path: Path) -> None:
    """Whichever began first, the other one waits in the queue."""
    parts = {"suite:shop": ("a.js", "b.js")}
    queue = JobQueue(scripts_of=lambda name: parts.get(name, (name,)))
    jobs = {
        name: Job(name=name, path=tmp_path / name, trigger=Trigger.SCHEDULED)
        for name in ("suite:shop", "b.js", "c.js")
    }
    for job in jobs.values():
        queue.put(job)
    assert [(await queue.get()).name for _ in range(2)] == ["suite:shop", "c.js"]
    queue.done(jobs["suite:shop"])
    assert (await queue.get()).name == "b.js"
    queue.put(jobs["suite:shop"])
    queue.put(jobs["c.js"])
    queue.done(jobs["c.js"])
    assert (await queue.get()).name == "c.js"
