"""A script that was under way when three daemons in a row died does not run by itself."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import orjson
import pytest

from k6d.core.model import Outcome
from k6d.jobs.pipeline import Pipeline
from k6d.jobs.set_aside import SetAside, set_aside
from k6d.settings import load
from k6d.storage.store import Store
from support.daemon import lasting, until

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import Daemon
    from support.target import Target


@pytest.fixture
async def aside(tmp_path: Path) -> SetAside:
    """What is known in an empty data folder, to which a script a.js belongs."""
    (tmp_path / "a.js").write_text("// 1")
    settings = load(data=tmp_path / "data", scripts=tmp_path)
    return Pipeline(settings, Store(settings.data), stop=asyncio.Event()).aside


async def test_three_deaths_in_a_row_set_a_script_aside(aside: SetAside, tmp_path: Path) -> None:
    """Until its contents change, or a run of it came to its end."""
    path = tmp_path / "a.js"
    aside.begin([], tmp_path)
    for number in range(3):
        assert not await aside.holds("a.js", path)
        aside.begin([("a.js", f"run-{number}")], tmp_path)
    assert await aside.holds("a.js", path)
    assert [death.script for death in set_aside(Store(tmp_path / "data"))] == ["a.js"]
    path.write_text("// 2")
    assert not await aside.holds("a.js", path)
    path.write_text("// 1")
    aside.begin([], tmp_path)
    assert await aside.holds("a.js", path)
    aside.survived("a.js")
    assert not await aside.holds("a.js", path)
    assert set_aside(Store(tmp_path / "data")) == []


async def test_only_deaths_in_a_row_count(aside: SetAside, tmp_path: Path) -> None:
    """An orderly end, a life without the script, other contents and the same run begin anew."""
    path = tmp_path / "a.js"
    aside.begin([], tmp_path)
    aside.begin([("a.js", "1")], tmp_path)
    aside.begin([("a.js", "2")], tmp_path)
    aside.begin([("a.js", "2")], tmp_path)  # killed in its recovery
    assert not await aside.holds("a.js", path)
    aside.end()
    aside.begin([("a.js", "3")], tmp_path)  # left by `k6d run`
    aside.begin([("a.js", "4")], tmp_path)
    aside.begin([], tmp_path)
    aside.begin([("a.js", "5")], tmp_path)
    aside.begin([("a.js", "6")], tmp_path)
    path.write_text("// 2")
    aside.begin([("a.js", "7")], tmp_path)
    assert not await aside.holds("a.js", path)
    assert set_aside(Store(tmp_path / "data")) == []


def test_a_script_that_kills_the_daemon_is_told_and_the_others_run(
    daemon: Daemon, target: Target
) -> None:
    """An alert, a line of the log, a line of `k6d doctor`; changed, it runs again.

    1. Three daemons are killed while deadly.js runs.
    2. The fourth does not run it, tells so, and runs another script.
    3. deadly.js is edited: it runs to its end, and nothing is set aside any more.
    """
    daemon.write("deadly.js", lasting(target.url))
    for number in range(3):
        daemon.start(K6D_NOTIFY__URLS="json://127.0.0.1:9/")
        starts = "of deadly.js starts"
        daemon.until(lambda: daemon.log.count(starts) > number, "the run")  # noqa: B023
        assert daemon.process
        os.kill(daemon.process.pid, signal.SIGKILL)
        daemon.process.wait()
        until(lambda: not daemon.processes(), "its k6 to be gone")
    daemon.start(K6D_NOTIFY__URLS="json://127.0.0.1:9/")
    daemon.until_logged("deadly.js is set aside: k6d died 3 times in a row while it ran")
    daemon.write("other.js", lasting(target.url, seconds=1))
    assert daemon.run("other.js").execution.outcome is Outcome.COMPLETED
    assert daemon.counts() == {"deadly.js": 3, "other.js": 1}
    subjects = [row["subject"] for row in orjson.loads(daemon.call("outbox", "--json").stdout)]
    assert any("set aside" in subject for subject in subjects)
    assert "deadly.js is set aside" in daemon.call("doctor").stdout
    daemon.write("deadly.js", lasting(target.url, seconds=1))
    assert daemon.run("deadly.js", 4).execution.outcome is Outcome.COMPLETED
    daemon.barrier()
    assert "set aside" not in daemon.call("doctor").stdout
