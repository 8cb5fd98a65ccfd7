"""Kill the daemon at random instants under load, again and again, and check what it left.

The load: scripts that change, and runs that their schedules have made due. Used by
tests/test_crash.py for a few kills and by tests/benchmarks/crash.py for hundreds.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson

from daemon import hitting, until
from k6d.model import Outcome, Trigger

if TYPE_CHECKING:
    import random

    from daemon import Daemon
    from target import Target

SCRIPTS = 4
COMPLETED = re.compile(r"run (\S+) of \S+ completed")
SETTINGS = {"K6D_SCHEDULE__SCRIPTS": '{"*": "@daily"}', "K6D_K6__CONCURRENCY": "2"}


@dataclass(slots=True)
class Crashes:
    """One daemon's lives; `finished` are the files of runs that it said were completed, by id."""

    daemon: Daemon
    target: Target
    chance: random.Random
    kills: int = 0
    finished: dict[str, bytes] = field(default_factory=dict)
    versions: Counter[str] = field(default_factory=Counter)

    def live(self, *, longest_s: float) -> None:
        """One life under load, ended by kill -9 at a random instant, and a look at what it left."""
        self._make_due()
        if self.chance.random() < 0.25:
            self._begin()  # killed while it mends and recovers
        else:
            self.daemon.start(**SETTINGS)
        end = time.monotonic() + self.chance.uniform(0.0, longest_s)
        while time.monotonic() < end:
            self._change(self.chance.randrange(SCRIPTS))
            time.sleep(self.chance.uniform(0.0, longest_s / 4))  # load comes, and ends, at any time
        self.daemon.end(signal.SIGKILL)
        self.kills += 1
        until(lambda: not self.daemon.processes(), "k6 to die with its daemon")
        self._look()

    def settle(self) -> None:
        """A last life without a kill: whatever was written last has run, and nothing is left."""
        self.daemon.start(**SETTINGS)
        self.daemon.barrier()
        known = self.daemon.store.state("scripts")
        for name in self.versions:
            self.daemon.until(lambda name=name: self._is_up_to_date(name), f"{name} to have run")
        queue = self.daemon.store.state("queue")
        self.daemon.until(lambda: not queue.all(), "the queue to be worked off")
        assert self.daemon.end() == 0
        self._look()
        assert list((self.daemon.data / "work").iterdir()) == []
        assert self.repeated() <= 2 * self.kills, "contents ran again without a kill"
        assert set(known.all()) >= set(self.versions)

    def repeated(self) -> int:
        """How often contents ran to their end again: killed between the run and the note of it."""
        runs = [run for name in self.versions for run in self.daemon.runs(name)]
        done = Counter(
            (run.script, run.snapshot.fingerprint)
            for run in runs
            if run.execution.outcome is Outcome.COMPLETED
            and run.trigger is not Trigger.SCHEDULED
            and run.snapshot
        )
        return sum(done.values()) - len(done)

    def outcomes(self) -> Counter[str]:
        """How many runs there are by trigger and outcome."""
        documents = self.daemon.store.history(limit=None)
        return Counter(f"{one['trigger']}, {one['outcome']}" for one in documents)

    def _is_up_to_date(self, name: str) -> bool:
        known = self.daemon.store.state("scripts").get(name) or {}
        last = [run for run in self.daemon.runs(name) if run.execution.outcome == "completed"]
        text = f"?{self.versions[name]}"
        ran = known.get("ran") is not None and known["ran"] == known["fingerprint"]
        return ran and bool(last) and text in (self.daemon.scripts / name).read_text()

    def _begin(self) -> None:
        with (self.daemon.home / "k6d.log").open("ab") as log:
            self.daemon.process = subprocess.Popen(
                self.daemon.command("serve"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.daemon.home,
                env=self.daemon.environment(**SETTINGS),
                process_group=0,
            )

    def _make_due(self) -> None:
        """As if the daemon had been away since yesterday."""
        state = self.daemon.store.state("schedule")
        yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        for script, entry in state.all().items():
            state.put(script, entry | {"next": yesterday})

    def _change(self, number: int) -> None:
        name = f"script-{number}.js"
        self.versions[name] += 1
        self.daemon.write(name, hitting(f"{self.target.url}/{name}?{self.versions[name]}"))

    def _look(self) -> None:
        """No finished run is lost or altered, every file is whole, and the index can be mended."""
        store, data = self.daemon.store, self.daemon.data
        said = set(COMPLETED.findall(self.daemon.log))
        ids = {path.stem for path in (data / "runs").rglob("*.json") if path.name[0] != "."}
        assert said <= ids
        for test_id in said:
            contents = store.load_raw(test_id)
            assert self.finished.setdefault(test_id, contents) == contents, test_id
        for test_id in ids:
            run = store.load(test_id)
            assert run.execution.outcome in {Outcome.COMPLETED, Outcome.ABORTED}, run.execution
            if run.execution.outcome is Outcome.COMPLETED:
                assert run.metrics.total_requests == 2
                assert run.snapshot is not None
                assert store.snapshot_path(run.snapshot.id).exists()
        for path in data.rglob("*.json"):
            orjson.loads(path.read_bytes())
        assert not list(data.rglob("*.unreadable"))
        store.repair()
        indexed = [document["test_id"] for document in store.history(limit=None)]
        assert len(indexed) == len(set(indexed))
        assert set(indexed) == ids
