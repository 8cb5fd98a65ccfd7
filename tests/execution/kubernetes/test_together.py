"""The time line of several runners, added up entry by entry while they push."""

from __future__ import annotations

from k6d.execution.kubernetes.together import Together
from k6d.execution.remote_write import Histogram
from k6d.execution.timeline import Recorder, Tally

BEGIN_MS = 1_700_000_000_000


def push(requests: int, vus: int) -> Tally:
    """What a runner counted in a second."""
    tally = Tally(vus=vus)
    tally.count(Histogram.of([0.1] * requests), expected=True)
    return tally


def lines(*runners: dict[int, tuple[int, int]], begin_ms: int = BEGIN_MS) -> Recorder:
    """The time line of runners that push (requests, VUs) at these seconds, in turn."""
    together, recorders = Together(), [Recorder() for _ in runners]
    for second in range(max(max(one) for one in runners) + 1):
        for recorder, pushes in zip(recorders, runners, strict=True):
            if second in pushes:
                recorder.add(push(*pushes[second]), begin_ms + second * 1000)
                together.add(recorder.hand_over())
                assert len(recorder._entries) <= 2
    for recorder in recorders:
        together.add(recorder.hand_over(everything=True))
    return together.recorder()


def every_second(
    count: int, requests: int, vus: int, *, first: int = 0
) -> dict[int, tuple[int, int]]:
    """The same in each second."""
    return {first + second: (requests, vus) for second in range(count)}


def test_one_runner_is_as_a_run_on_this_machine() -> None:
    """The entries are those of its own time line."""
    pushes = every_second(5, 10, 2) | {7: (30, 2)}
    alone = Recorder()
    for second, one in pushes.items():
        alone.add(push(*one), BEGIN_MS + second * 1000)
    together = lines(pushes)
    assert together.timeline() == alone.timeline()
    assert together.gaps() == alone.gaps() == 3


def test_runners_add_up_at_their_time() -> None:
    """One begins a second later and ends earlier; virtual users are added while both run."""
    found = lines(every_second(5, 10, 2), every_second(2, 20, 3, first=1)).timeline()
    assert found.requests_per_second == [10, 30, 30, 10, 10]
    assert found.vus == [2, 5, 5, 2, 2]
    assert [round(one or 0) for one in found.p50_ms] == [round(found.p50_ms[0] or 0)] * 5


def test_a_runner_that_pushed_late_makes_the_rates_unknown() -> None:
    """Its missing second and the one that has both have no rates; its users go on."""
    late = every_second(6, 10, 4)
    del late[2]
    recorder = lines(every_second(6, 10, 2), late)
    found = recorder.timeline()
    assert found.requests_per_second == [20, 20, None, None, 20, 20]
    assert found.vus == [6] * 6
    assert recorder.gaps() == 2


def test_a_long_run_keeps_at_most_600_entries() -> None:
    """Neighbours are merged for all runners at once, and no request is lost."""
    found = lines(every_second(1300, 3, 2), every_second(1300, 4, 1)).timeline()
    assert found.resolution_s == 10
    assert found.requests_per_second == [7] * 130
    assert found.vus == [3] * 130
