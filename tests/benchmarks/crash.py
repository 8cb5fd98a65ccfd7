"""`python tests/benchmarks/crash.py [KILLS] [SEED]`: kill the daemon under load, check each time.

Stops at the first invariant that does not hold, with the log, and says which seed shows it again.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rich.console import Console

from crashing import Crashes
from daemon import Daemon
from target import Target

KILLS = 200
LONGEST_S = 1.5
CONSOLE = Console(highlight=False, soft_wrap=True)


def main(kills: int = KILLS, seed: int = 1) -> None:
    """Print a line for every ten kills and one at the end."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="k6d-crash-") as work, Target() as target:
        daemon = Daemon(Path(work) / "home")
        crashes = Crashes(daemon, target, random.Random(seed))
        try:
            while crashes.kills < kills:
                crashes.live(longest_s=LONGEST_S)
                if crashes.kills % 10 == 0:
                    say(crashes, began)
            crashes.settle()
            say(crashes, began)
            CONSOLE.print(f"every invariant held; seed {seed}; {dict(crashes.outcomes())}")
        finally:
            daemon.close()


def say(crashes: Crashes, began: float) -> None:
    """How far it is."""
    intact, repeated = len(crashes.finished), crashes.repeated()
    took_s = time.monotonic() - began
    CONSOLE.print(
        f"{crashes.kills} kills, {intact} finished runs intact, {repeated} repeated, {took_s:.0f} s"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
