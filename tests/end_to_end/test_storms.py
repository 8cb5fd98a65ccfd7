"""Storms: each script ends with exactly the runs that it should have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.storms import away_and_back, hold, release, repository, to_and_fro

if TYPE_CHECKING:
    from support.daemon import Daemon
    from support.target import Target

SCRIPTS = 20


def test_a_checkout_to_and_fro_runs_what_is_there_in_the_end(
    daemon: Daemon, target: Target
) -> None:
    """Once each, also when the folder goes away and comes back, and nothing when it is as it was.

    `make bench ONLY=storm` does it with 2,000 scripts.
    """
    repository(daemon, target, SCRIPTS)
    hold(daemon)
    daemon.start(K6D_K6__CONCURRENCY="2")
    for _ in range(2):
        to_and_fro(daemon)
        release(daemon)
        daemon.until(lambda: sum(daemon.counts().values()) >= SCRIPTS, "all to have run")
        daemon.barrier()
        away_and_back(daemon)
        hold(daemon)
    assert daemon.counts() == {f"shop/{number}.js": 1 for number in range(SCRIPTS)}, daemon.log
    assert target.requests == {"GET /two": SCRIPTS}
