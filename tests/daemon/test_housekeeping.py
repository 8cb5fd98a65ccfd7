"""The daemon's upkeep end to end: settings reread, maintenance, room on the disk, groups, logs."""

from __future__ import annotations

import asyncio
import signal
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from k6d.core.logs import FILE_BYTES
from k6d.core.model import Trigger
from k6d.daemon.housekeeping import Housekeeping
from k6d.jobs.queue import JobQueue
from k6d.settings import load
from k6d.storage.files import locked
from k6d.storage.store import Store
from support.daemon import hitting, lasting, until
from support.records import make_run

if TYPE_CHECKING:
    import pytest

    from support.daemon import Daemon
    from support.target import Target


def _hang_up(daemon: Daemon) -> None:
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)


def test_sighup_rereads_the_settings(daemon: Daemon, target: Target) -> None:
    """A mistake leaves the old ones and is said; good ones hold for the next run."""
    config = daemon.home / "k6d.toml"
    daemon.start()
    config.write_text("[limits]\nerror_rate = 5\n")
    _hang_up(daemon)
    daemon.until_logged("the settings stay as they were: ")
    assert "limits.error_rate: 5 should be a table" in daemon.log
    config.write_text('[k6]\nconcurrency = 2\nenv = { GREETING = "hello" }\n')
    _hang_up(daemon)
    daemon.until_logged(f"settings read again from {config}")
    assert "k6.concurrency changes with the next start only" in daemon.log
    text = hitting(f"{target.url}/${{__ENV.GREETING}}").replace("'" + target.url, "`" + target.url)
    daemon.write("cart.js", text.replace("}')", "}`)"))
    daemon.run("cart.js")
    assert target.requests["GET /hello"] == 2


def test_nothing_starts_in_maintenance(daemon: Daemon, target: Target) -> None:
    """New scripts wait until the window is over, here by new settings."""
    config = daemon.home / "k6d.toml"
    config.write_text('[schedule]\nmaintenance = ["0 0 * * * for 24h"]\n')
    daemon.start()
    daemon.until_logged("nothing starts now: maintenance (0 0 * * * for 24h) until ")
    daemon.write("cart.js", hitting(f"{target.url}/cart"))
    shown = orjson.loads(daemon.call("schedule", "--json").stdout)
    assert shown["held"].startswith("maintenance")
    began = datetime.now(UTC)
    config.write_text("")
    _hang_up(daemon)
    run = daemon.run("cart.js")
    assert run.trigger is Trigger.ADDED
    assert run.timestamp >= began


def test_without_room_on_the_disk_nothing_starts(daemon: Daemon, target: Target) -> None:
    """Less than the least: no run, said once; more: a warning at most."""
    cart = daemon.write("cart.js", hitting(f"{target.url}/cart"))
    plenty = str(1 << 40)
    daemon.start(K6D_RETENTION__LEAST_FREE_MIB=plenty)
    daemon.until_logged(f"nothing starts now: {daemon.data} has less than {plenty} MiB left")
    by_hand = daemon.call("run", str(cart), K6D_RETENTION__LEAST_FREE_MIB=plenty)
    assert by_hand.returncode == 2
    assert by_hand.stderr.startswith(f"k6d: {daemon.data} has less than {plenty} MiB left")
    assert daemon.counts() == {}
    daemon.end()
    daemon.start(K6D_RETENTION__WARN_FREE_MIB=plenty)
    daemon.run("cart.js")
    daemon.until_logged("below 200 MiB no run starts")


def test_scripts_of_a_group_take_turns(daemon: Daemon, target: Target) -> None:
    """With two workers, members of a group never overlap; others run beside them."""
    grouped = "ext: { k6d: { group: 'shop' } }"
    for name, options in (("one.js", grouped), ("two.js", grouped), ("three.js", "")):
        daemon.write(name, lasting(f"{target.url}/{name}", seconds=2, options=options))
    daemon.start(K6D_K6__CONCURRENCY="3")
    for name in ("one.js", "two.js", "three.js"):
        daemon.run(name)
    spans = {
        name: sorted(served.at for served in target.served if served.path == f"/{name}")
        for name in ("one.js", "two.js", "three.js")
    }
    one, two, three = (spans[name] for name in ("one.js", "two.js", "three.js"))
    assert one[-1] < two[0] or two[-1] < one[0]
    assert three[0] < max(one[-1], two[-1])


def test_the_log_goes_to_a_file_as_json(daemon: Daemon) -> None:
    """One object a line, with time, level and message; standard error has the same."""
    file = daemon.home / "logs" / "k6d.log"
    daemon.start(K6D_LOG_FORMAT="json", K6D_LOG_FILE=str(file))
    daemon.end()
    lines = [orjson.loads(line) for line in file.read_text().splitlines()]
    assert [orjson.loads(line) for line in daemon.log.splitlines()] == lines
    assert {"time", "level", "logger", "message"} <= lines[0].keys()
    assert lines[-1]["message"] == "stopped"
    assert datetime.fromisoformat(lines[0]["time"]).tzinfo is not None


def test_a_log_file_that_is_full_is_rotated(daemon: Daemon) -> None:
    """The next line begins a new file, and the old one is kept."""
    file = daemon.home / "k6d.log.txt"
    file.write_bytes(b"old\n" * (FILE_BYTES // 4))
    daemon.start(K6D_LOG_FILE=str(file))
    daemon.end()
    assert file.with_name(f"{file.name}.1").stat().st_size == FILE_BYTES
    assert file.read_text().endswith("stopped\n")
    assert "old\n" not in file.read_text()
    assert stat.filemode(file.stat().st_mode) == "-rw-r-----"


def test_a_log_file_that_cannot_be_written_is_said(daemon: Daemon) -> None:
    """One line with the path and what to do."""
    (daemon.home / "taken").touch()
    done = daemon.call("serve", "--log-file", str(daemon.home / "taken" / "k6d.log"))
    assert done.returncode == 2
    assert "cannot log into" in done.stderr
    assert "choose another log_file" in done.stderr


async def test_schedules_do_not_wait_for_pruning(tmp_path: Path) -> None:
    """While a prune waits, here for the lock of another writer, scripts are planned."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "cart.js").touch()
    (tmp_path / "k6d.toml").touch()
    folders = {"scripts": tmp_path / "scripts", "data": tmp_path / "data"}
    settings, store = load(tmp_path / "k6d.toml", **folders), Store(folders["data"])
    run = make_run()
    store.save(run)
    whole = store.run_path(run.test_id).read_bytes()
    store.state("scripts").put("cart.js", {"kind": "test"})
    clock = [((run.timestamp + timedelta(days=99)).timestamp(), 0.0)]
    upkeep = Housekeeping(settings, store, JobQueue(), clock=lambda: clock[0])
    clock[0] = (clock[0][0] + 3600, 3600.0)
    lock = folders["data"] / "index" / ".lock"
    with locked(lock, root=folders["data"]):
        running = asyncio.create_task(upkeep.run())
        waiting = lambda: _waits_for(lock)  # noqa: E731
        await asyncio.to_thread(until, waiting, "the prune to wait for the lock")
        upkeep.reread(load(tmp_path / "k6d.toml", **folders, schedule__scripts={"*": "@daily"}))
        planned = store.state("schedule")
        await asyncio.to_thread(until, lambda: planned.get("cart.js"), "the script to be planned")
        assert store.run_path(run.test_id).read_bytes() == whole
    smaller = lambda: len(store.run_path(run.test_id).read_bytes()) < len(whole)  # noqa: E731
    await asyncio.to_thread(until, smaller, "the prune to go on")
    running.cancel()


def _waits_for(lock: Path) -> bool:
    """Whether the kernel lists somebody who waits for the lock of that file."""
    inode = f":{lock.stat().st_ino} "
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and inode in line for line in lines)


async def test_a_mistake_of_our_own_costs_one_round(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Here days that no clock can count, past what the settings allow: pruning fails, k6d lives."""
    (tmp_path / "k6d.toml").touch()
    settings = load(tmp_path / "k6d.toml", data=tmp_path / "data")
    retention = settings.retention.model_copy(update={"full_days": 10**10})
    settings, store = settings.model_copy(update={"retention": retention}), Store(settings.data)
    store.save(make_run())
    clock = [(time.time(), 0.0)]
    upkeep = Housekeeping(settings, store, JobQueue(), clock=lambda: clock[0])
    clock[0] = (time.time() + 3600, 3600.0)
    running = asyncio.create_task(upkeep.run())
    told = "please report it"
    await asyncio.to_thread(until, lambda: told in caplog.text or running.done(), "the mistake")
    assert "OverflowError" in caplog.text
    assert not running.done()
    running.cancel()
