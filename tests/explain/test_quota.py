"""The budget of a day and the circuit, over a real store, also across processes and restarts."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from k6d.explain.quota import FAILURES_TO_OPEN, FIRST_PAUSE, LONGEST_PAUSE, Allowance
from k6d.storage.store import Store

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def _allowance(data: Path, *, per_day: int = 5, identity: str = "one") -> Allowance:
    """A new one over the same store, as after a restart."""
    return Allowance(Store(data).state("explanations"), per_day=per_day, identity=identity)


def test_the_budget_of_a_day(tmp_path: Path) -> None:
    """So many requests a day of UTC, counted over restarts; a new day begins anew."""
    late = datetime(2026, 11, 23, 0, 30, tzinfo=UTC).astimezone()
    assert [_allowance(tmp_path, per_day=3).take(NOON) for _ in range(5)] == [True] * 3 + [
        False
    ] * 2
    assert _allowance(tmp_path, per_day=3).take(late)


def test_no_budget(tmp_path: Path) -> None:
    """Zero a day means none at all."""
    assert not _allowance(tmp_path, per_day=0).take(NOON)


def test_two_processes_share_the_budget(tmp_path: Path) -> None:
    """However they interleave, together they take no more than there is."""
    program = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC;"
        "from k6d.storage.store import Store; from k6d.explain.quota import Allowance;"
        "state = Store(Path(sys.argv[1])).state('explanations');"
        "a = Allowance(state, per_day=30, identity='one');"
        "print(sum(a.take(datetime(2026, 11, 22, tzinfo=UTC)) for _ in range(25)))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    taken = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert sum(taken) == 30


def test_the_circuit_opens_and_closes(tmp_path: Path) -> None:
    """Three failures in a row open it, over restarts; more double the pause, success ends it."""
    for _ in range(FAILURES_TO_OPEN - 1):
        _allowance(tmp_path).failed("down", NOON)
        assert _allowance(tmp_path).open_until(NOON) is None
    _allowance(tmp_path).failed("down", NOON)
    assert _allowance(tmp_path).open_until(NOON) == (NOON + FIRST_PAUSE, "down")
    later = NOON + FIRST_PAUSE
    assert _allowance(tmp_path).open_until(later) is None
    assert _allowance(tmp_path).on_trial
    _allowance(tmp_path).failed("still down", later)
    assert _allowance(tmp_path).open_until(later) == (later + 2 * FIRST_PAUSE, "still down")
    _allowance(tmp_path).succeeded()
    assert _allowance(tmp_path).open_until(later) is None
    assert not _allowance(tmp_path).on_trial


def test_the_pause_has_an_end(tmp_path: Path) -> None:
    """Neither many failures nor an absurd Retry-After pause for longer than the longest pause."""
    allowance = _allowance(tmp_path)
    for _ in range(40):
        allowance.failed("down", NOON)
    assert allowance.open_until(NOON) == (NOON + LONGEST_PAUSE, "down")
    other = _allowance(tmp_path / "other")
    other.failed("busy", NOON, retry_after_s=1e12)
    assert other.open_until(NOON) == (NOON + LONGEST_PAUSE, "busy")


def test_retry_after_is_kept(tmp_path: Path) -> None:
    """What the server asks for holds from the first failure on."""
    _allowance(tmp_path).failed("busy", NOON, retry_after_s=90)
    assert _allowance(tmp_path).open_until(NOON) == (NOON + timedelta(seconds=90), "busy")
    assert not _allowance(tmp_path).on_trial


def test_other_settings_have_another_circuit(tmp_path: Path) -> None:
    """Who puts in a new key need not wait for the pause of the old one."""
    for _ in range(FAILURES_TO_OPEN):
        _allowance(tmp_path).failed("bad key", NOON)
    assert _allowance(tmp_path, identity="two").open_until(NOON) is None
    assert not _allowance(tmp_path, identity="two").on_trial
