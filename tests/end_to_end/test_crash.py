"""The daemon killed at random instants under load: nothing finished is lost, nothing is torn."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from support.crashing import Crashes
from support.receivers import HttpReceiver

if TYPE_CHECKING:
    from support.daemon import Daemon
    from support.target import Target


@pytest.mark.long
def test_killed_again_and_again(daemon: Daemon, target: Target) -> None:
    """A few lives, each ended by kill -9; `tests/benchmarks/crash.py` does 200."""
    with HttpReceiver() as receiver, HttpReceiver() as steady:
        crashes = Crashes(daemon, target, receiver, steady, random.Random(20261122))
        for _ in range(6):
            crashes.live(longest_s=2.0)
        crashes.settle()
        assert crashes.kills == 6
