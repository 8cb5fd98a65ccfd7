"""Kill the daemon under load, check every invariant each time.

`make bench ONLY=crash`; CRASH_KILLS and CRASH_SEED say how often and which chances. Stops at the
first invariant that does not hold.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

from stage import Table

from support.crashing import Crashes
from support.daemon import Daemon
from support.receivers import HttpReceiver
from support.target import Target

if TYPE_CHECKING:
    from pathlib import Path

KILLS = int(os.environ.get("CRASH_KILLS", "200"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
LONGEST_S = 1.5


def measure(work: Path) -> Table:
    """So many lives, each ended by kill -9 at a random instant, and one that ends well."""
    began = time.monotonic()
    daemon = Daemon(work / "home")
    with Target() as target, HttpReceiver() as receiver, HttpReceiver() as steady:
        crashes = Crashes(daemon, target, receiver, steady, random.Random(SEED))
        try:
            while crashes.kills < KILLS:
                crashes.live(longest_s=LONGEST_S)
            crashes.settle()
        except AssertionError as error:
            log = daemon.log[-6000:]
            raise AssertionError(f"kill {crashes.kills} of seed {SEED}: {error}\n{log}") from error
        finally:
            daemon.close()
    told = len(receiver.taken) + len(steady.taken)
    refused = len(receiver.got) - len(receiver.taken)
    return Table(
        title="Killed at random instants",
        columns=[
            *("seed", "kills", "of helpers, too", "finished runs, all intact", "run again"),
            *("messages taken", "of them marked as sent again", "requests not taken", "minutes"),
        ],
        rows=[
            [
                str(SEED),
                *(str(crashes.kills), str(crashes.helpers_killed), str(len(crashes.finished))),
                *(str(crashes.repeated()), str(told), str(crashes.marked_as_repeated())),
                *(str(refused), f"{(time.monotonic() - began) / 60:.0f}"),
            ]
        ],
        notes=[
            "Held after each: run files whole and as they were, one index entry each, snapshots, "
            "no k6 left; at the end queue, schedule, incidents and outbox agree, both receivers "
            "have every message, none came twice without saying so, no redirect was followed.",
            f"Runs: {', '.join(f'{n} {kind}' for kind, n in sorted(crashes.outcomes().items()))}.",
        ],
    )
