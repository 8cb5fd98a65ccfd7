"""Kill the daemon at random instants under load, again and again, and check what it left.

The load: scripts that change, runs that their schedules have made due, a page that fails now and
then, so that incidents open, are told and resolve. Of two receivers one takes everything; the other
fails, hangs, redirects, closes, drips or asks for a pause. Helpers are killed, too, now and then.
Used by tests/test_crash.py for a few kills and by tests/benchmarks/crash.py for hundreds.
"""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from k6d.alerts.alerting import Alerts
from k6d.alerts.outbox import Outbox
from k6d.alerts.records import State
from k6d.core.model import Outcome, Trigger
from k6d.jobs.set_aside import set_aside
from k6d.settings import load
from support.daemon import hitting, until

if TYPE_CHECKING:
    import random

    from k6d.core.model import Run
    from support.daemon import Daemon
    from support.receivers import Got, HttpReceiver
    from support.target import Target

SCRIPTS = 4
FAILING = "/script-0.js"  # now and then
SHOWN = re.compile(r"k6d show (\S+)")
COMPLETED = re.compile(r"run (\S+) of \S+ completed")
SETTINGS = {
    "K6D_SCHEDULE__SCRIPTS": '{"*": "@daily"}',
    "K6D_K6__CONCURRENCY": "2",
    "K6D_NOTIFY__RESOLVE_AFTER": "1",  # so that the last run alone decides
    "K6D_NOTIFY__TIMEOUT": "3",
    "K6D_NOTIFY__RETRY": "0.3",
    "K6D_NOTIFY__GROUP_INTERVAL": "2",  # else a failure of the same target waits five minutes
}
LOGIN = "/login"  # where redirects lead
PAUSE: tuple[int, dict[str, str]] = (429, {"Retry-After": "1"})


@dataclass(slots=True)
class Crashes:
    """One daemon's lives; `finished` are the files of runs that it said were completed, by id.

    `receiver` makes trouble, `steady` makes none.
    """

    daemon: Daemon
    target: Target
    receiver: HttpReceiver
    steady: HttpReceiver
    chance: random.Random
    kills: int = 0
    helpers_killed: int = 0
    finished: dict[str, Any] = field(default_factory=dict)
    versions: Counter[str] = field(default_factory=Counter)

    def live(self, *, longest_s: float) -> None:
        """One life under load, ended by kill -9 at a random instant, and a look at what it left."""
        self._make_due()
        self.target.status[FAILING] = 500 if self.chance.random() < 0.5 else 200
        self.receiver.plan = self._trouble()
        if self.chance.random() < 0.25:
            self._begin()  # killed while it mends and recovers
        else:
            before = self._stored()
            self.daemon.start(**self._settings())
            assert before <= set(self._indexed())  # by the daemon's own repair
        end = time.monotonic() + self.chance.uniform(0.0, longest_s)
        while time.monotonic() < end:
            self._change(self.chance.randrange(SCRIPTS))
            time.sleep(self.chance.uniform(0.0, longest_s / 4))  # load comes, and ends, at any time
        self.daemon.end(signal.SIGKILL)
        self.kills += 1
        if self.chance.random() < 0.2:
            self.helpers_killed += self.daemon.kill("k6d.alerts.delivery.apprise_worker")
        until(lambda: not self.daemon.processes(), "k6 to die with its daemon")
        self._look()

    def settle(self) -> None:
        """A last life without a kill: whatever was written last has run, and nothing is left."""
        self.receiver.plan = []
        self.daemon.start(**self._settings())
        self.daemon.barrier()
        for death in set_aside(self.daemon.store):  # three kills in a row; a change brings it back
            self._change(int(death.script.removeprefix("script-").removesuffix(".js")))
        known = self.daemon.store.state("scripts")
        for name in self.versions:
            self.daemon.until(lambda name=name: self._is_up_to_date(name), f"{name} to have run")
        queue = self.daemon.store.state("queue")
        self.daemon.until(lambda: not queue.all(), "the queue to be worked off")
        outbox = Outbox(self.daemon.data)
        self.daemon.until(lambda: not outbox.waiting(), "all messages to be delivered")
        self.daemon.until(self._is_scheduled, "every script's next start to be in the future")
        assert self.daemon.end() == 0
        self._look()
        self._look_at_incidents()
        assert list((self.daemon.data / "work").iterdir()) == []
        assert list(self.daemon.data.rglob("*.tmp")) == []
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

    def _is_scheduled(self) -> bool:
        """Also of a script of which it learnt just now; schedules are looked at now and then."""
        now = datetime.now(UTC).isoformat()
        entries = self.daemon.store.state("schedule").all()
        return all(entry["next"] > now for entry in entries.values())

    def _is_up_to_date(self, name: str) -> bool:
        known = self.daemon.store.state("scripts").get(name) or {}
        last = [run for run in self.daemon.runs(name) if run.execution.outcome == "completed"]
        text = f"?{self.versions[name]}"
        ran = known.get("ran") is not None and known["ran"] == known["fingerprint"]
        return ran and bool(last) and text in (self.daemon.scripts / name).read_text()

    def _begin(self) -> None:
        self.daemon.begin(**self._settings())

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
        ids = self._stored()
        assert said <= ids
        for test_id in said:
            # An explanation, or why there is none, comes after the run is said to be completed.
            contents = orjson.loads(store.load_raw(test_id)) | {"explanation": None}
            assert self.finished.setdefault(test_id, contents) == contents, test_id
        for test_id in ids:
            run = store.load(test_id)
            assert run.execution.outcome in {Outcome.COMPLETED, Outcome.ABORTED}, run.execution
            if run.execution.outcome is Outcome.COMPLETED:
                assert run.metrics.total_requests == 2
                assert run.snapshot is not None
                assert store.snapshot_path(run.snapshot.id).exists()
        for path in data.rglob("*.json"):
            if not path.is_relative_to(data / "work"):  # those of k6, which died in the middle
                orjson.loads(path.read_bytes())
        assert not list(data.rglob("*.unreadable"))
        if self.chance.random() < 0.5:  # else the daemon is to do it
            store.repair()
            indexed = self._indexed()
            assert len(indexed) == len(set(indexed))
            assert set(indexed) == ids

    def _look_at_incidents(self) -> None:
        """Incidents are what each script's last run says; what is open was told; nothing twice."""
        outbox = Outbox(self.daemon.data)
        settings = load(self.daemon.home / "k6d.toml", data=self.daemon.data)
        # What the last runs meant may have come too late to be delivered in this life.
        told = [kept.message.id for kept in (*outbox.done(), *outbox.waiting())]
        for script, standing in Alerts(settings, self.daemon.store).incident_states().items():
            judged = [run for run in self.daemon.runs(script) if _is_judged(run)]
            wrong = judged[-1].anomaly_analysis.anomalies_detected
            assert (standing.incident is not None) == wrong, judged[-1]
            assert standing.outgoing == []
            assert not [
                run for run in standing.expected if self.daemon.store.run_path(run).exists()
            ]
            if standing.incident:
                assert any(message.startswith(standing.incident.id) for message in told), standing
        for kept in outbox.done():
            states = [found.state for found in (kept.deliveries or {}).values()]
            assert states == [State.DELIVERED] * 2, kept
        for receiver in (self.receiver, self.steady):
            assert not [got for got in receiver.got if got.path.startswith(LOGIN)]
            first = [got for got in receiver.taken if not _is_repeat(got)]
            keys = [got.headers["Idempotency-Key"] for got in first]
            assert len(keys) == len(set(keys)), "a message came twice and did not say so"
            runs = [run for got in first for run in SHOWN.findall(got.json["message"])]
            assert len(runs) == len(set(runs)), "a run was told twice and nobody said so"

    def marked_as_repeated(self) -> int:
        """How many messages said that they were sent again."""
        taken = [*self.receiver.taken, *self.steady.taken]
        return sum(map(_is_repeat, taken))

    def _trouble(self) -> list[Any]:
        """How the receiver that makes trouble answers in this life, until it is well again."""
        redirect = (302, {"Location": f"http://127.0.0.1:{self.steady.port}{LOGIN}"})
        answers = [500, 404, PAUSE, redirect, redirect, "hang", "hang", "close", "drip", 200]
        return [self.chance.choice(answers) for _ in range(self.chance.randrange(5))]

    def _settings(self) -> dict[str, str]:
        ports = (self.receiver.port, self.steady.port)
        urls = ", ".join(f"json://127.0.0.1:{port}/" for port in ports)
        return SETTINGS | {"K6D_NOTIFY__URLS": urls}

    def _stored(self) -> set[str]:
        runs = (self.daemon.data / "runs").rglob("*.json")
        return {path.stem for path in runs if path.name[0] != "."}

    def _indexed(self) -> list[str]:
        return [document["test_id"] for document in self.daemon.store.history(limit=None)]


def _is_repeat(got: Got) -> bool:
    return "Sent again" in got.json["message"]


def _is_judged(run: Run) -> bool:
    """Whether a run says anything of an incident: not one that was interrupted or confirms one."""
    return run.execution.outcome is Outcome.COMPLETED and run.confirms is None
