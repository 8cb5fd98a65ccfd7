"""Kill senders and helpers while receivers make trouble: no message is lost, none comes twice.

`make bench ONLY=messages`; MESSAGES_KILLS and MESSAGES_SEED say how often and which chances. Five
outboxes at a time, each with a receiver that takes everything and one that makes trouble.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stage import Table

from k6d.alerts.outbox import Outbox
from k6d.alerts.records import Change, Message, State
from k6d.core.model import Severity
from support.receivers import Got, HttpReceiver

KILLS = int(os.environ.get("MESSAGES_KILLS", "200"))
SEED = int(os.environ.get("MESSAGES_SEED", "1"))
AT_ONCE = 5
START_S = 12.0  # the helper that names the receivers comes first
LONGEST_S = 2.0
PATIENCE_S = 300.0
LOGIN = "/login"  # where redirects lead
NAMED = re.compile(r"shop/m(\d+)\b")
SENDER = """
import asyncio, sys
from pathlib import Path
from k6d.alerts.outbox import Outbox
from k6d.alerts.delivery.sender import Sender
from k6d.settings import Notify
notify = Notify(urls=sys.argv[2], group_wait=0, retry=0.3, timeout=4)
asyncio.run(Sender(notify, Outbox(Path(sys.argv[1]))).run())
"""


@dataclass(slots=True)
class Attack:
    """One outbox, its sender's lives, and what its two receivers got."""

    data: Path
    chance: random.Random
    trouble: HttpReceiver
    steady: HttpReceiver
    put: int = 0
    kills: int = 0
    helpers: int = 0
    answers: Counter[str] = field(default_factory=Counter)

    def live(self) -> None:
        """New messages, a sender, and its end by kill -9 at a random moment."""
        outbox = Outbox(self.data)
        for _ in range(self.chance.randrange(4)):
            self.put += 1
            outbox.put(_message(self.put))
        self.trouble.plan = self._answers()
        process = self._start()
        if self.chance.random() < 0.8:  # the others are killed while they begin
            self._until_it_speaks()
        time.sleep(self.chance.uniform(0.0, LONGEST_S))
        process.kill()
        process.wait()
        self.kills += 1
        if self.chance.random() < 0.4:
            for pid in self._children():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.helpers += 1

    def settle(self) -> None:
        """A last life, in which everything arrives; then all is looked at."""
        self.trouble.plan = []
        outbox, process = Outbox(self.data), self._start()
        deadline = time.monotonic() + PATIENCE_S
        while outbox.waiting():
            assert time.monotonic() < deadline, "messages wait for ever"
            time.sleep(0.2)
        process.terminate()
        process.wait()
        done = outbox.done()
        assert len(done) == self.put, "a message is gone"
        for kept in done:
            states = [found.state for found in (kept.deliveries or {}).values()]
            assert states == [State.DELIVERED] * 2, kept
        for receiver in (self.trouble, self.steady):
            assert not [got for got in receiver.got if got.path.startswith(LOGIN)]
            everybody = set(range(1, self.put + 1))
            assert {n for got in receiver.taken for n in _named(got)} == everybody, "one is lost"
            first = [n for got in receiver.taken if not _is_repeat(got) for n in _named(got)]
            assert len(first) == len(set(first)), "one came twice and did not say so"

    def _until_it_speaks(self) -> None:
        """Wait for a request to a receiver, in vain where nothing is due."""
        before, end = self._requests(), time.monotonic() + START_S
        while time.monotonic() < end and self._requests() == before:
            time.sleep(0.01)

    def _requests(self) -> int:
        return len(self.trouble.got) + len(self.steady.got)

    def _answers(self) -> list[Any]:
        redirect = (302, {"Location": f"http://127.0.0.1:{self.steady.port}{LOGIN}"})
        pause = (429, {"Retry-After": "1"})
        named: dict[str, Any] = {"500": 500, "404": 404, "429": pause, "redirect": redirect}
        named |= {name: name for name in ("hang", "close", "drip", "flood", "torn")}
        chosen = self.chance.choices(list(named), k=self.chance.randrange(4))
        self.answers.update(chosen)
        return [named[name] for name in chosen]

    def _start(self) -> subprocess.Popen[bytes]:
        urls = f"json://127.0.0.1:{self.trouble.port}/, json://127.0.0.1:{self.steady.port}/"
        return subprocess.Popen(
            [sys.executable, "-c", SENDER, str(self.data), urls],
            env=os.environ | {"HOME": str(self.data)},
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def _children(self) -> list[int]:
        ours, found = f"HOME={self.data}".encode(), []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if ours in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found


def measure(work: Path) -> Table:
    """So many lives in all, each ended by kill -9 at a random moment, and five that end well."""
    began = time.monotonic()

    def attack(number: int) -> Attack:
        with HttpReceiver() as trouble, HttpReceiver() as steady:
            chance = random.Random(SEED * 1000 + number)
            made = Attack(work / str(number), chance, trouble, steady)
            while made.kills < KILLS // AT_ONCE:
                made.live()
            made.settle()
        return made

    with ThreadPoolExecutor(AT_ONCE) as pool:
        attacks = list(pool.map(attack, range(AT_ONCE)))
    receivers = [receiver for a in attacks for receiver in (a.trouble, a.steady)]
    taken = [got for receiver in receivers for got in receiver.taken]
    refused = sum(len(receiver.got) for receiver in receivers) - len(taken)
    minutes = (time.monotonic() - began) / 60
    answers = sum((a.answers for a in attacks), Counter())
    return Table(
        title="Senders killed at random moments",
        columns=[
            *("seed", "kills", "helpers killed", "messages", "requests taken"),
            *("of them marked as sent again", "not taken", "minutes"),
        ],
        rows=[
            [
                *(str(SEED), str(sum(a.kills for a in attacks))),
                *(str(sum(a.helpers for a in attacks)), str(sum(a.put for a in attacks))),
                *(str(len(taken)), str(sum(map(_is_repeat, taken))), str(refused)),
                f"{minutes:.0f}",
            ]
        ],
        notes=[
            "Held: both receivers of each outbox have every message, none came twice without "
            "saying so, no redirect was followed.",
            f"Planned answers: {', '.join(f'{n} {kind}' for kind, n in sorted(answers.items()))}.",
        ],
    )


def _message(number: int) -> Message:
    return Message(
        id=f"m-{number}",
        at=datetime.now(UTC),
        change=Change.OPENED,
        script=f"shop/m{number}.js",
        subject="slow",
        severity=Severity.HIGH,
        incident=f"i-{number}",
    )


def _named(got: Got) -> set[int]:
    """The messages that a request holds."""
    return {int(n) for n in NAMED.findall(got.json["title"] + "\n" + got.json["message"])}


def _is_repeat(got: Got) -> bool:
    return "Sent again" in got.json["message"]
