"""Disks that refuse in every way they have, at every place in which k6d writes.

Input/output errors, no access, no room, a file system that is read-only: from the kernel itself,
see `refusing`. Nothing undoes it but another process, as another disk would.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

from k6d.storage.repair import Repair
from k6d.storage.store import Store
from support.daemon import hitting
from support.paths import TESTS
from support.receivers import HttpReceiver
from support.records import make_run

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import Daemon
    from support.target import Target

HERE = str(TESTS)
REFUSALS = [
    *(("open", number) for number in ("EACCES", "EIO", "ENOSPC", "EROFS")),
    *(("write", number) for number in ("EIO", "ENOSPC", "EDQUOT")),
    ("fsync", "EIO"),
    *(("rename", number) for number in ("EIO", "EACCES", "ENOSPC")),
]
IN_WORDS = {
    "EACCES": "give the user that runs k6d access",
    "EIO": "check the disk",
    "ENOSPC": "free some space",
    "EDQUOT": "free some space or raise the quota",
    "EROFS": "make that file system writable",
}
# A process for each refusal, which nothing undoes, forked from one that has imported k6d.
WRITES = """
import errno, os, sys
from pathlib import Path
from k6d.core.model import K6dError
from k6d.storage.store import Store
from support.records import make_run
from support.refusing import refuse_at

def write(data, place, call, error):
    store = Store(data)
    source = data.parent / "source.tar"
    source.write_bytes(b"archive")
    new = make_run(test_id="20261122-130000-000001")
    writes = {
        "runs": lambda: store.save(new),
        "index": lambda: store.save(new),
        "state": lambda: store.state("scripts").put("a.js", {"new": True}),
        "snapshots": lambda: store.put_snapshot("snap-new", source),
    }
    refuse_at(f"/{place}/", call, getattr(errno, error), when=lambda: True)
    try:
        writes[place]()
    except K6dError as refused:
        print(refused, flush=True)

place, *cases = sys.argv[1:]
for case in cases:
    pid = os.fork()
    if pid == 0:
        home, call, error = case.split(":")
        write(Path(home) / "data", place, call, error)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0, case
"""


@pytest.mark.parametrize("place", ["runs", "index", "state", "snapshots"])
def test_what_the_disk_refuses_is_said_and_nothing_is_half_there(
    tmp_path: Path, place: str
) -> None:
    """One line that names the file and the remedy; the old is whole, the new is made good later."""
    homes = {refusal: tmp_path / "-".join(refusal) for refusal in REFUSALS}
    for home in homes.values():
        store = Store(home / "data")
        store.save(make_run())
        store.state("scripts").put("a.js", {"new": False})
    cases = [f"{home}:{call}:{error}" for (call, error), home in homes.items()]
    done = subprocess.run(
        [sys.executable, "-c", WRITES, place, *cases],
        env=os.environ | {"PYTHONPATH": HERE},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    lines = done.stdout.splitlines()
    for ((_, error), home), said in zip(homes.items(), lines, strict=True):
        assert f"{home / 'data' / place}/" in said
        assert IN_WORDS[error] in said
        _is_whole(home / "data", saved=place == "index")


def _is_whole(data: Path, *, saved: bool) -> None:
    """The old state is there, and the new run if it was saved; the index is mended."""
    store = Store(data)
    assert store.state("scripts").get("a.js") == {"new": False}
    assert not store.snapshot_path("snap-new").exists()
    kept = ["20261122-120000-3f9a2c"] + ["20261122-130000-000001"] * saved
    assert sorted(store.load(path.stem).test_id for path in data.glob("runs/*/*.json")) == kept
    report = store.repair()
    assert report.added == saved
    assert store.repair() == Repair()
    assert list(data.rglob("*.tmp")) == []
    store.save(make_run(test_id="20261122-140000-000002"))
    assert len(store.history()) == len(kept) + 1


# What Python imports by itself: every process of the daemon, from its first line.
AT_START = """
import errno, os
from pathlib import Path
from support.refusing import refuse_at
place, call, error, trip = os.environ["REFUSED"].split()
refuse_at(f"/data/{place}/", call, getattr(errno, error), when=Path(trip).exists)
"""


@pytest.mark.parametrize(
    ("place", "call", "error"),
    [
        ("runs", "fsync", "EIO"),
        ("runs", "open", "EACCES"),
        ("index", "open", "ENOSPC"),
        ("index", "rename", "EIO"),
        ("state", "fsync", "EIO"),
        ("state", "open", "EROFS"),
        ("snapshots", "fsync", "EIO"),
        ("outbox", "fsync", "EIO"),
        ("outbox", "open", "EACCES"),
    ],
)
def test_a_daemon_survives_its_disk(
    daemon: Daemon, target: Target, place: str, call: str, error: str
) -> None:
    """It says so and answers its signal; the next start makes good what was not kept or told."""
    target.status["/broken"] = 500
    trip, own = daemon.home / "trip", daemon.home / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text(AT_START)
    refused = {"PYTHONPATH": f"{own}:{HERE}", "REFUSED": f"{place} {call} {error} {trip}"}
    with HttpReceiver() as receiver:
        settings = {
            "K6D_NOTIFY__URLS": f'["json://127.0.0.1:{receiver.port}/"]',
            "K6D_COMPARE__CONFIRM": "0",
        }
        daemon.write("shop.js", hitting(f"{target.url}/shop"))
        daemon.start(**settings, **refused)
        daemon.run("shop.js")
        daemon.barrier()
        trip.touch()
        daemon.write("broken.js", hitting(f"{target.url}/broken"))
        daemon.write("shop.js", hitting(f"{target.url}/shop?2"))
        daemon.until(
            lambda: any(
                str(daemon.data) in line for line in daemon.log.splitlines() if " ERROR " in line
            ),
            "an error that names a file",
        )
        daemon.end(signal.SIGTERM)
        assert len(daemon.log.splitlines()) < 60
        daemon.start(**settings)
        daemon.until(lambda: daemon.runs("broken.js"), "broken.js to have run")
        daemon.until(lambda: len(daemon.runs("shop.js")) >= 2, "the edit to have run")
        daemon.until(lambda: receiver.taken, "its incident to be told")
        daemon.barrier()
        assert daemon.end() == 0
        assert len(receiver.taken) == 1
    assert [path for path in daemon.data.rglob("*") if path.suffix in {".tmp", ".unreadable"}] == []
    for path in daemon.data.rglob("*.json"):
        orjson.loads(path.read_bytes())
    assert daemon.store.repair().messages == []
