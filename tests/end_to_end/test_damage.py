"""Every kind of file that k6d keeps, damaged while it was down: said, mended or set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.daemon import hitting
from support.receivers import closed_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.daemon import Daemon
    from support.target import Target


def _flipped(data: bytes) -> bytes:
    """One bit in the middle of it is another."""
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda _: b"",
    "cut": lambda data: data[: len(data) // 2],
    "zeroed": lambda data: bytes(len(data)),
    "flipped": _flipped,
}
SETTINGS = {
    "K6D_NOTIFY__URLS": f"json://127.0.0.1:{closed_port()}/",
    "K6D_SCHEDULE__SCRIPTS": '{"*": "@yearly"}',
}


def _lived(daemon: Daemon, target: Target) -> None:
    """Leave runs, an open incident with its message waiting, schedules, a mute, a job."""
    target.status["/broken"] = 500
    for name in ("shop", "broken"):
        daemon.write(f"{name}.js", hitting(f"{target.url}/{name}"))
    daemon.start(**SETTINGS)
    daemon.run("shop.js")
    daemon.run("broken.js")
    daemon.barrier()
    daemon.until(lambda: list(daemon.data.glob("outbox/waiting/*.json")), "a message to wait")
    daemon.end()
    daemon.start(**SETTINGS)  # schedules are made when scripts are known
    daemon.end()
    assert daemon.call("mute", "nobody*", "--for", "2h").returncode == 0
    daemon.store.state("queue").put("gone.js", {"name": "gone.js"})


def _files(data: Path) -> list[Path]:
    places = ("state/*.json", "index/*/*.json", "index/current", "outbox/waiting/*.json")
    found = [path for place in places for path in data.glob(place)]
    run = min(data.glob("runs/*/*.json"))
    return [*found, run, data / "daemon.lock", min(data.glob("snapshots/*.tar"))]


@pytest.mark.long
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_said_and_no_end(daemon: Daemon, target: Target, damage: str) -> None:
    """All at once; what cannot be read is kept under another name and named, and scripts run."""
    _lived(daemon, target)
    files = _files(daemon.data)
    assert len(files) >= 10
    for path in files:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    before = len(daemon.log)
    daemon.start(**SETTINGS)
    daemon.write("shop.js", hitting(f"{target.url}/shop?again"))
    daemon.until(
        lambda: target.requests["GET /shop"] >= 4 and "of shop.js completed" in daemon.log[before:],
        "the edited script to run",
    )
    daemon.barrier()
    said = daemon.log[before:]
    for path in files:
        if path.parent.name == "state":
            assert f"{path}.unreadable: did not parse, set aside" in said
            assert path.with_name(f"{path.name}.unreadable").exists()
    if damage != "flipped":  # a run whose JSON still reads is taken for what it says
        run = next(path for path in files if path.parent.parent.name == "runs")
        assert f"{run}.unreadable: not a run that parses" in said
        assert run.stem not in daemon.call("history").stdout
    for words in (("schedule",), ("incidents",), ("outbox",), ("doctor",), ("prune", "--dry-run")):
        assert "Traceback" not in daemon.call(*words, **SETTINGS).stderr, words


def test_entries_of_another_shape_are_left_out(daemon: Daemon, target: Target) -> None:
    """Edited by hand, or from an archive that somebody made: a line each, and scripts run."""
    job = {"id": "1", "trigger": "manual", "options": {}, "env": [], "due": None, "repeats": 0}
    outside = daemon.home / "outside.js"
    outside.write_text(hitting(f"{target.url}/outside"))
    odd = {
        "queue": [{"foo": 1}, job | {"name": "../outside.js", "at": "2026-11-22T12:00:00+00:00"}],
        "scripts": [{"x": 1}, {"kind": 3, "dependencies": [], "settings": "none"}],
        "schedule": [{"next": "zzz"}],
        "incidents": [{"script": 1}],
    }
    for name, documents in odd.items():
        for number, document in enumerate(documents):
            daemon.store.state(name).put(f"shop{number or ''}.js", document)
    accepted = daemon.store.state("accepted")
    accepted.put("shop.js", {})
    accepted.path.write_bytes(accepted.path.read_bytes().replace(b"{}", b"[1]"))
    daemon.write("shop.js", hitting(f"{target.url}/shop"))
    daemon.start(**SETTINGS)
    daemon.run("shop.js")
    daemon.barrier()
    said = daemon.log
    assert "of shop.js completed, healthy" in said
    assert "Traceback" not in said
    assert said.count("; forgotten") == 2
    assert "shop.js begins anew" in said
    assert not target.requests["GET /outside"]
    for words in (("schedule",), ("incidents",), ("prune", "--dry-run"), ("scripts",)):
        assert "Traceback" not in daemon.call(*words, **SETTINGS).stderr, words
