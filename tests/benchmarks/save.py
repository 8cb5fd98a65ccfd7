"""From k6's exit to the saved record, and the disk that a run takes."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import stored
from stage import (
    FIVE_ENDPOINTS,
    MOVED_TO,
    PATIENCE_S,
    Folder,
    Table,
    Target,
    many_requests,
    median,
    verdict,
    wait,
)

from k6d.storage.store import Store
from support.daemon import Daemon

STORED = 10_000
SCRIPTS = 50  # that the stored runs belong to, the measured one among them
FEW, MANY = 600, 600_000
REPEATS = {"few": 5, "many": 2}
LAST_WRITE = "scripts.json"  # in the state folder: these contents have run
GOAL_MS = 100
GOAL_KB = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Seconds from k6's exit: until the record has its name, and until the job is done."""

    saved_s: float
    done_s: float
    ran_s: float


def k6_of(daemon: int) -> int:
    """Wait for the daemon's `k6 run`; its pid."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for children in Path(f"/proc/{daemon}/task").glob("*/children"):
            with suppress(OSError):
                for pid in children.read_text().split():
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                    if words[1:2] == [b"run"]:
                        return int(pid)
        time.sleep(0.002)
    raise AssertionError("k6 was not started")


def one_run(served: Daemon, text: str) -> Sample:
    """Save the script; watch its k6 end, its record come, and the job's last write."""
    assert served.process is not None
    month = served.data / "runs" / f"{datetime.now(UTC):%Y-%m}"
    month.mkdir(parents=True, exist_ok=True)
    records, state = Folder(month, MOVED_TO), Folder(served.data / "state", MOVED_TO)
    began = time.monotonic()
    served.write("shop.js", text)
    exited = os.pidfd_open(k6_of(served.process.pid))
    times: dict[int, float] = {}
    waiting = {exited, records.fileno(), state.fileno()}
    try:
        while waiting:
            ready, _, _ = select.select(waiting, [], [], 10 * PATIENCE_S)
            now = time.monotonic()
            assert ready, "the run was not saved"
            for fd in ready:
                # Other state is written before the run is saved: what may come of it for people.
                if fd != state.fileno() or LAST_WRITE in state.read():
                    times[fd] = now
            waiting -= times.keys()
        at = times[exited]
        return Sample(
            saved_s=times[records.fileno()] - at,
            done_s=times[state.fileno()] - at,
            ran_s=at - began,
        )
    finally:
        os.close(exited)
        records.close()
        state.close()


def fill(data: Path) -> None:
    """Copies of the newest record, of its own script and as many others."""
    own = Store(data).history(limit=1)[0]["script"]
    stored.fill(data, STORED, [own, *(f"script-{number}.js" for number in range(1, SCRIPTS))])


def sizes(folder: Path) -> int:
    """Bytes on the disk of all files below."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def disk(served: Daemon, target: Target) -> tuple[int, int]:
    """A run of half a minute over five endpoints: its file, and its share of the index; bytes."""
    load = "vus: 5, duration: '30s'"
    one_run(served, FIVE_ENDPOINTS.format(load=load, url=target.url, more="sleep(0.1);"))
    store = Store(served.data)
    path = store.run_path(store.history(limit=1)[0]["test_id"])
    return path.stat().st_blocks * 512, round(sizes(served.data / "index") / STORED)


def samples(served: Daemon, url: str, requests: int, repeats: int) -> list[Sample]:
    """So many runs; a comment makes each script new without making another test of it."""
    found = []
    for number in range(repeats):
        text = f"// {requests} {number} {time.time()}\n{many_requests(url, requests=requests)}"
        found.append(one_run(served, text))
        wait(0.5)
    return found


def row(stored: int, requests: int, found: list[Sample]) -> list[str]:
    """The table's row."""
    saved = median([one.saved_s for one in found]) * 1000
    worst = max(one.saved_s for one in found) * 1000
    done = median([one.done_s for one in found]) * 1000
    return [
        f"{requests:,} requests, {stored:,} runs stored",
        *(f"{saved:.0f}", f"{worst:.0f}", f"{done:.0f}", str(len(found))),
        f"≤ {GOAL_MS} ms: {verdict(saved <= GOAL_MS)}",
    ]


def measure(work: Path) -> Table:
    """Few and many requests, first over an empty store, then over a full one."""
    rows: list[list[str]] = []
    longest_s = 0.0
    with Target() as target:
        served = Daemon(work / "k6d")
        served.write("shop.js", many_requests(target.url, requests=FEW))
        served.start(K6D_COMPARE__CONFIRM="0")  # a re-run would be taken for the next run
        try:
            served.until_logged(" of shop.js completed")
            for stored in (0, STORED):
                if stored:
                    served.end()
                    fill(served.data)
                    served.start(K6D_COMPARE__CONFIRM="0")
                for requests, kind in ((FEW, "few"), (MANY, "many")):
                    found = samples(served, target.url, requests, REPEATS[kind])
                    longest_s = max(longest_s, *(one.ran_s for one in found))
                    rows.append(row(stored, requests, found))
            file, share = disk(served, target)
        finally:
            served.end()
    total_kb = (file + share) / 1000
    rows.append(
        [
            "disk of a 30 s run over five endpoints",
            f"{total_kb:.1f} KB",
            *("", "", "1", f"≤ {GOAL_KB} KB: {verdict(total_kb <= GOAL_KB)}"),
        ]
    )
    return Table(
        title="k6's exit → saved record",
        columns=["", "median ms", "worst ms", "compared, ms", "runs", "goal"],
        rows=rows,
        notes=[
            "Saved: the run file is written, flushed and has its name; the index entry follows.",
            "Compared: judged against its history, saved again, the job's last write is done.",
            f"{MANY:,} requests took {longest_s:.0f} s at most, the snapshot included.",
            f"Disk: run file {file / 1000:.1f} KB in blocks, index {share / 1000:.2f} KB a run; "
            "the snapshot is shared by all runs of the same contents.",
        ],
    )
